//! Loops that the compiler vectorises well enough by itself, compiled once per instruction set.

/// Defines a function whose first argument is the [`Isa`](super::Isa) to run on: the body is
/// compiled for AVX-512, for AVX2 and for the baseline; it may be generic over the word. The caller has checked that the machine
/// supports the instruction set.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$word:ident: $bound:ident>)? ($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$word: $bound>)? (isa: $crate::device::cpu::gemm::Isa, $($arg: $type),*) {
            use $crate::device::cpu::gemm::Isa;

            #[inline(always)]
            fn body $(<$word: $bound>)? ($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            fn avx512 $(<$word: $bound>)? ($($arg: $type),*) {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2 $(<$word: $bound>)? ($($arg: $type),*) {
                body($($arg),*)
            }

            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the caller has checked that the machine supports `isa`.
                Isa::Avx512Dq | Isa::Avx512 | Isa::Amx => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}

pub(crate) use vectorised;
