//! The overflow flag: whether any value of a run has left the range in which its arithmetic is right, as one bit that is
//! opened at the end. It looks at results of truncations, where fixed-point numbers overflow, and at comparisons with a
//! narrow window. It composes the protocols of other files and sends nothing itself; bounds that are known without a run,
//! from weights and images in plaintext, are `nn`'s.

use super::cost::{RangeChecks, leaves_out};
use super::share::component_0;
use super::{MpcError, Party, Rep, RepBits, RepXor, SignWindow};
use crate::device::{Binary, Buffer, Tensor, Unary};
use crate::ring::Ring;

/// Whether a run finds out that a value has left the range, and what it reveals for that.
///
/// Products must stay below 2^62 in absolute value before their truncation, which is where numbers overflow. So every
/// result y of a truncation by d bits is kept until the check, as the upper 16 bits of its components of
/// y·2^d + 2^62 + 2^48; whether that is negative says a 16-bit sign of 9 7/8 bytes an element. The flags of all elements
/// become one by a tree of ors, and that one bit is opened to all parties. Nothing else is.
///
/// In the ring of 32 bits the upper 8 bits are looked at, a sign of 4 bytes an element: with 30 for 62, 24 for 48 and 32 for 64 bits the
/// same holds, so that the flag is sure up to 2^30 − 2^25, 62 at 12 fraction bits, and a z beyond 2^30 by less than 2^25 is wrong with a
/// probability below 2^−6. What a run of that ring computes in 64 bits, as functions of secret numbers are ([`Party::extend`]), is looked
/// at in these.
///
/// What it finds: with z the product in the ring (its true value modulo 2^64, from −2^63 to 2^63), every
/// |z| ≥ 2^62 + 2^49 raises the flag, and no |z| < 2^62 − 2^49 does. In between either may happen; a truncation of a z
/// that is beyond 2^62 by so little is wrong with a probability below 2^−13. A true value in 3·2^62 … 5·2^62,
/// 7·2^62 … 9·2^62 and so on is back within the range modulo 2^64, and no check of its share alone can see it. A layer
/// that overflows by much has values elsewhere too: with k such elements it goes unnoticed with a probability of about
/// 2^−k.
///
/// A comparison with a [`SignWindow`] that leaves out upper bits is compared with one of all bits, of 64: 46 5/8 bytes an
/// element and 6 rounds more, so that with this check a narrow window costs more than none. What was extended from 32 bits has no
/// others, and a window that ends there leaves none out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckRange {
    /// Nothing is looked at or opened.
    #[default]
    Off,
    /// One bit is opened at the end of an inference and of a run.
    Run,
    /// One bit is opened at the end of each layer that has something to look at, so that the error names the layer. All
    /// parties learn in which layer a value has left the range.
    Layers,
}

impl CheckRange {
    /// What a run in a ring does unless somebody says otherwise: nothing in that of 64 bits, and [`CheckRange::Run`] in that of 32, where
    /// products must stay below 64 at 12 fraction bits.
    pub fn usual(ring: Ring) -> Self {
        match ring {
            Ring::Z64 => CheckRange::Off,
            Ring::Z32 => CheckRange::Run,
        }
    }

    /// Refuses a window of comparisons that this check cannot go with; the error says why.
    pub(crate) fn check_window(self, ring: Ring, window: SignWindow) -> Result<(), String> {
        let (low, width, all) = (window.low(), window.width(), ring.bits());
        if self == CheckRange::Off || low == 0 || low + width >= all {
            return Ok(());
        }
        Err(format!(
            "the window {low}:{width} leaves out bits at both ends, and the check of ranges cannot tell its roundings from \
             errors: use a window from bit 0 (0:{width}), or all {all} bits, or no check"
        ))
    }
}

/// `off`, `run`, `layers`: as the command line and records say it.
impl std::fmt::Display for CheckRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CheckRange::Off => "off",
            CheckRange::Run => "run",
            CheckRange::Layers => "layers",
        })
    }
}

/// Bits of a kept value that are looked at: the upper 16, or 8 in the ring of 32 bits, with the one beyond the range on top.
pub(super) fn top(ring: Ring) -> SignWindow {
    let width = match ring {
        Ring::Z64 => 16,
        Ring::Z32 => 8,
    };
    SignWindow::new(ring.bits() - width, width).unwrap_or_default()
}

