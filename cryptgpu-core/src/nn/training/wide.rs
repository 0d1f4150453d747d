//! What a training in the ring of 32 bits computes in that of 64, because 32 have no room for it: Adam's moments, and what a batch
//! normalisation makes channel by channel. In the ring of 64 bits nothing changes here.

use crate::mpc::{Cost, Party, Rep, cost};
use crate::ring::{FixedPoint, Ring};

/// The codec of such numbers: that of the run, or the usual one of the ring of 64 bits.
pub(super) fn codec(of: FixedPoint) -> FixedPoint {
    match of.ring() {
        Ring::Z64 => of,
        Ring::Z32 => Ring::Z64.into(),
    }
}

/// Fraction bits that they have more than the run's.
pub(super) fn more(of: FixedPoint) -> u32 {
    codec(of).fraction_bits().saturating_sub(of.fraction_bits())
}

/// Runs `body` with that codec.
pub(super) fn run<T>(p: &mut Party, body: impl FnOnce(&mut Party) -> T) -> T {
    let settings = *p.settings();
    p.with_settings(crate::mpc::Settings { codec: codec(settings.codec), ..settings }, body)
}

/// A result in the ring of the run. Local.
pub(super) fn back(x: Rep, ring: Ring) -> Rep {
    match ring {
        Ring::Z64 => x,
        Ring::Z32 => x.reduce(),
    }
}

/// What the way there costs for n elements of the run's ring.
pub(super) fn extended(ring: Ring, n: usize) -> Cost {
    match ring {
        Ring::Z64 => Cost::FREE,
        Ring::Z32 => cost::extend(n),
    }
}
