//! Affine spaces over GF(2): which words a sample of words spans. Nothing here knows of protocols.

/// The affine space that some rows of bits span: the first of them plus all sums of differences.
pub(super) struct Span {
    width: usize,
    base: Vec<u64>,
    rows: Vec<u64>,
    /// For each bit, which row has it as its lowest one, plus one.
    pivots: Vec<u32>,
}

impl Span {
    /// The span of rows of `width` words each in a space of `most` dimensions; without a row, the space has none.
    pub fn of<'a>(width: usize, most: usize, samples: impl Iterator<Item = &'a [u64]>) -> Self {
        let mut span = Span { width, base: vec![], rows: vec![], pivots: vec![0; 64 * width] };
        let mut rest = vec![0; width];
        for sample in samples {
            if span.dimension() == most && !span.base.is_empty() {
                break;
            }
            if span.base.is_empty() {
                span.base = sample.to_vec();
            } else if let Some(lowest) = span.reduce(sample, &mut rest) {
                span.rows.extend_from_slice(&rest);
                span.pivots[lowest] = (span.rows.len() / width) as u32;
            }
        }
        span
    }

    /// Counts rows of `width` words: those that do not lie in the span, and all.
    pub fn outside<'a>(&self, samples: impl Iterator<Item = &'a [u64]>) -> (u32, u32) {
        let (mut rest, mut outside, mut all) = (vec![0; self.width], 0, 0);
        for sample in samples {
            all += 1;
            outside += u32::from(self.base.is_empty() || self.reduce(sample, &mut rest).is_some());
        }
        (outside, all)
    }

    /// The dimension.
    pub fn dimension(&self) -> usize {
        self.rows.len() / self.width
    }

    /// Leaves in `rest` what remains of a row when everything that lies in the space is taken off, and returns its lowest
    /// bit; nothing for a row of the space.
    fn reduce(&self, sample: &[u64], rest: &mut [u64]) -> Option<usize> {
        rest.iter_mut().zip(sample.iter().zip(&self.base)).for_each(|(rest, (a, b))| *rest = a ^ b);
        for word in 0..self.width {
            while rest[word] != 0 {
                let bit = 64 * word + rest[word].trailing_zeros() as usize;
                let row = (self.pivots[bit] as usize).checked_sub(1);
                let Some(row) = row else { return Some(bit) };
                let row = &self.rows[row * self.width..(row + 1) * self.width];
                rest[word..].iter_mut().zip(&row[word..]).for_each(|(a, b)| *a ^= b);
            }
        }
        None
    }
}

/// Whether no sum of some of these columns is zero. The columns are used up.
pub(super) fn independent(columns: &mut [[u64; 2]]) -> bool {
    for at in 0..columns.len() {
        let (done, rest) = columns.split_at_mut(at + 1);
        let pivot = done[at];
        let half = usize::from(pivot[0] == 0);
        if pivot[half] == 0 {
            return false;
        }
        let bit = pivot[half].trailing_zeros();
        for column in rest {
            let mask = (column[half] >> bit & 1).wrapping_neg();
            column[0] ^= pivot[0] & mask;
            column[1] ^= pivot[1] & mask;
        }
    }
    true
}

/// 64 rows of 64 bits, turned: bit j of row i becomes bit i of row j.
pub(super) fn turn(rows: &mut [u64; 64]) {
    let (mut width, mut mask) = (32, 0x0000_0000_ffff_ffff_u64);
    while width > 0 {
        let mut i = 0;
        while i < 64 {
            let t = ((rows[i] >> width) ^ rows[i | width]) & mask;
            rows[i] ^= t << width;
            rows[i | width] ^= t;
            i = ((i | width) + 1) & !width;
        }
        width /= 2;
        mask ^= mask << width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_rows_and_their_affine_sums_and_nothing_else() {
        let rows: [&[u64]; 4] = [&[0b0001, 8], &[0b0010, 8], &[0b0100, 9], &[0b0010, 8]];
        let span = Span::of(2, 128, rows.into_iter());
        assert_eq!(span.dimension(), 2);
        assert_eq!(span.outside(rows.into_iter()), (0, 4));
        // An odd number of rows lies in it, an even one does not.
        let others: [&[u64]; 3] = [&[0b0111, 9], &[0b0011, 0], &[0, 0]];
        assert_eq!(span.outside(others.into_iter()), (2, 3));
        assert_eq!(Span::of(2, 128, std::iter::empty()).outside(others.into_iter()), (3, 3));
    }

    #[test]
    fn turning_twice_changes_nothing_and_once_swaps_rows_and_bits() {
        let rows: [u64; 64] = std::array::from_fn(|i| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut turned = rows;
        turn(&mut turned);
        for (i, row) in rows.iter().enumerate() {
            for (j, column) in turned.iter().enumerate() {
                assert_eq!(row >> j & 1, column >> i & 1);
            }
        }
    }
}
