//! Types that may be kernel parameters, and tuples of them.

use super::{In, InOut};
use std::ffi::c_void;

/// A kernel parameter, passed by value.
///
/// # Safety
/// The type has the size, alignment and layout of the parameter's type in CUDA C++, and is plain data.
pub(crate) unsafe trait Argument: Copy {}

// SAFETY: a device pointer is 8 bytes.
unsafe impl Argument for In {}
// SAFETY: as above.
unsafe impl Argument for InOut {}
// SAFETY: `u32`.
unsafe impl Argument for u32 {}
// SAFETY: `u64`.
unsafe impl Argument for u64 {}

/// All parameters of a kernel, in order.
pub(crate) trait Arguments {
    /// Their sizes in bytes.
    const SIZES: &'static [usize];

    /// Calls `f` with a pointer to each.
    fn with_pointers<R>(&mut self, f: impl FnOnce(&mut [*mut c_void]) -> R) -> R;
}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<$($name: Argument),+> Arguments for ($($name,)+) {
            const SIZES: &'static [usize] = &[$(size_of::<$name>()),+];

            fn with_pointers<R>(&mut self, f: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                f(&mut [$(std::ptr::from_mut($name).cast()),+])
            }
        }
    };
}

arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);
arguments!(A B C D E F G H I);
arguments!(A B C D E F G H I J);
arguments!(A B C D E F G H I J K);
arguments!(A B C D E F G H I J K L);
