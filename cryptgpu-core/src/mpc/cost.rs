//! What each protocol costs: payload bytes summed over the three parties, and rounds. The
//! formulas are exact, padding of packed bits included, and tests hold them against what the
//! transport counted. n is the number of elements of a ring, W = ⌈n/64⌉ the words of a packed bit.

use super::Division;
pub use super::functions::cost::{
    cross_entropy, div, exp, layer_norm, log, log_softmax, quotient, reciprocal, rms_norm, rows, rsqrt, sigmoid,
    smooth, softmax, sqrt,
};
use crate::device::SignWindow;
use crate::ring::{FixedPoint, Ring};
use std::cell::RefCell;
use std::ops::{Add, AddAssign};

/// Bytes and rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Payload bytes, summed over the three parties.
    pub bytes: u64,
    /// Rounds: the longest chain of messages that wait for one another.
    pub rounds: u64,
}

impl Cost {
    /// No communication.
    pub const FREE: Cost = Cost { bytes: 0, rounds: 0 };

    fn words(words: usize, rounds: u64) -> Cost {
        Cost { bytes: 8 * words as u64, rounds }
    }

    /// Two protocols at the same time, their messages together: bytes add up, rounds do not.
    #[must_use]
    pub fn beside(self, other: Cost) -> Cost {
        Cost { bytes: self.bytes + other.bytes, rounds: self.rounds.max(other.rounds) }
    }

    /// One protocol `times` times, one after the other.
    #[must_use]
    pub fn times(self, times: u64) -> Cost {
        Cost { bytes: self.bytes * times, rounds: self.rounds * times }
    }
}

/// `3 rounds, 26750 bytes`.
impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.rounds == 1 { "" } else { "s" };
        write!(f, "{} round{plural}, {} bytes", self.rounds, self.bytes)
    }
}

/// One protocol after the other.
impl Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { bytes: self.bytes + other.bytes, rounds: self.rounds + other.rounds }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        *self = *self + other;
    }
}

/// The agreement on keys at the start of a session: three keys of two parties, and one that party 0 gives to both others.
pub fn key_agreement() -> Cost {
    Cost::words(10, 1)
}

/// An owner's input of n elements.
pub fn input(ring: Ring, n: usize) -> Cost {
    packed(ring.words(n))
}

/// Opening n elements to all parties.
pub fn open(ring: Ring, n: usize) -> Cost {
    packed(3 * ring.words(n))
}

/// Opening n elements to one party.
pub fn open_to(ring: Ring, n: usize) -> Cost {
    packed(ring.words(n))
}

/// Additive shares of n elements to replicated ones: any product without truncation.
pub fn reshare(ring: Ring, n: usize) -> Cost {
    packed(3 * ring.words(n))
}

/// Messages of so many words in all, in one round.
pub(super) fn packed(words: usize) -> Cost {
    Cost::words(words, u64::from(words > 0))
}

/// Truncation by d bits of additive shares, as local products give them: any product with its truncation.
pub fn truncate_product(ring: Ring, n: usize, d: u32) -> Cost {
    if d == 0 {
        return reshare(ring, n);
    }
    note(|checks| {
        checks.truncated(ring, n);
    });
    Cost::words(3 * ring.words(n) + n.div_ceil(64) * (d as usize + 2), if n > 0 { 3 } else { 0 })
}

/// The same without its last message's round: that of whatever begins behind it ([`super::Truncating`]). All bytes.
pub fn begin_truncation(ring: Ring, n: usize, d: u32) -> Cost {
    let whole = truncate_product(ring, n, d);
    if d == 0 { whole } else { sooner(whole) }
}

/// The round that [`begin_truncation`] leaves out, where nothing else uses it.
pub(super) fn finish_truncation(n: usize) -> Cost {
    Cost { bytes: 0, rounds: u64::from(n > 0) }
}

/// Truncation of a product as the paper's code computes it: a product, then a local shift that may wrap.
pub fn truncate_product_paper(ring: Ring, n: usize) -> Cost {
    reshare(ring, n) + truncate_shared_paper(ring, n)
}

/// Truncation by d bits of a replicated tensor.
pub fn truncate_shared(ring: Ring, n: usize, d: u32) -> Cost {
    if d == 0 {
        return Cost::FREE;
    }
    note(|checks| {
        checks.truncated(ring, n);
    });
    Cost::words(ring.words(n) + 3 * d as usize * n.div_ceil(64), if n > 0 { 2 } else { 0 })
}

/// n averages over windows of `area` elements ([`super::Party::avg_pool`]).
///
/// ```
/// use cryptgpu_core::mpc::cost;
/// use cryptgpu_core::ring::Ring;
/// // Of four, of nine, and of 49, whose sum is cut by five bits first.
/// let bytes = [4, 9, 49].map(|area| cost::avg_pool(Ring::Z32.into(), 64, area).bytes / 8);
/// assert_eq!(bytes, [32 + 3 * 2, 32 + 3 * 12, 2 * 32 + 3 * (5 + 12)]);
/// ```
pub fn avg_pool(codec: FixedPoint, n: usize, area: u64) -> Cost {
    let cuts = Division::by(area, 0, codec).cuts();
    cuts.fold(Cost::FREE, |sum, d| sum + truncate_shared(codec.ring(), n, d))
}

