//! What each party does in a micro-benchmark, and the same in the clear.

use std::time::Instant;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::{Micro, Operation, geometry};
use crate::cluster::{Plain, Words};
use crate::device::{DeviceInUse, Tensor};
use crate::experiment::ExperimentError;
use crate::mpc::{MpcError, Operand, Party, Rep, Settings};
use crate::net::{PartyId, Stats};
use crate::prg::{Aes128Ctr, Key, Randomness};

/// Elements of the result that are compared with the result in the clear, from the first on.
const COMPARED: usize = 10_000;

/// What one party has to report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MicroReport {
    /// Seconds of each timed iteration, from shares to shares.
    pub seconds: Vec<f64>,
    /// What was counted before and after the last iteration.
    pub stats: [Stats; 2],
    /// This party's summand, made anew, of the first elements of the last result.
    pub result: Words,
    /// What the party's masks were drawn from.
    pub randomness: Randomness,
    /// Where it computed.
    pub device: String,
    /// The name of its card; empty for the CPU.
    pub card: String,
    /// Threads that it computed on.
    pub threads: usize,
    /// Which truncation ran, fraction bits, and the window of comparisons.
    pub settings: Settings,
}

impl MicroReport {
    /// Fraction bits of its codec.
    pub fn fraction_bits(&self) -> u32 {
        self.settings.codec.fraction_bits()
    }
}

/// Runs `declaration` as one of the three parties: for `cluster.run(run_party, Plain(declaration))`. Party 0 brings the
/// first operand and party 1 the second; sharing them is not timed.
///
/// # Errors
/// A declaration that cannot be run; the link's errors.
pub fn run_party(p: &mut Party, Plain(declaration): Plain<Micro>) -> Result<Plain<MicroReport>, ExperimentError> {
    declaration.validate()?;
    let operation = declaration.operation;
    let x = share(p, operation, 0)?;
    let y = if operation.operands().len() > 1 { share(p, operation, 1)? } else { x.clone() };
    let device = DeviceInUse::of(p.device())?;
    let mut report = MicroReport {
        seconds: Vec::with_capacity(declaration.iterations),
        stats: [p.stats(), p.stats()],
        result: Words::default(),
        randomness: p.randomness(),
        device: device.device.to_string(),
        card: device.card,
        threads: rayon::current_num_threads(),
        settings: *p.settings(),
    };
    for iteration in 0..=declaration.iterations {
        let (start, before) = (Instant::now(), p.stats());
        let result = p.step("operation", |p| once(p, operation, &x, &y))?;
        // A card computes after its call returns; its words are here when it has.
        let compared = result.reshape(&[result.len()])?.narrow(0..result.len().min(COMPARED))?;
        compared.components().0.view().to_host()?;
        if iteration > 0 {
            report.seconds.push(start.elapsed().as_secs_f64());
        }
        report.stats = [before, p.stats()];
        report.result = Words(p.fresh_summand(&compared)?.into_host()?);
    }
    Ok(Plain(report))
}

/// Shares operand `index`, which the party of that number brings.
fn share(p: &mut Party, operation: Operation, index: usize) -> Result<Rep, ExperimentError> {
    let (owner, shape) = (PartyId::ALL[index], operation.operands().swap_remove(index));
    let mine = if p.id() == owner {
        let values = ArrayD::from_shape_vec(shape.as_slice(), values(operation, index));
        let words = values
            .map_err(|error| refused(index, &error))
            .and_then(|values| p.codec().encode_array(&values).map_err(|error| refused(index, &error)))?;
        Some(Tensor::from_array_in(p.ring(), p.device(), &words))
    } else {
        None
    };
    Ok(p.step("input", |p| p.input(owner, mine.as_ref(), &shape))?)
}

fn refused(index: usize, error: &dyn std::fmt::Display) -> ExperimentError {
    ExperimentError::Declaration { field: "operand", value: index.to_string(), hint: error.to_string() }
}

/// The operation; ReLU has no second operand.
fn once(p: &mut Party, operation: Operation, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
    match operation {
        Operation::Matmul { .. } => p.matmul(x, y),
        Operation::Convolution { side, inputs, outputs, kernel } => {
            p.conv2d(x, &Operand::new(p.id(), y.clone()), &geometry(side, inputs, outputs, kernel), None)
        }
        Operation::Relu { .. } => p.relu(x),
    }
}

/// Operand `index`: uniform in ±1, the same in every run.
fn values(operation: Operation, index: usize) -> Vec<f64> {
    let mut words = vec![0; operation.operands()[index].iter().product()];
    Aes128Ctr::new(&Key::from_bytes([0; 16])).fill(index as u64, 0, &mut words);
    words.into_iter().map(|word| (word >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

/// The first elements of the result in the clear, as many as are compared.
pub(super) fn in_the_clear(operation: Operation) -> Vec<f64> {
    let count = (operation.outputs() as usize).min(COMPARED);
    let x = values(operation, 0);
    match operation {
        Operation::Relu { .. } => x.into_iter().take(count).map(|x| x.max(0.0)).collect(),
        Operation::Matmul { k, n, .. } => {
            let y = values(operation, 1);
            let element = |at: usize| (0..k).map(|j| x[at / n * k + j] * y[j * n + at % n]).sum();
            (0..count).map(element).collect()
        }
        Operation::Convolution { side, inputs, kernel, .. } => {
            let (w, out) = (values(operation, 1), side + 1 - kernel);
            let element = |at: usize| {
                let (channel, row, column) = (at / (out * out), at / out % out, at % out);
                let tap = |tap: usize| {
                    let (c, i, j) = (tap / (kernel * kernel), tap / kernel % kernel, tap % kernel);
                    let weight = w[channel * inputs * kernel * kernel + tap];
                    weight * x[(c * side + row + i) * side + column + j]
                };
                (0..inputs * kernel * kernel).map(tap).sum()
            };
            (0..count).map(element).collect()
        }
    }
}
