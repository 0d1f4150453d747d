//! Which device each party takes: what is asked for, before it is known what a machine has.

use super::{Device, DeviceError, cuda};
use std::fmt;
use std::str::FromStr;

/// A device as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// A card where there is one that can be used, else the CPU; `cryptgpu doctor` says why a card cannot be used.
    /// (That `CRYPTGPU_LIBCUDA` names what does not work is an error.)
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// A card of this number, or any.
    Cuda(Option<u32>),
}

impl DeviceChoice {
    /// The device of party `party` (0 to 2) of those on this machine, opened. Where no number is said
    /// parties take cards in turn: party i card i modulo their number.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when there is no such card, or no card for `cuda`.
    pub fn resolve(self, party: usize) -> Result<DeviceInUse, DeviceError> {
        let in_turn = |cards: usize| Device::Cuda((party % cards) as u32);
        let device = match self {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda(Some(ordinal)) => Device::Cuda(ordinal),
            // Without cards, opening the first says what is missing.
            DeviceChoice::Cuda(None) => in_turn(cuda::probe().cards.len().max(1)),
            DeviceChoice::Auto => {
                let found = cuda::probe();
                let card = in_turn(found.cards.len().max(1));
                if found.substitute.is_some() {
                    card
                } else if found.usable()
                    && let Ok(taken) = DeviceInUse::of(card)
                {
                    return Ok(taken);
                } else {
                    Device::Cpu
                }
            }
        };
        DeviceInUse::of(device)
    }
}

impl From<Device> for DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => DeviceChoice::Cpu,
            Device::Cuda(ordinal) => DeviceChoice::Cuda(Some(ordinal)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.pad("auto"),
            DeviceChoice::Cpu => f.pad("cpu"),
            DeviceChoice::Cuda(None) => f.pad("cuda"),
            DeviceChoice::Cuda(Some(ordinal)) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "auto" => Ok(DeviceChoice::Auto),
            "cuda" => Ok(DeviceChoice::Cuda(None)),
            _ => Device::from_str(name).map(DeviceChoice::from),
        }
    }
}

/// A device that a party has taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceInUse {
    /// Which.
    pub device: Device,
    /// The card's name; empty for a CPU.
    pub card: String,
    /// Threads that compute on the CPU.
    pub threads: usize,
}

impl DeviceInUse {
    /// What `device` is.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when there is no such card.
    pub fn of(device: Device) -> Result<Self, DeviceError> {
        let (card, threads) = (device.card_name()?.unwrap_or_default(), rayon::current_num_threads());
        Ok(DeviceInUse { device, card, threads })
    }
}

/// `cpu`, or `cuda:0 (NVIDIA H100 80GB HBM3)`.
impl fmt::Display for DeviceInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Device::Cpu => f.write_str("cpu"),
            card => write!(f, "{card} ({})", self.card),
        }
    }
}

/// What the three parties are asked to take. Written `cuda`, or `cuda:0,cpu,cpu` where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Devices(pub [DeviceChoice; 3]);

impl Devices {
    /// One choice for all three parties.
    pub fn all(choice: DeviceChoice) -> Self {
        Devices([choice; 3])
    }
}

impl From<DeviceChoice> for Devices {
    fn from(choice: DeviceChoice) -> Self {
        Devices::all(choice)
    }
}

impl From<Device> for Devices {
    fn from(device: Device) -> Self {
        Devices::all(device.into())
    }
}

impl From<[Device; 3]> for Devices {
    fn from(devices: [Device; 3]) -> Self {
        Devices(devices.map(DeviceChoice::from))
    }
}

impl From<[DeviceChoice; 3]> for Devices {
    fn from(choices: [DeviceChoice; 3]) -> Self {
        Devices(choices)
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        if a == b && b == c { a.fmt(f) } else { f.pad(&format!("{a},{b},{c}")) }
    }
}

impl FromStr for Devices {
    type Err = DeviceError;

    fn from_str(names: &str) -> Result<Self, DeviceError> {
        match names.split(',').collect::<Vec<_>>()[..] {
            [a, b, c] => Ok(Devices([a.parse()?, b.parse()?, c.parse()?])),
            _ => names.parse().map(Devices::all),
        }
    }
}

/// Serialised as they are written.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(DeviceChoice, Devices);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda", "cuda:3", "cuda:0,cpu,cpu", "auto,cuda,cuda:1"] {
            let devices: Devices = text.parse().unwrap();
            assert_eq!(devices.to_string(), text);
            let json = serde_json::to_string(&devices).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Devices>(&json).unwrap(), devices);
        }
        assert_eq!("cpu,cpu,cpu".parse::<Devices>().unwrap().to_string(), "cpu");
        for text in ["tpu", "cuda:", "cuda:-1", "cuda:x", "cpu,cpu", ""] {
            let error = text.parse::<Devices>().unwrap_err().to_string();
            assert!(error.contains("cuda:N"), "{text}: {error}");
        }
    }

    #[test]
    fn a_card_that_is_not_there_is_an_error_that_says_what_to_do() {
        let error = DeviceChoice::Cuda(Some(63)).resolve(0).unwrap_err();
        assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("--device cpu"), "{error}");
    }
}
