//! The paper's micro-benchmarks: one private operation by size, at three parties. An operation is declared here, runs
//! as a function of a [`Cluster`](crate::cluster::Cluster)'s parties, and becomes a record, which is shown beside what
//! is published for the same operation and size. No network, and no data but random numbers.

mod party;
mod record;
mod table;

pub use party::{MicroReport, run_party};
pub use record::{Bench, EXPERIMENT, MicroRecord, append, read};
pub use table::{MicroRow, latest, micro_caption, micro_table};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::inference::{MOST_ITERATIONS, check_count};
use crate::device::{ConvGeometry, PoolGeometry};

/// A private operation of a certain size. Its text is its name and its size as the published figures write them:
/// `matmul 100x100x100`, `convolution 28x28 1->16 k5`, `relu 1000`.
///
/// ```
/// use cryptgpu_core::experiment::micro::Operation;
///
/// let product: Operation = "matmul 10x20x30".parse()?;
/// assert_eq!(product, Operation::Matmul { m: 10, k: 20, n: 30 });
/// assert_eq!((product.name(), product.macs(), product.outputs()), ("matmul", 6000, 300));
/// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// The product of secret matrices `[m, k]` and `[k, n]`, truncated.
    Matmul {
        /// Rows.
        m: usize,
        /// Depth.
        k: usize,
        /// Columns.
        n: usize,
    },
    /// One secret image convolved with secret weights, stride 1, no padding, truncated.
    Convolution {
        /// Height and width of the image.
        side: usize,
        /// Its channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Height and width of the kernel.
        kernel: usize,
    },
    /// ReLU of this many secret elements.
    Relu {
        /// Elements.
        n: usize,
    },
}

impl Operation {
    /// The operations and sizes of the published micro-benchmarks, from small to large by operation.
    pub fn published() -> Vec<Operation> {
        let matmuls = [10, 30, 50, 100, 300].map(|n| Operation::Matmul { m: n, k: n, n });
        let images = [(12, 20, 50, 3), (28, 1, 16, 5), (64, 3, 32, 5), (32, 3, 50, 7), (224, 3, 64, 5)];
        let convolution = |(side, inputs, outputs, kernel)| Operation::Convolution { side, inputs, outputs, kernel };
        let relus = [10, 100, 1000, 10_000, 100_000].map(|n| Operation::Relu { n });
        matmuls.into_iter().chain(images.map(convolution)).chain(relus).collect()
    }

    /// `matmul`, `convolution` or `relu`.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Matmul { .. } => "matmul",
            Operation::Convolution { .. } => "convolution",
            Operation::Relu { .. } => "relu",
        }
    }

    /// The size, as the published figures write it.
    pub fn size(&self) -> String {
        match self {
            Operation::Matmul { m, k, n } => format!("{m}x{k}x{n}"),
            Operation::Convolution { side, inputs, outputs, kernel } => {
                format!("{side}x{side} {inputs}->{outputs} k{kernel}")
            }
            Operation::Relu { n } => n.to_string(),
        }
    }

    /// Multiply-accumulates of secrets; none for ReLU. The parties make five ring products for each.
    pub fn macs(&self) -> u64 {
        let depth = match *self {
            Operation::Matmul { k, .. } => k,
            Operation::Convolution { inputs, kernel, .. } => inputs * kernel * kernel,
            Operation::Relu { .. } => 0,
        };
        self.outputs() * depth as u64
    }

    /// Elements of the result.
    pub fn outputs(&self) -> u64 {
        self.shape().iter().product::<usize>() as u64
    }

    /// The number that distinguishes sizes of this operation: multiply-accumulates, or elements for ReLU.
    pub fn work(&self) -> u64 {
        if let Operation::Relu { n } = self { *n as u64 } else { self.macs() }
    }

    /// Shapes of the secret operands.
    fn operands(&self) -> Vec<Vec<usize>> {
        match *self {
            Operation::Matmul { m, k, n } => vec![vec![m, k], vec![k, n]],
            Operation::Convolution { side, inputs, outputs, kernel } => {
                let geometry = geometry(side, inputs, outputs, kernel);
                vec![geometry.input_shape().to_vec(), geometry.weight_shape().to_vec()]
            }
            Operation::Relu { n } => vec![vec![n]],
        }
    }

    /// Shape of the result; for a checked operation.
    fn shape(&self) -> Vec<usize> {
        match *self {
            Operation::Matmul { m, n, .. } => vec![m, n],
            Operation::Convolution { side, outputs, kernel, .. } => {
                vec![
                    1,
                    outputs,
                    side.saturating_add(1).saturating_sub(kernel),
                    side.saturating_add(1).saturating_sub(kernel),
                ]
            }
            Operation::Relu { n } => vec![n],
        }
    }

    /// Refuses what is empty or larger than a run on one machine makes sense for.
    fn check(&self) -> Result<(), ExperimentError> {
        const MOST: usize = 1 << 26;
        let refuse = |hint: &str| {
            let (field, value, hint) = ("operation", self.to_string(), hint.to_owned());
            Err(ExperimentError::Declaration { field, value, hint })
        };
        let elements =
            |shape: &[usize]| shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side)).unwrap_or(usize::MAX);
        if let Operation::Convolution { side, kernel, .. } = *self
            && kernel > side
        {
            return refuse("the kernel is larger than the image");
        }
        let mut shapes = self.operands();
        shapes.push(self.shape());
        match shapes.iter().map(|shape| elements(shape)).fold((usize::MAX, 0), |(l, h), n| (l.min(n), h.max(n))) {
            (0, _) => refuse("every size must be at least 1"),
            (_, most) if most > MOST => refuse("an operand has more than 2^26 elements"),
            _ => Ok(()),
        }
    }
}

