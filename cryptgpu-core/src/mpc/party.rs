//! One party in a run: its links, its correlated randomness, its device, its settings, and the
//! account of what its protocols should have cost.

use super::cost::Cost;
use super::error::MpcError;
use crate::device::{Device, DeviceError, View, Window};
use crate::net::{Network, PartyId, Stats};
use crate::prg::{Correlated, Randomness};
use crate::ring::{FixedPoint, RingError};

/// Which truncation runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// Never wrong by more than one unit in the last place. The default.
    #[default]
    Exact,
    /// What CryptGPU's code does (ABY3, §5.1): a local shift of two shares, which is wrong by
    /// 2^(64−d) with probability about |x| / 2^64. For comparison only.
    Paper,
}

impl std::fmt::Display for Fidelity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fidelity::Exact => "exact",
            Fidelity::Paper => "paper",
        })
    }
}

/// How a party computes. All parties of a run have the same settings but for the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Where this party's tensors live.
    pub device: Device,
    /// The fixed-point codec.
    pub codec: FixedPoint,
    /// Which truncation runs.
    pub fidelity: Fidelity,
    /// Bits that comparisons look at; all 64 by default.
    pub window: SignWindow,
}

/// The bits that decide a comparison: `low .. low + width`.
///
/// Exact while |x| < 2^(low + width − 1) in the ring, but that positive values below 2^low may
/// count as negative. With the default, all 64 bits, it is always exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignWindow {
    low: u32,
    width: u32,
}

impl Default for SignWindow {
    fn default() -> Self {
        SignWindow { low: 0, width: 64 }
    }
}

impl SignWindow {
    /// Bits `low .. low + width`; `width` is 16, 32 or 64.
    pub fn new(low: u32, width: u32) -> Option<Self> {
        (matches!(width, 16 | 32 | 64) && low + width <= 64).then_some(SignWindow { low, width })
    }
}

impl From<SignWindow> for Window {
    fn from(window: SignWindow) -> Window {
        Window { low: window.low, width: window.width }
    }
}

/// One of the three parties, in a run. Its methods are the protocols; each is called by all
/// three parties with shares of the same values in the same order.
pub struct Party {
    pub(super) net: Box<dyn Network>,
    pub(super) prg: Correlated,
    settings: Settings,
    steps: Vec<String>,
    failed_step: String,
    declared: Cost,
}

impl Party {
    /// A party on `net`, drawing from `prg`.
    pub fn new(net: Box<dyn Network>, prg: Correlated, settings: Settings) -> Self {
        let party = Party { net, prg, settings, steps: vec![], failed_step: String::new(), declared: Cost::FREE };
        party.net.set_step(&party.current_step());
        party
    }

    /// Which of the three this is.
    pub fn id(&self) -> PartyId {
        self.net.id()
    }

    /// Where its tensors live.
    pub fn device(&self) -> Device {
        self.settings.device
    }

    /// The fixed-point codec.
    pub fn codec(&self) -> FixedPoint {
        self.settings.codec
    }

    /// How it computes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Computes otherwise from now on, on the same device; all parties must change together.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Settings { device: self.settings.device, ..settings };
    }

    /// The bits that comparisons look at.
    pub fn window(&self) -> Window {
        self.settings.window.into()
    }

    /// What its masks are drawn from.
    pub fn randomness(&self) -> Randomness {
        self.prg.randomness()
    }

    /// What this party's transport has counted.
    pub fn stats(&self) -> Stats {
        self.net.stats()
    }

    /// What all protocols so far should have cost, by their own statement.
    pub fn declared(&self) -> Cost {
        self.declared
    }

    pub(super) fn declare(&mut self, cost: Cost) {
        self.declared += cost;
    }

    /// Runs `body` as the step `name`: errors and traces name it, below the steps around it.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn step<T, E>(&mut self, name: &str, body: impl FnOnce(&mut Party) -> Result<T, E>) -> Result<T, E> {
        self.steps.push(name.to_owned());
        self.net.set_step(&self.steps.join("/"));
        let result = body(self);
        let path = self.steps.join("/");
        if result.is_err() && !self.failed_step.starts_with(&path) {
            self.failed_step = path;
        }
        self.steps.pop();
        self.net.set_step(&self.current_step());
        result
    }

    /// The step this party is in.
    pub fn current_step(&self) -> String {
        if self.steps.is_empty() { "outside any step".to_owned() } else { self.steps.join("/") }
    }

    /// The innermost step that has failed, for errors that do not name theirs.
    pub fn failed_step(&self) -> &str {
        if self.failed_step.is_empty() { "outside any step" } else { &self.failed_step }
    }

    /// Tells both peers that this party gives up, and why.
    pub fn abort(&self, reason: &str) {
        self.net.abort(reason);
    }

    /// Gives the links back, as for another run with fresh keys.
    pub fn into_network(self) -> Box<dyn Network> {
        self.net
    }

    pub(super) fn device_error(&self, source: DeviceError) -> MpcError {
        MpcError::Device { party: self.id(), step: self.current_step(), source }
    }

    /// Words in main memory.
    ///
    /// # Errors
    /// [`MpcError::Device`] with what went wrong on the device while they were computed or fetched.
    pub fn to_host(&self, words: View) -> Result<Vec<u64>, MpcError> {
        words.to_host().map_err(|e| self.device_error(e))
    }

    /// Refuses an operand that does not live on this party's device.
    pub(super) fn check_here(&self, operation: &'static str, found: Device) -> Result<(), MpcError> {
        let expected = self.device();
        if found == expected {
            return Ok(());
        }
        Err(self.device_error(DeviceError::Mixed { operation, found, expected }))
    }

    pub(super) fn ring_error(&self, source: RingError) -> MpcError {
        MpcError::Ring { party: self.id(), step: self.current_step(), source }
    }

    pub(super) fn argument_error(&self, operation: &'static str, detail: String) -> MpcError {
        MpcError::Argument { party: self.id(), step: self.current_step(), operation, detail }
    }
}

impl std::fmt::Debug for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Party {} at {}", self.id(), self.current_step())
    }
}
