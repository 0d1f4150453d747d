//! One party in a run: its links, its correlated randomness, its device, its settings, and the
//! account of what its protocols declare to cost.

use super::account::{Account, DeclaredBy};
use super::claim::Claim;
use super::cost::{self, Cost};
use super::error::{MpcError, locate};
use super::range::{CheckRange, Watch};
use super::view::ViewRecorder;
use crate::device::{Device, DeviceError, SignWindow, View};
use crate::net::{GaveUp, Network, PartyId, Stats, Timeline};
use crate::prg::{Correlated, Randomness};
use crate::ring::{FixedPoint, Ring};
use std::sync::Arc;

/// Which truncation runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// Never wrong by more than one unit in the last place. The default.
    #[default]
    Exact,
    /// What CryptGPU's code does (ABY3, §5.1): a local shift of two shares, which is wrong by
    /// 2^(l−d) with probability about |x| / 2^l in the ring of l bits. For comparison only.
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
    /// The fixed-point codec, and with it the ring.
    pub codec: FixedPoint,
    /// Which truncation runs.
    pub fidelity: Fidelity,
    /// Bits that comparisons look at; all by default, and where they reach beyond the ring's words. In a network it bounds the network's own values, and each step's
    /// window follows from it (`nn::window`).
    pub window: SignWindow,
    /// Whether a run finds out that a value has left the range; off by default, on in settings that are made of the ring of 32 bits.
    #[serde(default)]
    pub check_range: CheckRange,
}

impl Settings {
    /// Refuses a [`window`](Settings::window) that was named and that the ring's words do not have, or that the check of ranges cannot go
    /// with: comparisons would look at other bits than those that were asked for.
    ///
    /// # Errors
    /// The reason, with a window that the ring has.
    pub fn check_window(&self) -> Result<(), String> {
        let ring = self.codec.ring();
        if self.window != SignWindow::default() {
            cost::check_window(ring, self.window)?;
        }
        self.check_range.check_window(ring, self.window)
    }
}

/// The defaults of a ring: its codec's fraction bits, and the check of ranges that is usual there ([`CheckRange::usual`]).
///
/// ```
/// use cryptgpu_core::mpc::{CheckRange, Settings};
/// use cryptgpu_core::ring::Ring;
///
/// assert_eq!(Settings::from(Ring::Z64), Settings::default());
/// let short = Settings::from(Ring::Z32);
/// assert_eq!((short.codec.fraction_bits(), short.check_range), (12, CheckRange::Run));
/// ```
impl From<Ring> for Settings {
    fn from(ring: Ring) -> Self {
        Settings { codec: ring.into(), check_range: CheckRange::usual(ring), ..Settings::default() }
    }
}

/// One of the three parties, in a run. Its methods are the protocols; each is called by all
/// three parties with shares of the same values in the same order.
pub struct Party {
    pub(super) net: Arc<dyn Network>,
    pub(super) prg: Correlated,
    /// What the party draws from outside, while it has keys of its own ([`Party::with_own_keys`]).
    pub(super) session_prg: Option<Correlated>,
    pub(super) recorder: ViewRecorder,
    pub(super) watch: Watch,
    settings: Settings,
    device: Device,
    account: Account,
}

impl Party {
    /// A party on `net`, drawing from `prg`, whose tensors live on `device`.
    pub fn new(net: Arc<dyn Network>, prg: Correlated, settings: Settings, device: Device) -> Self {
        let account = Account::new(net.endpoint().stats());
        let (recorder, watch) = (ViewRecorder::default(), Watch::default());
        let party = Party { net, prg, session_prg: None, recorder, watch, settings, device, account };
        party.net.endpoint().set_step(&party.current_step());
        party
    }

    /// Which of the three this is.
    pub fn id(&self) -> PartyId {
        self.net.id()
    }

    /// The device that its tensors live on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The fixed-point codec.
    pub fn codec(&self) -> FixedPoint {
        self.settings.codec
    }

    /// The ring that the run computes in: the codec's. What a party makes from nothing is of this ring; protocols on shares go by
    /// the shares' own.
    pub fn ring(&self) -> Ring {
        self.settings.codec.ring()
    }

    /// The settings that it computes with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sets how it computes from now on; all parties must change together.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The bits that comparisons look at, as the settings say it.
    pub fn window(&self) -> SignWindow {
        self.settings.window
    }