/// What has been computed since the last check, and is still to be looked at.
#[derive(Default)]
pub(super) struct Watch {
    tally: RangeChecks,
    /// Elements of a ring, and both components of their upper bits in planes.
    kept: Vec<(Ring, usize, [Buffer; 2])>,
    /// Packed flags.
    flags: Vec<RepXor>,
    /// What is compared are elements of 32 bits as they were extended, whose sign no window of these leaves out.
    extended: bool,
}

impl Party {
    /// Opens whether any value since the last check has left the range: [`CheckRange`]. Does nothing where the settings
    /// ask for no check, or nothing was computed that could overflow.
    ///
    /// [`crate::nn::SharedModel::infer`] calls it, and a cluster at the end of each run; an author of protocols calls it
    /// where another end makes sense. 10.3 bytes for each element that was truncated since (4.4 in the ring of 32 bits), and 4 rounds (3)
    /// for about each 2^20 of them; then a round for each halving of their number, and one for the opening:
    /// [`super::cost::RangeChecks`].
    ///
    /// # Errors
    /// [`MpcError::Range`], at all three parties alike; the link's errors.
    pub fn check_range(&mut self) -> Result<(), MpcError> {
        if self.watch.kept.is_empty() && self.watch.flags.is_empty() {
            return Ok(());
        }
        if self.step("range check", Party::open_flag)? {
            let (check, codec) = (self.settings().check_range, self.codec());
            let (fraction_bits, ring) = (codec.fraction_bits(), codec.ring());
            return Err(MpcError::Range { at: Default::default(), check, fraction_bits, ring, training: false });
        }
        Ok(())
    }

    /// Forgets what is still to be looked at: it belongs to a run that has ended.
    pub(crate) fn forget_range(&mut self) {
        self.watch = Watch::default();
    }

    /// Keeps the result of a truncation by `d` bits for the check.
    pub(super) fn watch_truncated(&mut self, y: &Rep, d: u32) -> Result<(), MpcError> {
        if self.settings().check_range == CheckRange::Off || d == 0 || y.is_empty() {
            return Ok(());
        }
        // Negative where y·2^d is outside −2^62 … 2^62, or 30 in the ring of 32 bits. Each component loses its lower bits, and with
        // them up to two carries: the summand 2^48, or 2^24, halves that error.
        let (ring, top, n) = (y.ring(), top(y.ring()), y.len());
        let offset = (1 << ring.range_bits()) + (1 << top.low());
        // One component after the other, of which only these bits stay: large results are looked at below.
        let upper = |index: usize, component: &Tensor| {
            let mut z = component.unary(Unary::Mul(1 << d));
            if component_0(self.id()) == Some(index) {
                z = z.unary(Unary::Add(offset));
            }
            z.to_planes(top.low(), top.width())
        };
        let planes = [upper(0, &y.a)?, upper(1, &y.b)?];
        self.watch.kept.push((ring, n, planes));
        if self.watch.tally.truncated(ring, n) {
            self.flag_kept()?;
        }
        Ok(())
    }

    /// Looks at everything that is kept, and keeps its flags instead.
    fn flag_kept(&mut self) -> Result<(), MpcError> {
        if self.watch.kept.is_empty() {
            return Ok(());
        }
        for outside in self.outside()? {
            self.keep_flags(&outside)?;
        }
        Ok(())
    }

    /// One flag for each element that is kept, of each ring together.
    pub(super) fn outside(&mut self) -> Result<Vec<RepBits>, MpcError> {
        let mut kept = std::mem::take(&mut self.watch.kept);
        let mut flags = vec![];
        for ring in [Ring::Z64, Ring::Z32] {
            let (own, others) = kept.into_iter().partition::<Vec<_>, _>(|(of, ..)| *of == ring);
            kept = others;
            if !own.is_empty() {
                flags.push(self.outside_of(ring, own)?);
            }
        }
        Ok(flags)
    }

