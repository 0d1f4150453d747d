//! Micro-kernels that broadcast words of A from memory and multiply each with a row of B, written once for the vectors of
//! `avx2` and `avx512dq`.
//!
//! A broadcast reads a word of a row as well as one of a panel. So A need not be packed: rows whose depths lie
//! next to each other, as those of weights and of images pixel by pixel do, are read where they lie, where there are few enough
//! columns for that to pay. Where lanes lie next to each other, they are packed. Of a tile with at most half of its rows, half is
//! computed.

/// Defines the micro-kernel of a word, with tiles of so many rows of so many vectors: `vector` is both what a
/// depth of a panel of B is in registers and what its products add up to, `set` makes a factor of a word of A.
macro_rules! broadcast_kernel {
    (
        $name:ident, $module:ident, $features:literal, $word:ident, $rows:literal rows of $vectors:literal of $lanes:literal,
        blocks: [$depth_block:literal, $row_block:literal, $column_block:literal], in_place: $in_place:expr,
        vector: [$vector:ty, $zero:ident, $load:ident, $store:ident], products: [$set:ident, $multiply:ident, $add:ident],
    ) => {
        /// A witness that the machine has this instruction set.
        pub(super) struct $name(());

        impl $name {
            /// # Safety
            #[doc = concat!("The machine must have ", $features, ".")]
            pub unsafe fn new() -> Self {
                $name(())
            }
        }

        impl Kernel<$rows, { $vectors * $lanes }> for $name {
            type Word = $word;

            const DEPTH_UNIT: usize = 1;
            const DEPTH_BLOCK: usize = $depth_block;
            const ROW_BLOCK: usize = $row_block;
            const COLUMN_BLOCK: usize = $column_block;
            const IN_PLACE_COLUMNS: usize = $in_place;

            fn pack_a(
                &mut self,
                a: &Concat<'_, Lanes<'_, $word>>,
                depth: Range<usize>,
                rows: Range<usize>,
                dst: &mut [$word],
            ) {
                // SAFETY: `self` witnesses the instruction set.
                unsafe { $module::copy::<_, $rows>(a, depth, rows, dst) };
            }

            fn pack_b<B: Operand<Word = $word>>(
                &mut self,
                b: &Concat<'_, B>,
                depth: Range<usize>,
                columns: Range<usize>,
                dst: &mut [$word],
            ) {
                // SAFETY: `self` witnesses the instruction set.
                unsafe { $module::copy::<_, { $vectors * $lanes }>(b, depth, columns, dst) };
            }

            fn tile(&mut self, a: Left<'_, $word>, b: &[$word], out: &mut [$word]) {
                let (b, out) = (b.as_chunks().0, out.as_chunks_mut().0);
                match a.rows.len() <= $rows / 2 {
                    // SAFETY: `self` witnesses the instruction set.
                    true => unsafe { $module::tile::<{ $rows / 2 }>(a, b, out) },
                    // SAFETY: as above.
                    false => unsafe { $module::tile::<$rows>(a, b, out) },
                }
            }
        }

        mod $module {
            use super::*;

            /// A row of a tile, and a depth of a panel of B.
            type Row = [$word; $vectors * $lanes];

            /// [`Concat::pack`], compiled for this instruction set.
            #[target_feature(enable = $features)]
            pub fn copy<O: Operand<Word = $word>, const W: usize>(
                from: &Concat<'_, O>,
                depth: Range<usize>,
                lanes: Range<usize>,
                dst: &mut [$word],
            ) {
                from.pack::<W>(depth, lanes, dst);
            }

            /// The first `R` rows of a tile; those beyond A's are of no meaning.
            #[target_feature(enable = $features)]
            pub fn tile<const R: usize>(a: Left<'_, $word>, b: &[Row], out: &mut [Row]) {
                let mut sums = [[$zero(); $vectors]; R];
                if a.panel.is_empty() {
                    for (lanes, part, offset) in a.from.parts(a.depth.clone()) {
                        let row = |row: usize| {
                            let row = (a.rows.start + row).min(a.rows.end - 1);
                            lanes.data[part.start + row * lanes.lane_stride..][..part.len()].as_ptr()
                        };
                        let rows: [*const $word; R] = std::array::from_fn(row);
                        // SAFETY: a word for each depth of `b` lies from each pointer on, as the slices above say.
                        unsafe { add::<R, 1>(&mut sums, rows, &b[offset..][..part.len()]) };
                    }
                } else {
                    let panel = a.panel[..b.len() * $rows].as_ptr();
                    let rows: [*const $word; R] = std::array::from_fn(|row| panel.wrapping_add(row));
                    // SAFETY: the panel has a word of each of a tile's rows, at least R, for each depth of `b`.
                    unsafe { add::<R, $rows>(&mut sums, rows, b) };
                }
                for (sums, out) in sums.into_iter().zip(out) {
                    for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<$lanes>().0) {
                        // SAFETY: `out` is a vector; the store needs no alignment.
                        unsafe { $store(out.as_mut_ptr().cast(), sum) };
                    }
                }
            }

            /// Adds the products of each row's words, `STEP` apart, with the vectors of `b`, two depths at a time.
            ///
            /// # Safety
            /// As many words as vectors lie from each pointer on.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add<const R: usize, const STEP: usize>(
                sums: &mut [[$vector; $vectors]; R],
                rows: [*const $word; R],
                b: &[Row],
            ) {
                let at = |depth: usize| rows.map(|row| row.wrapping_add(depth * STEP));
                let (pairs, last) = b.as_chunks::<2>();
                for (pair, [first, second]) in pairs.iter().enumerate() {
                    // SAFETY: the caller's promise: these are depths of `b`.
                    unsafe {
                        step::<R>(sums, at(2 * pair), first);
                        step::<R>(sums, at(2 * pair + 1), second);
                    }
                }
                for b in last {
                    // SAFETY: likewise.
                    unsafe { step::<R>(sums, at(2 * pairs.len()), b) };
                }
            }

            /// One depth.
            ///
            /// # Safety
            /// The pointers are to words.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn step<const R: usize>(sums: &mut [[$vector; $vectors]; R], words: [*const $word; R], b: &Row) {
                let mut vectors = [$zero(); $vectors];
                for (vector, words) in vectors.iter_mut().zip(b.as_chunks::<$lanes>().0) {
                    // SAFETY: a chunk is a vector; the load needs no alignment.
                    *vector = unsafe { $load(words.as_ptr().cast()) };
                }
                for (sums, word) in sums.iter_mut().zip(words) {
                    // SAFETY: the caller's promise.
                    let a = $set(unsafe { *word }.cast_signed());
                    for (sum, b) in sums.iter_mut().zip(vectors) {
                        *sum = $add(*sum, $multiply(a, b));
                    }
                }
            }
        }
    };
}

pub(super) use broadcast_kernel;