    /// Runs `body` with comparisons that look at `window`, and sets the window back afterwards. All parties name the same
    /// window.
    pub fn with_window<T>(&mut self, window: SignWindow, body: impl FnOnce(&mut Party) -> T) -> T {
        let before = std::mem::replace(&mut self.settings.window, window);
        let result = body(self);
        self.settings.window = before;
        result
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

    /// What has been declared to cost so far: by the author of a step about that step ([`Party::declare`]), and where
    /// no author has, by the built-in protocols, with the formulas of [`super::cost`].
    pub fn declared(&self) -> Cost {
        self.account.declared()
    }

    /// Enters what a built-in protocol costs.
    pub(super) fn declare_cost(&mut self, cost: Cost) {
        self.account.declare(DeclaredBy::Protocol, cost);
    }

    /// Runs `body` as the step `name`: errors and traces name it, below the steps around it. An error of a protocol that
    /// names no party and step yet, as it is or in a box, gets this party and the innermost step.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn step<T, E: 'static>(&mut self, name: &str, body: impl FnOnce(&mut Party) -> Result<T, E>) -> Result<T, E> {
        self.account.begin(name, self.stats());
        self.net.endpoint().set_step(&self.current_step());
        let mut result = body(self);
        if let Err(error) = &mut result {
            locate(error, self.id(), &self.current_step());
        }
        self.account.end(&self.stats(), result.is_err());
        self.net.endpoint().set_step(&self.current_step());
        result
    }

    /// Declares what the step around this call costs, or the whole run outside any step: `rounds`, and
    /// `bytes` summed over the three parties. All parties declare the same. A second declaration about
    /// the same step adds to the first, so a step in a loop may declare each turn. It is about all that happens in
    /// the step, and stands in [`Party::declared`] in place of what built-in protocols and inner steps declare there.
    ///
    /// Nothing that is computed or sent depends on it; it is compared with what was counted, after the run
    /// ([`Claim::check`]) or by [`super::check::Check`].
    pub fn declare(&mut self, rounds: u64, bytes: u64) {
        self.account.declare(DeclaredBy::Author, Cost { bytes, rounds });
    }

    /// The claims about all steps that have ended, and about the run since the last call of this
    /// function, which begins another run.
    pub fn take_claims(&mut self) -> Vec<Claim> {
        self.account.take_claims(self.stats())
    }

    /// The step this party is in.
    pub fn current_step(&self) -> String {
        self.account.step()
    }

    /// The innermost step that has failed, for errors that do not name theirs.
    pub fn failed_step(&self) -> &str {
        self.account.failed_step()
    }

    /// Tells both peers that this party gives up; of the reason they hear one word of a fixed vocabulary.
    pub fn abort(&self, reason: GaveUp) {
        self.net.abort(reason);
    }

    /// What this party did since it linked up or this was last called.
    pub fn take_timeline(&self) -> Timeline {
        self.net.endpoint().take_timeline()
    }

    /// Words in main memory.
    ///
    /// # Errors
    /// [`MpcError::Device`] with what went wrong on the device while they were computed or fetched.
    pub fn to_host(&self, words: View) -> Result<Vec<u64>, MpcError> {
        Ok(words.to_host()?)
    }

    /// Refuses an operand of another ring than the party's, where what others do does not follow from the operand.
    pub(super) fn check_ring(&self, operation: &'static str, found: Ring) -> Result<(), MpcError> {
        let expected = self.ring();
        if found == expected {
            return Ok(());
        }
        let detail = format!("a tensor of the ring of {found}, where the run computes in that of {expected}");
        Err(MpcError::argument(operation, detail))
    }

    /// The bits that comparisons in a ring look at: those of the settings, or all where they reach beyond its words.
    pub(super) fn window_in(&self, ring: Ring) -> SignWindow {
        cost::window_in(ring, self.window())
    }

    /// Refuses an operand that does not live on this party's device.
    pub(super) fn check_here(&self, operation: &'static str, found: Device) -> Result<(), MpcError> {
        let expected = self.device();
        if found == expected {
            return Ok(());
        }
        Err(DeviceError::Mixed { operation, found, expected }.into())
    }
}

impl std::fmt::Debug for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Party {} at {}", self.id(), self.current_step())
    }
}
