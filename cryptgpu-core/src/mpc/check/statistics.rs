//! Chi-square tests and Holm's correction: what "looks uniform" and "looks the same" mean here.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Probability, for uniform data, of counts at least as far from uniform, or, of many bins, as
/// suspiciously even (a few may well be exactly even). Pearson's chi-square; `None` below five
/// expected in a bin, where it means nothing.
pub(super) fn uniform(counts: &[u32]) -> Option<f64> {
    let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let expected = total / counts.len() as f64;
    if expected < 5.0 {
        return None;
    }
    let chi: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    let law = ChiSquared::new(counts.len() as f64 - 1.0).ok()?;
    match counts.len() {
        16.. => Some((2.0 * law.sf(chi).min(law.cdf(chi))).min(1.0)),
        _ => Some(law.sf(chi)),
    }
}

/// Probability, for two samples of one distribution, of counts that differ at least so much. Bins
/// that neither sample reaches do not count.
pub(super) fn same(first: &[u32], second: &[u32]) -> Option<f64> {
    let total = |counts: &[u32]| counts.iter().map(|&count| f64::from(count)).sum::<f64>();
    let (n, m) = (total(first), total(second));
    if n < 40.0 || m < 40.0 {
        return None;
    }
    let (ratio, inverse) = ((m / n).sqrt(), (n / m).sqrt());
    let pairs = first.iter().zip(second).map(|(&a, &b)| (f64::from(a), f64::from(b))).filter(|(a, b)| a + b > 0.0);
    let (mut chi, mut bins) = (0.0, 0);
    for (a, b) in pairs {
        chi += (ratio * a - inverse * b).powi(2) / (a + b);
        bins += 1;
    }
    if bins < 2 {
        return Some(1.0);
    }
    Some(ChiSquared::new(f64::from(bins) - 1.0).ok()?.sf(chi))
}

/// How often each byte occurs, all eight of a word together.
pub(super) fn bytes(words: impl Iterator<Item = u64>) -> [u32; 256] {
    let mut counts = [0; 256];
    for word in words {
        word.to_le_bytes().into_iter().for_each(|byte| counts[usize::from(byte)] += 1);
    }
    counts
}

/// How often each half byte occurs: for few words.
pub(super) fn nibbles(bytes: &[u32; 256]) -> [u32; 16] {
    let mut counts = [0; 16];
    for (byte, count) in bytes.iter().enumerate() {
        counts[byte & 15] += count;
        counts[byte >> 4] += count;
    }
    counts
}

/// Bytes at place `at` of the words, 0 the lowest.
pub(super) fn byte_at(words: &[u64], at: u32) -> [u32; 256] {
    let mut counts = [0; 256];
    words.iter().for_each(|word| counts[(word >> (8 * at) & 255) as usize] += 1);
    counts
}

/// Zeros and ones at place `at` of the words.
pub(super) fn bit_at(words: &[u64], at: u32) -> [u32; 2] {
    let ones = words.iter().filter(|&word| word >> at & 1 == 1).count() as u32;
    [words.len() as u32 - ones, ones]
}

/// Holm's corrected p-values (1979), in the order of `p`: a test is rejected at a level when its
/// corrected value is below, and the chance of any wrong rejection is at most that level, whatever
/// the tests have in common.
pub(super) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[index]).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of R 4: `pchisq`, `p.adjust(method = "holm")`, and the two-sample statistic by hand.
    #[test]
    fn values_agree_with_published_ones() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} {b}");
        // 60 and 40 of 100: chi-square 4 at one degree of freedom.
        close(uniform(&[60, 40]).unwrap(), 0.0455003);
        // A die that shows 5, 8, 9, 8, 10, 20: chi-square 13.4 at five degrees of freedom.
        close(uniform(&[5, 8, 9, 8, 10, 20]).unwrap(), 0.0199052);
        close(same(&[60, 40], &[40, 60]).unwrap(), 0.0046777);
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(a, b);
        }
    }

    #[test]
    fn too_few_and_too_even_counts_are_noticed() {
        assert_eq!(uniform(&[1; 256]), None);
        assert!(uniform(&[1000; 256]).unwrap() < 1e-9, "nothing random is that even");
        assert!(uniform(&[4000, 0, 0, 0]).unwrap() < 1e-9);
        assert_eq!(uniform(&[1000, 1000]), Some(1.0));
        assert_eq!(same(&[100, 0], &[200, 0]), Some(1.0), "two constants are the same");
        assert!(same(&[100, 0], &[0, 100]).unwrap() < 1e-9);
        assert_eq!(same(&[10, 0], &[0, 10]), None);
        assert!(holm(&[]).is_empty());
    }
}
