//! One party in a run: its links, its correlated randomness, its device, its settings, and the
//! account of what its protocols should have cost.

use super::claim::Claim;
use super::cost::Cost;
use super::error::MpcError;
use super::view::ViewRecorder;
use crate::device::{Device, DeviceError, SignWindow, View};
use crate::net::{NO_STEP, Network, PartyId, Stats, Timeline};
use crate::prg::{Correlated, Randomness};
use crate::ring::{FixedPoint, RingError};
use std::sync::Arc;

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

/// How the parties of a run compute; the same at all three. Where one computes is no setting but its own affair
/// ([`Party::device`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// The fixed-point codec.
    pub codec: FixedPoint,
    /// Which truncation runs.
    pub fidelity: Fidelity,
    /// Bits that comparisons look at; all 64 by default.
    pub window: SignWindow,
}

/// One of the three parties, in a run. Its methods are the protocols; each is called by all
/// three parties with shares of the same values in the same order.
pub struct Party {
    pub(super) net: Arc<dyn Network>,
    pub(super) prg: Correlated,
    pub(super) recorder: ViewRecorder,
    settings: Settings,
    device: Device,
    /// The steps that it is in, the run around all of them first.
    steps: Vec<Step>,
    failed_step: String,
    charged: Cost,
    claims: Vec<Claim>,
}

/// A step that has begun.
struct Step {
    name: String,
    before: Stats,
    claimed: Option<Cost>,
}

impl Party {
    /// A party on `net`, drawing from `prg`, whose tensors live on `device`.
    pub fn new(net: Arc<dyn Network>, prg: Correlated, settings: Settings, device: Device) -> Self {
        let recorder = ViewRecorder::default();
        let run = Step { name: String::new(), before: net.endpoint().stats(), claimed: None };
        let (steps, failed_step) = (vec![run], String::new());
        let charged = Cost::FREE;
        let party = Party { net, prg, recorder, settings, device, steps, failed_step, charged, claims: vec![] };
        party.net.endpoint().set_step(&party.current_step());
        party
    }

    /// Which of the three this is.
    pub fn id(&self) -> PartyId {
        self.net.id()
    }

    /// Where its tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The fixed-point codec.
    pub fn codec(&self) -> FixedPoint {
        self.settings.codec
    }

    /// How it computes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Computes otherwise from now on; all parties must change together.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The bits that comparisons look at.
    pub fn window(&self) -> SignWindow {
        self.settings.window
    }

    /// What its masks are drawn from.
    pub fn randomness(&self) -> Randomness {
        self.prg.randomness()
    }

    /// How many nonces it has drawn: equal at all parties between runs.
    pub(crate) fn position(&self) -> u64 {
        self.prg.position()
    }

    /// What this party's transport has counted.
    pub fn stats(&self) -> Stats {
        self.net.endpoint().stats()
    }

    /// What the built-in protocols so far should have cost, by their own statement (`cost`).
    pub fn charged(&self) -> Cost {
        self.charged
    }

    pub(super) fn charge(&mut self, cost: Cost) {
        self.charged += cost;
    }

    /// Runs `body` as the step `name`: errors and traces name it, below the steps around it.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn step<T, E>(&mut self, name: &str, body: impl FnOnce(&mut Party) -> Result<T, E>) -> Result<T, E> {
        self.steps.push(Step { name: name.to_owned(), before: self.stats(), claimed: None });
        self.net.endpoint().set_step(&self.current_step());
        let result = body(self);
        let path = self.current_step();
        if result.is_err() && !self.failed_step.starts_with(&path) {
            self.failed_step = path;
        }
        self.end_step();
        self.net.endpoint().set_step(&self.current_step());
        result
    }

    fn end_step(&mut self) {
        let name = self.current_step();
        if let Some(step) = self.steps.pop() {
            self.claims.extend(step.claimed.map(|claimed| self.claim(name, &step.before, claimed)));
        }
    }

    fn claim(&self, step: String, before: &Stats, claimed: Cost) -> Claim {
        let after = self.stats();
        let sent = after.payload_bytes() - before.payload_bytes();
        Claim { step, claimed, sent, depth_before: before.rounds, depth_after: after.rounds }
    }

    /// Claims what the step around this call costs, or the whole run outside any step: `rounds`, and
    /// `bytes` summed over the three parties. All parties claim the same. A second claim about the
    /// same step adds to the first, so a step in a loop may claim each turn.
    ///
    /// The claim changes nothing; it is compared with what was counted, after the run
    /// ([`Claim::check`]) or by [`super::check::Check`].
    pub fn declare(&mut self, rounds: u64, bytes: u64) {
        if let Some(step) = self.steps.last_mut() {
            let claimed = Cost { bytes, rounds };
            step.claimed = Some(step.claimed.map_or(claimed, |earlier| earlier + claimed));
        }
    }

    /// The claims about all steps that have ended, and that about the run since the last call of
    /// this function, which begins another run.
    pub fn take_claims(&mut self) -> Vec<Claim> {
        let mut claims = std::mem::take(&mut self.claims);
        let now = self.stats();
        let Some(run) = self.steps.first_mut() else { return claims };
        let (before, claimed) = (std::mem::replace(&mut run.before, now), run.claimed.take());
        claims.extend(claimed.map(|claimed| self.claim("the whole run".to_owned(), &before, claimed)));
        claims
    }

    /// The step this party is in.
    pub fn current_step(&self) -> String {
        let names: Vec<&str> = self.steps.iter().skip(1).map(|step| step.name.as_str()).collect();
        if names.is_empty() { NO_STEP.to_owned() } else { names.join("/") }
    }

    /// The innermost step that has failed, for errors that do not name theirs.
    pub fn failed_step(&self) -> &str {
        if self.failed_step.is_empty() { NO_STEP } else { &self.failed_step }
    }

    /// Tells both peers that this party gives up, and why.
    pub fn abort(&self, reason: &str) {
        self.net.abort(reason);
    }

    /// What this party did since it linked up or this was last called.
    pub fn take_timeline(&self) -> Timeline {
        self.net.endpoint().take_timeline()
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
