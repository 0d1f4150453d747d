//! Links with the bandwidth and latency of another place, without root: the receiving end holds
//! a message back until the imitated link would have delivered it.

use super::after;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Which network to imitate. Latency is **one way**: a round in which all parties send and then
/// receive costs one latency, a request and its answer two. Each direction of each pair of parties
/// has the whole bandwidth to itself.
///
/// ```
/// use cryptgpu_core::net::Link;
/// let link: Link = "100:40".parse()?;
/// assert_eq!(link, "wan".parse()?);
/// assert_eq!("12.5:5".parse::<Link>()?.to_string(), "12.5:5");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Link {
    /// The link as it is.
    #[default]
    None,
    /// 1.25 GB/s and 0.2 ms.
    Lan,
    /// 100 MB/s and 40 ms.
    Wan,
    /// Any other.
    Custom {
        /// 10⁶ bytes per second.
        megabytes_per_second: f64,
        /// One way, in milliseconds.
        latency_ms: f64,
    },
}

impl Link {
    /// Bandwidth in bytes per second and one-way latency; `None` when nothing is imitated.
    pub fn model(self) -> Option<(f64, Duration)> {
        let (megabytes, millis) = match self {
            Link::None => return None,
            Link::Lan => (1250.0, 0.2),
            Link::Wan => (100.0, 40.0),
            Link::Custom { megabytes_per_second, latency_ms } => (megabytes_per_second, latency_ms),
        };
        Some((megabytes * 1e6, Duration::try_from_secs_f64(millis * 1e-3).unwrap_or_default()))
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        self.model() == other.model()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::None => f.write_str("none"),
            Link::Lan => f.write_str("lan"),
            Link::Wan => f.write_str("wan"),
            Link::Custom { megabytes_per_second, latency_ms } => write!(f, "{megabytes_per_second}:{latency_ms}"),
        }
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint =
            || format!("`{text}` is not a link: use `none`, `lan`, `wan`, or `<MB/s>:<one-way ms>` such as `125:1`");
        match text {
            "none" => return Ok(Link::None),
            "lan" => return Ok(Link::Lan),
            "wan" => return Ok(Link::Wan),
            _ => {}
        }
        let (megabytes, millis) = text.split_once(':').ok_or_else(hint)?;
        let megabytes_per_second: f64 = megabytes.parse().map_err(|_| hint())?;
        let latency_ms: f64 = millis.parse().map_err(|_| hint())?;
        let valid =
            megabytes_per_second > 0.0 && megabytes_per_second.is_finite() && (0.0..=60e3).contains(&latency_ms);
        valid.then_some(Link::Custom { megabytes_per_second, latency_ms }).ok_or_else(hint)
    }
}

/// The state of one direction of a shaped link: when its last byte will have left.
#[derive(Debug)]
pub(super) struct Shaper {
    link: Link,
    free: Option<Instant>,
}

impl Shaper {
    pub(super) fn new(link: Link) -> Self {
        Shaper { link, free: None }
    }

    /// When a frame of `bytes` bytes, whose first byte was there at `start`, is delivered.
    pub(super) fn deliver(&mut self, start: Instant, bytes: u64) -> Option<Instant> {
        let (bandwidth, latency) = self.link.model()?;
        let begin = self.free.map_or(start, |free| free.max(start));
        let end = after(begin, Duration::try_from_secs_f64(bytes as f64 / bandwidth).unwrap_or(Duration::MAX));
        self.free = Some(end);
        Some(end + latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_and_nonsense_is_refused() {
        for link in [Link::None, Link::Lan, Link::Wan] {
            assert_eq!(link.to_string().parse::<Link>().unwrap(), link);
        }
        assert_eq!("1250:0.2".parse::<Link>().unwrap(), Link::Lan);
        for text in ["", "LAN", "100", "0:1", "-1:1", "1:-1", "inf:1", "1:1e9", "NaN:1", "1:2:3", "a:b"] {
            assert!(text.parse::<Link>().unwrap_err().contains("one-way"), "{text}");
        }
    }

    #[test]
    fn frames_queue_behind_each_other_and_then_travel() {
        let mut shaper = Shaper::new("100:40".parse().unwrap());
        let start = Instant::now();
        let millis = |ms| Some(start + Duration::from_millis(ms));
        assert_eq!(shaper.deliver(start, 1_000_000), millis(50));
        assert_eq!(shaper.deliver(start, 2_000_000), millis(70), "the second waits for the first");
        let later = start + Duration::from_millis(100);
        assert_eq!(shaper.deliver(later, 1_000_000), millis(150), "an idle link is free at once");
        assert_eq!(Shaper::new(Link::None).deliver(start, 1), None);
    }
}