    /// One flag for each of these elements of a ring.
    fn outside_of(&mut self, ring: Ring, kept: Vec<(Ring, usize, [Buffer; 2])>) -> Result<RepBits, MpcError> {
        let top = top(ring);
        let word = |planes: &Buffer, n: usize| {
            let upper = Tensor::from_planes_in(ring, top.width(), planes.view(), self.device(), &[n])?;
            Ok::<_, MpcError>(upper.unary(Unary::Shl(top.low())))
        };
        // One component after the other, and no copy of what lies alone: this is the most that a checked update holds.
        let component = |index: usize| {
            let parts = kept.iter().map(|(_, n, planes)| word(&planes[index], *n)).collect::<Result<Vec<_>, _>>()?;
            if let [part] = &parts[..] {
                return Ok::<_, MpcError>(part.clone());
            }
            Ok(Tensor::concat(&parts.iter().collect::<Vec<_>>())?)
        };
        let all = Rep::from_components(component(0)?, component(1)?)?;
        drop(kept);
        // It stands for the upper bits alone, which the window looks at.
        self.sign_in(&all, top)
    }

    /// Whether comparisons by this window are looked at: it may decide otherwise than all bits of the ring.
    pub(super) fn watches_signs(&self, ring: Ring, window: SignWindow) -> bool {
        self.settings().check_range != CheckRange::Off && leaves_out(ring, window, self.watch.extended)
    }

    /// Flags comparisons that a narrow window has decided otherwise than all bits of the ring do: its bits of x < 0, or `negated`.
    pub(super) fn watch_sign(
        &mut self,
        x: &Rep,
        window: SignWindow,
        bits: &RepBits,
        negated: bool,
    ) -> Result<(), MpcError> {
        let ring = x.ring();
        if x.is_empty() || !self.watches_signs(ring, window) {
            return Ok(());
        }
        self.settings().check_range.check_window(ring, window).map_err(|detail| MpcError::argument("sign", detail))?;
        let right = self.sign_in(x, super::cost::window_in(ring, SignWindow::default()))?;
        let differ = if negated { right.xor(&bits.not(self.id())) } else { right.xor(bits) };
        self.watch.tally.narrowed(ring, x.len());
        self.keep_flags(&differ)
    }

    /// Runs `body`, whose comparisons are of values as they were extended, or not.
    pub(super) fn of_extended<T>(&mut self, extended: bool, body: impl FnOnce(&mut Party) -> T) -> T {
        let before = std::mem::replace(&mut self.watch.extended, extended);
        let result = body(self);
        self.watch.extended = before;
        result
    }

    fn keep_flags(&mut self, flags: &RepBits) -> Result<(), MpcError> {
        self.watch.flags.push(flags.words()?);
        Ok(())
    }

    /// The or of all flags, opened.
    fn open_flag(&mut self) -> Result<bool, MpcError> {
        self.flag_kept()?;
        let flags = std::mem::take(&mut self.watch).flags;
        let mut words = RepXor::concat(&flags)?;
        while words.len() > 1 {
            let (count, half) = (words.len(), words.len() / 2);
            let either = self.or(&words.narrow(0..half)?, &words.narrow(half..2 * half)?)?;
            let odd = words.narrow(2 * half..count)?;
            words = if odd.is_empty() { either } else { RepXor::concat(&[either, odd])? };
        }
        for distance in [32, 16, 8, 4, 2, 1] {
            words = self.or(&words, &words.shr(distance))?;
        }
        let flag = self.open_xor(&words.field(0, 1)?)?.into_host()?;
        Ok(flag.iter().any(|&word| word != 0))
    }

    /// x ∨ y = x ⊕ y ⊕ xy.
    fn or(&mut self, x: &RepXor, y: &RepXor) -> Result<RepXor, MpcError> {
        let both = x.local_and(y)?;
        let both = self.reshare(both)?;
        Ok(x.xor(y)?.xor(&both)?)
    }
}

impl RepBits {
    /// x ⊕ y, of bits of one ring and shape on one device.
    fn xor(&self, other: &RepBits) -> RepBits {
        let both = |x: &Buffer, y: &Buffer| {
            let mut out = x.device().alloc(x.len());
            crate::device::kernels::binary(Ring::Z64, Binary::Xor, x.view(), y.view(), out.view_mut());
            out
        };
        self.with(both(&self.a, &other.a), both(&self.b, &other.b))
    }

    /// The packed words as they are, 64 bits each.
    fn words(&self) -> Result<RepXor, MpcError> {
        let tensor = |bits: &Buffer| Tensor::new(bits.clone(), &[bits.len()]);
        Ok(RepXor::from_components(tensor(&self.a)?, tensor(&self.b)?, 64)?)
    }
}
