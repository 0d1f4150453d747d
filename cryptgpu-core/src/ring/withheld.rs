//! A value that an error carries for the owner of the data alone. Errors travel to logs and to other people, so no
//! text of an error contains it.

use std::fmt;

/// A value that neither `Display` nor `Debug` shows; whoever owns the data asks for it by name.
///
/// ```
/// use cryptgpu_core::ring::{FixedPoint, RingError};
///
/// let error = FixedPoint::default().encode(1e13).unwrap_err();
/// assert!(!format!("{error} {error:?}").contains("1e13") && !error.to_string().contains("10000000000000"));
/// assert_eq!(error.value(), Some(1e13));
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Withheld<T>(T);

impl<T> Withheld<T> {
    /// Withholds `value` from every text.
    pub fn new(value: T) -> Self {
        Withheld(value)
    }

    /// The value, for the owner of the data that it comes from.
    pub fn for_owner(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Withheld<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(withheld)")
    }
}
