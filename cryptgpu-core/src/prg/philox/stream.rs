//! Random access: any words of a Philox stream, from any thread.

use super::bulk;
use super::state::BLOCK;
use super::{Int256, philox4x64};
use rayon::prelude::*;
use std::fmt;

/// The words of one Philox4x64-10 stream by their index: word w is word w mod 4 of the block of
/// counter + 1 + ⌊w / 4⌋, which is what [`super::Philox::random_raw`] gives at its w-th call. The same
/// words however many threads or devices fill them.
///
/// ```
/// use cryptgpu_core::prg::philox::Philox;
/// let mut philox = Philox::seeded(3u64);
/// let (mut in_order, mut part) = ([0; 100], [0; 10]);
/// let stream = philox.stream();
/// philox.fill_raw(&mut in_order);
/// stream.fill(41, &mut part);
/// assert_eq!(part, in_order[41..51]);
/// ```
#[derive(Clone)]
pub struct PhiloxStream {
    key: [u64; 2],
    counter: Int256,
}

/// Words that one task of [`PhiloxStream::fill_parallel`] makes.
const PARALLEL_CHUNK: usize = 1 << 16;

impl PhiloxStream {
    /// The stream of a generator with this key and counter, least significant words first.
    pub fn new(key: [u64; 2], counter: [u64; 4]) -> Self {
        PhiloxStream { key, counter: Int256::from_words(counter) }
    }

    /// Words `offset .. offset + out.len()` of the stream. Any offset and length; multiples of 32
    /// are fastest.
    pub fn fill(&self, offset: u64, out: &mut [u64]) {
        let mut counter = self.counter.wrapping_add(1.into()).wrapping_add((offset / BLOCK as u64).into());
        let into_block = (offset % BLOCK as u64) as usize;
        let mut rest = out;
        if into_block != 0 {
            let head = rest.len().min(BLOCK - into_block);
            let (first, others) = rest.split_at_mut(head);
            first.copy_from_slice(&philox4x64::<10>(counter.words(), self.key)[into_block..][..head]);
            counter = counter.wrapping_add(1.into());
            rest = others;
        }
        let (blocks, tail) = rest.as_chunks_mut();
        counter = bulk::fill(self.key, counter, blocks);
        tail.copy_from_slice(&philox4x64::<10>(counter.words(), self.key)[..tail.len()]);
    }

    /// The words of [`PhiloxStream::fill`], made by all threads of the current rayon pool.
    pub fn fill_parallel(&self, offset: u64, out: &mut [u64]) {
        out.par_chunks_mut(PARALLEL_CHUNK)
            .enumerate()
            .for_each(|(i, chunk)| self.fill(offset + (i * PARALLEL_CHUNK) as u64, chunk));
    }
}

/// Shows neither key nor counter.
impl fmt::Debug for PhiloxStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhiloxStream(..)")
    }
}
