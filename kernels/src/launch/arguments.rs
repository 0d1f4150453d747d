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

/// One of several jobs that share a launch (`job_of` in `common.cuh`).
pub(crate) trait Job: Copy {
    /// The value of places that no job has: its `end` is zero.
    const NONE: Self;
}

/// As many jobs as one launch of a kernel takes, as its one parameter.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Jobs<J, const N: usize>(pub(crate) [J; N]);

impl<J: Job, const N: usize> Jobs<J, N> {
    pub(crate) const NONE: Self = Jobs([J::NONE; N]);
}

// SAFETY: a structure of one array of the job's type, which has the layout of the kernel's, without padding.
unsafe impl<J: Job, const N: usize> Argument for Jobs<J, N> {}

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
