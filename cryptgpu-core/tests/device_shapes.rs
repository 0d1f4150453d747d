//! Operations on tensors whose shapes do not fit are refused, with both shapes in the error.

use cryptgpu_core::device::{Device, DeviceError, Tensor};
use ndarray::Array2;

fn ones(rows: usize, columns: usize) -> Tensor {
    Tensor::from_array(Device::Cpu, &Array2::<u64>::ones((rows, columns)))
}

#[test]
fn products_of_different_sizes_are_not_added_up() {
    let (a, b, c) = (ones(2, 3), ones(3, 4), ones(3, 5));
    assert_eq!(Tensor::matmul_sum([(&a, &b), (&a, &b)], false).unwrap().to_array().unwrap()[[1, 3]], 6);
    let error = Tensor::matmul_sum([(&a, &b), (&a, &c)], false).unwrap_err();
    assert!(matches!(error, DeviceError::Shape { operation: "matmul", .. }), "{error}");
    let error = Tensor::matmul_sum([(&a, &b), (&b, &c)], false).unwrap_err().to_string();
    assert!(error.contains("[3, 4]") && error.contains("[3, 5]"), "{error}");
}