/// Truncation of a replicated tensor as the paper's code computes it.
pub fn truncate_shared_paper(ring: Ring, n: usize) -> Cost {
    packed(ring.words(n))
}

/// n elements of 32 bits as elements of 64: [`super::Party::extend`].
pub fn extend(n: usize) -> Cost {
    Cost::words(Ring::Z32.filled(n) + 3 * Ring::Z32.words(n), if n > 0 { 2 } else { 0 })
}

/// Refuses a window that names bits which the words of a ring do not have; 0:64, the default, is one for all bits of any ring, and not
/// refused where nobody asked for it.
///
/// # Errors
/// The reason, with a window that the ring has.
pub fn check_window(ring: Ring, window: SignWindow) -> Result<(), String> {
    let (low, width, bits) = (window.low(), window.width(), ring.bits());
    if low + width <= bits {
        return Ok(());
    }
    let half = bits / 2;
    Err(format!(
        "it ends at bit {}, and words of the ring of {ring} have {bits}: use one that ends there or below, such as {}:{half}, or none, \
         for all bits",
        low + width,
        low.min(half),
    ))
}

/// The bits that comparisons in a ring look at: those of `window`, or all where it reaches beyond the ring's words.
pub fn window_in(ring: Ring, window: SignWindow) -> SignWindow {
    match window.low() + window.width() <= ring.bits() {
        true => window,
        false => SignWindow::new(0, ring.bits()).unwrap_or_default(),
    }
}

/// The sign bit of n elements.
pub fn sign(ring: Ring, n: usize, window: SignWindow) -> Cost {
    let window = window_in(ring, window);
    note(|checks| {
        if leaves_out(ring, window, checks.extended) {
            checks.narrowed(ring, n);
        }
    });
    sign_alone(n, window)
}

/// Whether a comparison with this window leaves out upper bits that a value may have: of 64 none above the 32 that an extended one had.
pub(super) fn leaves_out(ring: Ring, window: SignWindow, extended: bool) -> bool {
    let top = window.low() + window.width();
    top < ring.bits() && !(extended && top == Ring::Z32.bits())
}

/// Evaluates formulas of comparisons that are of values as they were extended, or not.
pub(super) fn of_extended(extended: bool, formulas: impl FnOnce() -> Cost) -> Cost {
    let set = |extended: bool| {
        let mut before = false;
        note(|checks| before = std::mem::replace(&mut checks.extended, extended));
        before
    };
    let before = set(extended);
    let cost = formulas();
    set(before);
    cost
}

/// The same, of the check of ranges itself.
fn sign_alone(n: usize, window: SignWindow) -> Cost {
    let groups = window.groups();
    let levels = groups.trailing_zeros() as usize;
    let carries = 2 * window.carry_planes();
    let tree = 3 * (2 * (groups - 1) - levels);
    Cost::words(n.div_ceil(64) * (window.shared_planes() + carries + tree), if n > 0 { 2 + levels as u64 } else { 0 })
}

/// A secret bit times a secret tensor of n elements.
pub fn bit_product(ring: Ring, n: usize) -> Cost {
    Cost::words(n.div_ceil(64) + 5 * ring.words(n), if n > 0 { 3 } else { 0 })
}

/// The same behind the sign that the bits come from, role 0's messages with the sign's.
pub(super) fn bit_product_after_sign(ring: Ring, n: usize) -> Cost {
    sooner(bit_product(ring, n))
}

/// A protocol whose first round is one of the protocol before it, or its last one of the protocol behind it.
fn sooner(cost: Cost) -> Cost {
    Cost { rounds: cost.rounds.saturating_sub(1), ..cost }
}

/// n packed bits to arithmetic shares.
pub fn bits_to_ring(ring: Ring, n: usize) -> Cost {
    Cost::words(3 * ring.words(n), if n > 0 { 2 } else { 0 })
}

/// The same behind the sign that the bits come from.
pub(super) fn bits_to_ring_after_sign(ring: Ring, n: usize) -> Cost {
    sooner(bits_to_ring(ring, n))
}

/// The sign bit of n elements as ring elements.
pub fn sign_to_ring(ring: Ring, n: usize, window: SignWindow) -> Cost {
    sign(ring, n, window) + bits_to_ring_after_sign(ring, n)
}

/// ReLU of n elements: a sign bit, and a bit product whose first round is the sign's.
pub fn relu(ring: Ring, n: usize, window: SignWindow) -> Cost {
    sign(ring, n, window) + bit_product_after_sign(ring, n)
}

