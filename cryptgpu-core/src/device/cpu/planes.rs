//! Rows of words to planes of bits and back, whole vectors at a time.

// Loops over lanes are written with indices: that is the form in which the compiler sees a row of
// lanes as one vector.
#![allow(clippy::needless_range_loop)]

/// 64 rows of `L` words: row t, lane l is element t·L + l of a unit.
pub(crate) type Rows<const L: usize> = [[u64; L]; 64];

/// Transposes the 64×64 bits of every lane: bit i of row t moves to bit t of row i. Its own
/// inverse. Six steps of masked swaps between whole rows: 2.25 vector operations an element
/// at eight lanes in 512-bit registers.
#[inline(always)]
pub(crate) fn transpose<const L: usize>(rows: &mut Rows<L>) {
    step::<L, 32>(rows, 0x0000_0000_FFFF_FFFF);
    step::<L, 16>(rows, 0x0000_FFFF_0000_FFFF);
    step::<L, 8>(rows, 0x00FF_00FF_00FF_00FF);
    step::<L, 4>(rows, 0x0F0F_0F0F_0F0F_0F0F);
    step::<L, 2>(rows, 0x3333_3333_3333_3333);
    step::<L, 1>(rows, 0x5555_5555_5555_5555);
}

#[inline(always)]
fn step<const L: usize, const J: usize>(rows: &mut Rows<L>, mask: u64) {
    let mut high = 0;
    while high < 64 {
        for k in high..high + J {
            for l in 0..L {
                let (a, b) = (rows[k][l], rows[k + J][l]);
                let swap = ((a >> J) ^ b) & mask;
                rows[k][l] = a ^ (swap << J);
                rows[k + J][l] = b ^ swap;
            }
        }
        high += 2 * J;
    }
}

/// Loads up to 64·L elements as rows, each through `f`; missing ones are zero.
#[inline(always)]
pub(crate) fn load<const L: usize>(n: usize, f: impl Fn(usize) -> u64) -> Rows<L> {
    let mut rows = [[0u64; L]; 64];
    if n == 64 * L {
        for t in 0..64 {
            for l in 0..L {
                rows[t][l] = f(t * L + l);
            }
        }
    } else {
        for index in 0..n {
            rows[index / L][index % L] = f(index);
        }
    }
    rows
}

/// Packs one bit an element: `f(index)` in its lowest bit.
#[inline(always)]
pub(crate) fn pack<const L: usize>(n: usize, out: &mut [u64], f: impl Fn(usize) -> u64) {
    let mut words = [0u64; L];
    if n == 64 * L {
        for t in 0..64 {
            for l in 0..L {
                words[l] |= (f(t * L + l) & 1) << t;
            }
        }
    } else {
        for index in 0..n {
            words[index % L] |= (f(index) & 1) << (index / L);
        }
    }
    out.copy_from_slice(&words);
}

/// Calls `f(index, bit)` for every element of a unit, its bit (0 or 1) taken from packed words.
#[inline(always)]
pub(crate) fn for_bits<const L: usize, const K: usize>(
    n: usize,
    words: [&[u64]; K],
    mut f: impl FnMut(usize, [u64; K]),
) {
    let mut lanes = [[0u64; L]; K];
    for k in 0..K {
        lanes[k].copy_from_slice(words[k]);
    }
    if n == 64 * L {
        for t in 0..64 {
            for l in 0..L {
                let bits = std::array::from_fn(|k| lanes[k][l] >> t & 1);
                f(t * L + l, bits);
            }
        }
    } else {
        for index in 0..n {
            let bits = std::array::from_fn(|k| lanes[k][index % L] >> (index / L) & 1);
            f(index, bits);
        }
    }
}

/// Defines a kernel on one unit, compiled for AVX-512, AVX2 and any x86-64 (or other) processor,
/// with the best chosen when it is called, and for both widths of a unit.
macro_rules! unit_kernel {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($lanes:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block) => {
        $(#[$doc])*
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+bmi1+bmi2",
            "x86_64+avx2+bmi1+bmi2",
        ))]
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(lanes: usize, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<const $lanes: usize>($($arg: $ty),*) $body
            if lanes == 8 { body::<8>($($arg),*) } else { body::<1>($($arg),*) }
        }
    };
}
pub(crate) use unit_kernel;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Layout;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn transposing_swaps_rows_and_bits(seed in any::<[u64; 8]>()) {
            let mut state = seed;
            let mut rows = [[0u64; 8]; 64];
            for row in rows.iter_mut() {
                for (lane, s) in row.iter_mut().zip(&mut state) {
                    *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    *lane = *s ^ *s >> 29;
                }
            }
            let before = rows;
            transpose(&mut rows);
            for t in 0..64 {
                for i in 0..64 {
                    for l in 0..8 {
                        prop_assert_eq!(rows[t][l] >> i & 1, before[i][l] >> t & 1);
                    }
                }
            }
            transpose(&mut rows);
            prop_assert_eq!(rows, before);
        }

        #[test]
        fn packing_follows_the_layout(bits in proptest::collection::vec(any::<bool>(), 1..=64)) {
            let mut word = [0u64];
            pack::<1>(bits.len(), &mut word, |i| u64::from(bits[i]));
            prop_assert_eq!(Layout::pack(&bits), word.to_vec());
            let mut seen = vec![];
            for_bits::<1, 1>(bits.len(), [&word], |_, [bit]| seen.push(bit == 1));
            prop_assert_eq!(seen, bits);
        }
    }

    #[test]
    fn a_whole_block_follows_the_layout() {
        let bits: Vec<bool> = (0..512).map(|i| i * i % 7 < 3).collect();
        let mut words = [0u64; 8];
        pack::<8>(512, &mut words, |i| u64::from(bits[i]));
        assert_eq!(Layout::pack(&bits), words.to_vec());
        let mut seen = vec![false; 512];
        for_bits::<8, 1>(512, [&words], |i, [bit]| seen[i] = bit == 1);
        assert_eq!(seen, bits);
    }
}
