//! Functions of rows, which lie along the last axis, as one type: what a network names, and what its cost and range follow from.

use super::{WORKING, normalise};
use crate::mpc::{MpcError, Party, Rep};
use crate::ring::FixedPoint;

/// A function of each row.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFunction {
    /// eˣ/Σeˣ.
    Softmax,
    /// Its logarithm.
    LogSoftmax,
    /// (x − μ)/√(σ² + ε), with the mean μ and the variance σ² of the row.
    LayerNorm {
        /// ε, above zero.
        eps: f64,
    },
    /// x/√(mean(x²) + ε).
    RmsNorm {
        /// ε, above zero.
        eps: f64,
    },
}

impl RowFunction {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            RowFunction::Softmax => "softmax",
            RowFunction::LogSoftmax => "log_softmax",
            RowFunction::LayerNorm { .. } => "layer_norm",
            RowFunction::RmsNorm { .. } => "rms_norm",
        }
    }

    /// The function of a row, in the clear.
    ///
    /// ```
    /// use cryptgpu_core::mpc::RowFunction;
    /// let mut row = [2.0, 2.0];
    /// RowFunction::Softmax.apply(&mut row);
    /// assert!(row.iter().all(|y| (y - 0.5).abs() < 1e-12));
    /// ```
    pub fn apply(self, row: &mut [f64]) {
        let width = row.len() as f64;
        match self {
            RowFunction::Softmax | RowFunction::LogSoftmax => {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let logarithm = largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
                row.iter_mut().for_each(|x| *x -= logarithm);
                if self == RowFunction::Softmax {
                    row.iter_mut().for_each(|x| *x = x.exp());
                }
            }
            RowFunction::LayerNorm { eps } => {
                let mean = row.iter().sum::<f64>() / width;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
                row.iter_mut().for_each(|x| *x = (*x - mean) / (variance + eps).sqrt());
            }
            RowFunction::RmsNorm { eps } => {
                let squares = row.iter().map(|x| x * x).sum::<f64>() / width;
                row.iter_mut().for_each(|x| *x /= (squares + eps).sqrt());
            }
        }
    }

    /// Whether its comparisons are between elements of a row, by the window of the settings.
    pub fn compares(self) -> bool {
        matches!(self, RowFunction::Softmax | RowFunction::LogSoftmax)
    }

    /// Whether it leaves out the mean of each row before anything else.
    pub fn centres(self) -> bool {
        matches!(self, RowFunction::LayerNorm { .. })
    }

    /// What √Σ(x − μ)² of each row must stay below, or √Σx² where it leaves the mean in; None where rows may have any.
    pub fn largest_norm(self, codec: FixedPoint) -> Option<f64> {
        (!self.compares()).then(|| normalise::largest_norm(codec))
    }

    /// Refuses numbers that there is no room for.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for more than 26 fraction bits, and an ε that is not above zero.
    pub fn check(self, codec: FixedPoint) -> Result<(), MpcError> {
        let (f, most) = (codec.fraction_bits(), WORKING - 2);
        if f > most {
            return Err(MpcError::argument(self.name(), format!("{f} fraction bits: at most {most}")));
        }
        match self {
            RowFunction::LayerNorm { eps } | RowFunction::RmsNorm { eps }
                if !(eps.is_normal() && eps > 0.0 && eps < 1.0) =>
            {
                Err(MpcError::argument(self.name(), format!("an ε of {eps}: it must lie between 0 and 1")))
            }
            _ => Ok(()),
        }
    }
}

impl Party {
    /// A function of each row: [`Party::softmax`], [`Party::log_softmax`], [`Party::layer_norm`] or [`Party::rms_norm`], at their cost
    /// and within their ranges and errors.
    ///
    /// # Errors
    /// As these, and as [`RowFunction::check`].
    pub fn of_rows(&mut self, x: &Rep, function: RowFunction) -> Result<Rep, MpcError> {
        function.check(self.codec())?;
        match function {
            RowFunction::Softmax => self.softmax(x),
            RowFunction::LogSoftmax => self.log_softmax(x),
            RowFunction::LayerNorm { eps } => self.layer_norm(x, eps),
            RowFunction::RmsNorm { eps } => self.rms_norm(x, eps),
        }
    }
}