/// One image, stride 1, no padding.
fn geometry(side: usize, inputs: usize, outputs: usize, kernel: usize) -> ConvGeometry {
    ConvGeometry {
        batch: 1,
        in_channels: inputs,
        input: [side; 2],
        out_channels: outputs,
        window: PoolGeometry::square(kernel, 1, 0),
        groups: 1,
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.size())
    }
}

impl FromStr for Operation {
    type Err = ExperimentError;

    fn from_str(text: &str) -> Result<Self, ExperimentError> {
        let unknown = || ExperimentError::Declaration {
            field: "operation",
            value: text.to_owned(),
            hint: "write `matmul 100x100x100`, `convolution 28x28 1->16 k5` or `relu 1000`".to_owned(),
        };
        let numbers: Option<Vec<usize>> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().ok())
            .collect();
        let operation = match (text.split(' ').next(), numbers.as_deref()) {
            (Some("matmul"), Some(&[m, k, n])) => Operation::Matmul { m, k, n },
            (Some("convolution"), Some(&[side, _, inputs, outputs, kernel])) => {
                Operation::Convolution { side, inputs, outputs, kernel }
            }
            (Some("relu"), Some(&[n])) => Operation::Relu { n },
            _ => return Err(unknown()),
        };
        // Written back it must be the same: nothing is skipped or guessed.
        if operation.to_string() != text {
            return Err(unknown());
        }
        operation.check().map(|()| operation)
    }
}

/// One operation, to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Micro {
    /// The operation.
    pub operation: Operation,
    /// Timed iterations; one that is not timed goes before.
    pub iterations: usize,
}

impl Micro {
    /// `operation`, five times.
    pub fn of(operation: Operation) -> Self {
        Self { operation, iterations: 5 }
    }

    /// Tests what can be tested before anything runs.
    ///
    /// # Errors
    /// [`Declaration`](ExperimentError::Declaration) for sizes that are empty or too large, or no iterations.
    pub fn validate(&self) -> Result<(), ExperimentError> {
        check_count("iterations", self.iterations, MOST_ITERATIONS)?;
        self.operation.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_read_as_it_is_written() {
        for operation in Operation::published() {
            assert_eq!(operation.to_string().parse::<Operation>().unwrap(), operation);
        }
        for text in ["", "matmul", "matmul 3x4", "matmul 3x4x5x6", "relu x7", "conv 28x28 1->16 k5", "relu 7 "] {
            assert!(text.parse::<Operation>().unwrap_err().to_string().contains("relu 1000"), "{text}");
        }
        assert!("convolution 28x27 1->16 k5".parse::<Operation>().is_err());
    }

    #[test]
    fn sizes_that_cannot_be_run_say_why() {
        for (text, why) in [
            ("relu 0", "at least 1"),
            ("convolution 4x4 1->1 k5", "larger than the image"),
            ("matmul 100000x1x100000", "2^26"),
            ("matmul 18446744073709551615x2x1", "2^26"),
            ("convolution 18446744073709551615x18446744073709551615 1->1 k1", "2^26"),
            ("relu 18446744073709551615", "2^26"),
        ] {
            assert!(text.parse::<Operation>().unwrap_err().to_string().contains(why), "{text}");
        }
        let none = Micro { iterations: 0, ..Micro::of(Operation::Relu { n: 1 }) };
        assert!(none.validate().unwrap_err().to_string().contains("iterations 0"));
        let endless = Micro { iterations: usize::MAX, ..Micro::of(Operation::Relu { n: 1 }) };
        assert!(endless.validate().unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn sizes_are_counted() {
        let conv: Operation = "convolution 28x28 1->16 k5".parse().unwrap();
        assert_eq!((conv.outputs(), conv.macs(), conv.work()), (9216, 9216 * 25, 9216 * 25));
        assert_eq!(geometry(28, 1, 16, 5).output_shape().unwrap().to_vec(), conv.shape());
        assert_eq!(Operation::Relu { n: 7 }.work(), 7);
    }
}
