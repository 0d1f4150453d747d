//! Predictions from scores: the one place that says which class an image is taken for.

use ndarray::{ArrayBase, Data, Dimension};

/// The class with the largest score for each image of `scores`, `[batch, classes]`; the first of equals.
///
/// ```
/// use cryptgpu_core::nn::predictions;
/// use ndarray::array;
///
/// assert_eq!(predictions(&array![[0.5, 2.0, -1.0], [7.0, 7.0, 7.0]]), [1, 0]);
/// ```
pub fn predictions<S: Data<Elem = f64>, D: Dimension>(scores: &ArrayBase<S, D>) -> Vec<usize> {
    let of_one = |scores: &[f64]| {
        let first = (0, f64::NEG_INFINITY);
        let later =
            |best: (usize, f64), (class, &score): (usize, &f64)| if score > best.1 { (class, score) } else { best };
        scores.iter().enumerate().fold(first, later).0
    };
    let batch = scores.shape().first().copied().unwrap_or(0);
    let classes = scores.len() / batch.max(1);
    let all: Vec<f64> = scores.iter().copied().collect();
    all.chunks(classes.max(1)).map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ArrayD, arr2};

    #[test]
    fn of_equal_scores_the_first_counts() {
        assert_eq!(predictions(&Array2::<f64>::zeros((3, 10))), [0; 3]);
        assert_eq!(predictions(&arr2(&[[1.0, 3.0, 3.0], [-2.0, -2.0, -3.0]])), [1, 0]);
        assert_eq!(predictions(&arr2(&[[f64::MIN, f64::MIN]])), [0]);
    }

    #[test]
    fn any_number_of_axes_and_of_images() {
        assert_eq!(predictions(&ArrayD::from_shape_vec(vec![2, 2, 1], vec![0.0, 1.0, 1.0, 0.0]).unwrap()), [1, 0]);
        assert!(predictions(&ArrayD::<f64>::zeros(vec![0, 10])).is_empty());
    }
}
