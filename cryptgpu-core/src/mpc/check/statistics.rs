//! Tests of two samples, and Holm's correction: what "the same on both secrets" means here.

use statrs::function::erf::erfc;
use statrs::function::factorial::ln_factorial;

/// Fisher's exact test: the probability, when both samples are of one distribution, that what occurs `a` times in `n`
/// and `b` times in `m` is spread at least so unevenly over the two (twice the smaller tail, at most 1). Counts that are
/// near each other are not looked at: 1.
pub(super) fn fisher((a, n): (u32, u32), (b, m): (u32, u32)) -> f64 {
    let (total, all) = (a + b, n + m);
    if n == 0 || m == 0 || total == 0 || total == all {
        return 1.0;
    }
    let share = f64::from(total) / f64::from(all);
    let spread = (share * (1.0 - share) * (1.0 / f64::from(n) + 1.0 / f64::from(m))).sqrt();
    let apart = f64::from(a) / f64::from(n) - f64::from(b) / f64::from(m);
    if apart.abs() < 3.0 * spread {
        return 1.0;
    }
    let choose = |n: u32, k: u32| ln_factorial(n.into()) - ln_factorial(k.into()) - ln_factorial((n - k).into());
    let chance = |a: u32| (choose(n, a) + choose(m, total - a) - choose(all, total)).exp();
    let tail: f64 = match apart > 0.0 {
        true => (a..=n.min(total)).map(chance).sum(),
        false => (total.saturating_sub(m)..=a).map(chance).sum(),
    };
    (2.0 * tail).min(1.0)
}

/// Mann and Whitney's test, with the normal distribution and ties corrected: the probability, for two samples of one
/// distribution, that one lies so much above the other.
pub(super) fn rank_sum(first: &[u32], second: &[u32]) -> f64 {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let mut all: Vec<(u32, bool)> =
        first.iter().map(|&x| (x, true)).chain(second.iter().map(|&x| (x, false))).collect();
    all.sort_unstable();
    let (mut sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let t = equal.len() as f64;
        let rank = before + (t + 1.0) / 2.0;
        sum += rank * equal.iter().filter(|(_, first)| *first).count() as f64;
        ties += t * t * t - t;
        before += t;
    }
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if n < 20.0 || m < 20.0 || variance <= 0.0 {
        return 1.0;
    }
    let apart = (sum - n * (total + 1.0) / 2.0).abs() / variance.sqrt();
    erfc(apart / std::f64::consts::SQRT_2)
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

    /// Values of R 4: `p.adjust(method = "holm")`, and the hypergeometric tails by hand.
    #[test]
    fn values_agree_with_published_ones() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * b, "{a} {b}");
        // All eight of one side: one way of C(16, 8) on each side.
        close(fisher((0, 8), (8, 8)), 2.0 / 12870.0);
        close(fisher((8, 8), (0, 8)), 2.0 / 12870.0);
        // 15 of 20 against 2 of 20: phyper(14, 20, 20, 17, lower.tail = FALSE), doubled.
        close(fisher((15, 20), (2, 20)), 6.8606e-5);
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(a, b);
        }
    }

    #[test]
    fn what_is_alike_is_not_found_and_what_is_not_is() {
        assert_eq!(fisher((50, 100), (52, 100)), 1.0);
        assert_eq!((fisher((0, 100), (0, 100)), fisher((3, 3), (0, 0))), (1.0, 1.0));
        assert!(fisher((0, 128), (128, 128)) < 1e-70 && fisher((0, 44), (64, 128)) < 1e-8);
        let (low, high): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (60..160).collect());
        assert!(rank_sum(&low, &high) < 1e-12 && rank_sum(&high, &low) < 1e-12);
        assert!(rank_sum(&low, &low) > 0.99 && rank_sum(&[7; 100], &[7; 100]) == 1.0);
        assert!(holm(&[]).is_empty());
    }
}