/// A piecewise linear function of n elements, whose slope changes at so many places and whose result is truncated by so many
/// bits ([`super::PiecewiseLinear`]).
pub fn piecewise_linear(ring: Ring, n: usize, kinks: usize, cut: u32, window: SignWindow) -> Cost {
    let comparisons = if kinks > 0 { relu(ring, kinks * n, window) } else { Cost::FREE };
    comparisons + truncate_shared(ring, n, cut)
}

/// Pairwise maximum of n elements: x + ReLU(y − x).
pub fn maximum(ring: Ring, n: usize, window: SignWindow) -> Cost {
    relu(ring, n, window)
}

/// The maximum over windows of `taps` elements, `n` windows: a tree of pairwise maxima.
pub fn max_pool(ring: Ring, n: usize, taps: usize, window: SignWindow) -> Cost {
    halvings(taps).fold(Cost::FREE, |cost, pairs| cost + maximum(ring, pairs * n, window))
}

/// The gradient of a max-pool: a bit product for each pairwise maximum, level by level.
pub fn max_pool_gradient(ring: Ring, n: usize, taps: usize) -> Cost {
    halvings(taps).fold(Cost::FREE, |cost, pairs| cost + bit_product(ring, pairs * n))
}

/// Pairs at each level of a tree over so many rows, in which an odd row waits for the next level.
pub(super) fn halvings(rows: usize) -> impl Iterator<Item = usize> {
    let levels = std::iter::successors(Some(rows), |rows| Some(rows.div_ceil(2)));
    levels.take_while(|&rows| rows > 1).map(|rows| rows / 2)
}

/// Elements after which values that are kept for the check of ranges are looked at, so that they never fill the memory.
/// Fewer in the unit tests, which reach it so.
pub(crate) const KEPT: usize = if cfg!(test) { 1 << 15 } else { 1 << 20 };

/// What the check of ranges costs ([`super::CheckRange`]), as values come. A party and a formula for a whole network
/// count with the same.
///
/// ```
/// use cryptgpu_core::mpc::cost::RangeChecks;
/// use cryptgpu_core::ring::Ring;
///
/// let mut checks = RangeChecks::default();
/// checks.truncated(Ring::Z64, 1 << 15);
/// let cost = checks.close();
/// // A sign of 16 bits, a tree over 512 words, the bits of a word, the opening.
/// assert_eq!((cost.rounds, cost.bytes), (4 + 9 + 6 + 1, (79 << 12) + 24 * 511 + 24 * 7));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RangeChecks {
    /// Of 64 bits, and of 32.
    kept: [usize; 2],
    words: usize,
    cost: Cost,
    /// What is compared are elements of 32 bits as they were extended.
    extended: bool,
}

thread_local! {
    /// What the formulas of [`with_range_checks`] come across.
    static NOTED: RefCell<Option<RangeChecks>> = const { RefCell::new(None) };
}

fn note(what: impl FnOnce(&mut RangeChecks)) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(checks) = noted {
            what(checks);
        }
    });
}

/// Evaluates formulas of this file, and tells `checks` of every truncation and comparison in them that the check of ranges
/// looks at, in their order: that of the protocols.
pub(crate) fn with_range_checks<T>(checks: &mut RangeChecks, formulas: impl FnOnce() -> T) -> T {
    NOTED.with_borrow_mut(|noted| *noted = Some(std::mem::take(checks)));
    let result = formulas();
    *checks = NOTED.with_borrow_mut(Option::take).unwrap_or_default();
    result
}

impl RangeChecks {
    /// n elements of a ring have been truncated. Whether so much is kept now that it is looked at.
    pub fn truncated(&mut self, ring: Ring, n: usize) -> bool {
        let [long, short] = &mut self.kept;
        *match ring {
            Ring::Z64 => long,
            Ring::Z32 => short,
        } += n;
        let full = self.kept.iter().sum::<usize>() >= KEPT;
        if full {
            self.look();
        }
        full
    }

    /// n elements were compared with a window that leaves out upper bits.
    pub fn narrowed(&mut self, ring: Ring, n: usize) {
        self.cost += sign_alone(n, window_in(ring, SignWindow::default()));
        self.words += n.div_ceil(64);
    }

    /// The cost of what has been looked at already, which is sent before the bit is opened; [`Self::close`] leaves it out then.
    pub(crate) fn spent(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }

    /// One bit is opened: the cost since the last was, this included; nothing where there is nothing to look at.
    pub fn close(&mut self) -> Cost {
        self.look();
        let RangeChecks { words: mut left, mut cost, .. } = std::mem::take(self);
        if left == 0 {
            return Cost::FREE;
        }
        while left > 1 {
            cost += packed(left / 2 * 3);
            left = left.div_ceil(2);
        }
        cost + packed(3).times(7)
    }

    /// The sign of the upper bits of what is kept.
    fn look(&mut self) {
        for (ring, kept) in [Ring::Z64, Ring::Z32].into_iter().zip(std::mem::take(&mut self.kept)) {
            self.cost += sign_alone(kept, super::range::top(ring));
            self.words += kept.div_ceil(64);
        }
    }
}
