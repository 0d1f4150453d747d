//! What carries the messages of parties in processes, by name.

use std::fmt;
use std::str::FromStr;

/// What the links between parties in processes are. In one process messages are handed over whatever this says.
///
/// ```
/// use cryptgpu_core::net::LinkType;
///
/// for links in [LinkType::Tls, LinkType::Shared, LinkType::InsecurePlaintext] {
///     assert_eq!(links.to_string().parse(), Ok(links));
/// }
/// assert!("plaintext".parse::<LinkType>().unwrap_err().contains("insecure-plaintext"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum LinkType {
    /// TLS 1.3, on one machine, where it passes TCP by, or between hosts. Written `tls`.
    #[default]
    Tls,
    /// Memory that the processes of one machine share. **Nothing is encrypted**: whoever reads the machine's memory, as its
    /// administrator can, reads every secret, as it could from the parties' own memory. Written `shared`.
    Shared,
    /// The same without TLS: **anyone on the way reads and changes messages**. For measuring what TLS costs. Written
    /// `insecure-plaintext`.
    InsecurePlaintext,
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkType::Tls => "tls",
            LinkType::Shared => "shared",
            LinkType::InsecurePlaintext => "insecure-plaintext",
        })
    }
}

impl FromStr for LinkType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tls" => Ok(LinkType::Tls),
            "shared" => Ok(LinkType::Shared),
            "insecure-plaintext" => Ok(LinkType::InsecurePlaintext),
            _ => Err(format!(
                "`{text}` is no type of links: use tls, or, unencrypted and for parties on one machine, shared, or insecure-plaintext to measure what TLS costs"
            )),
        }
    }
}
