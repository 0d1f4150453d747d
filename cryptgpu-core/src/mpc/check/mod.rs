//! The protocol checker: tries a protocol on three parties in this process and says whether it
//! computes what it should, costs what it claims, and shows a party nothing.
//!
//! - **Values**: random shapes and inputs, the edges of the range among them, against a plaintext
//!   function; all holders of a component must hold the same.
//! - **Costs**: bytes and rounds that the transport counted, against [`Party::declare`], a formula
//!   ([`Check::costs`]), or what the built-in protocols in it state.
//! - **Views**: what each party receives and opens, on four runs: whether it is uniform, byte by byte
//!   and bit by bit; whether its distribution depends on the secret; whether it is the same under
//!   other keys; and whether it is masked only by something that its receiver knows (its shares, its
//!   streams) or by what masked another message to it. Chi-square tests, corrected by Holm's method.
//!
//! What it shows and what it cannot show: `docs/security.md`. It finds missing, reused and known
//! masks; it proves nothing.
//!
//! ```
//! use cryptgpu_core::mpc::check::{Check, elementwise};
//! use cryptgpu_core::mpc::{MpcError, Party, Rep};
//!
//! fn product(p: &mut Party, x: &[Rep]) -> Result<Rep, MpcError> {
//!     p.declare(1, 24 * x[0].len() as u64);
//!     let z = x[0].local_mul(&x[1])?;
//!     p.reshare(z)
//! }
//!
//! let report = Check::new("product", 2).run(product, elementwise(|v| v[0].wrapping_mul(v[1])))?;
//! assert!(report.passed());
//! println!("{report}");
//! # Ok::<(), cryptgpu_core::mpc::check::CheckError>(())
//! ```

mod inputs;
mod report;
mod show;
mod statistics;
mod trial;
mod views;

pub use report::{Costs, Counterexample, Report, Stated, Values};
pub use views::{Finding, Views};

use super::{Cost, MpcError, Party, Recordable, Rep, World};
use inputs::{Source, shape, sizes, values};
use ndarray::{ArrayD, IxDyn};
use std::ops::RangeInclusive;
pub(super) use trial::Observe;
#[cfg(test)]
pub(super) use trial::run as run_trial;

/// A protocol to be checked: what each party runs, on its shares of the inputs.
pub trait Protocol<R, E>: Fn(&mut Party, &[Rep]) -> Result<R, E> + Sync {}
impl<R, E, F: Fn(&mut Party, &[Rep]) -> Result<R, E> + Sync> Protocol<R, E> for F {}

/// Why a check came to no report, or to one that does not pass.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The protocol itself failed.
    #[error("the protocol failed: {0}")]
    Protocol(String),
    /// The parties' outputs do not fit together.
    #[error("the parties' outputs do not fit together: {0}")]
    Output(String),
    /// The check is told something that makes no sense.
    #[error("{0}")]
    Setup(String),
    /// Sharing the inputs failed.
    #[error(transparent)]
    Mpc(#[from] MpcError),
    /// The report does not pass.
    #[error("{0}")]
    Failed(Box<Report>),
}

/// As `Display`: what a notebook or a test shows of an error should be the report, in lines.
impl std::fmt::Debug for CheckError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

type Shapes = dyn Fn(usize) -> Vec<Vec<usize>>;
type Formula = dyn Fn(usize) -> Cost;

/// How to check a protocol. Everything is seeded: the same check gives the same report.
#[must_use]
pub struct Check {
    name: String,
    inputs: usize,
    bits: u32,
    errors: RangeInclusive<i64>,
    shapes: Option<Box<Shapes>>,
    formula: Option<Box<Formula>>,
    revealed: Vec<String>,
    level: f64,
    view_size: usize,
    world: World,
}

/// A plaintext function that looks at one element of each input at a time, as a signed integer.
pub fn elementwise(f: impl Fn(&[i64]) -> i64) -> impl Fn(&[ArrayD<u64>]) -> ArrayD<u64> {
    move |inputs| {
        let Some(first) = inputs.first() else { return ArrayD::zeros(IxDyn(&[0])) };
        let mut columns: Vec<_> = inputs.iter().map(|x| x.iter()).collect();
        let mut row = vec![0i64; inputs.len()];
        first.mapv(|_| {
            for (value, column) in row.iter_mut().zip(&mut columns) {
                *value = column.next().map_or(0, |&word| word as i64);
            }
            f(&row) as u64
        })
    }
}

impl Check {
    /// A check of a protocol of so many inputs, of any ring elements, that should be exact.
    pub fn new(name: &str, inputs: usize) -> Self {
        Check {
            name: name.to_owned(),
            inputs,
            bits: 63,
            errors: 0..=0,
            shapes: None,
            formula: None,
            revealed: vec![],
            level: 1e-6,
            view_size: 12 * crate::ring::BLOCK,
            world: World::seeded(1),
        }
    }

    /// Inputs below 2^`bits` in absolute value, 1 to 63; 63, the whole ring, unless told.
    pub fn bits(self, bits: u32) -> Self {
        Check { bits, ..self }
    }

    /// By how many units results may differ from the plaintext function: 0 to 1 for a truncation.
    pub fn errors(self, errors: RangeInclusive<i64>) -> Self {
        Check { errors, ..self }
    }

    /// The shapes of the inputs when there should be about n elements. Unless told, all have the same,
    /// of one or two axes.
    pub fn shapes(self, shapes: impl Fn(usize) -> Vec<Vec<usize>> + 'static) -> Self {
        Check { shapes: Some(Box::new(shapes)), ..self }
    }

    /// What the protocol costs when the first input has n elements, instead of [`Party::declare`].
    pub fn costs(self, formula: impl Fn(usize) -> Cost + 'static) -> Self {
        Check { formula: Some(Box::new(formula)), ..self }
    }

    /// What is received and opened in a step of this name is the protocol's output, and may be
    /// anything.
    pub fn reveals(mut self, step: &str) -> Self {
        self.revealed.push(step.to_owned());
        self
    }

    /// The chance that a protocol without fault does not pass: 10^−6 unless told.
    pub fn level(self, level: f64) -> Self {
        Check { level, ..self }
    }

    /// About how many elements inputs have in the runs whose views are looked at: 6,144 unless told.
    /// A multiple of 64 for every shared tensor of the protocol: the padding of packed bits is not
    /// uniform.
    pub fn view_size(self, n: usize) -> Self {
        Check { view_size: n, ..self }
    }

    /// The parties' settings, randomness and links, and the seed of everything.
    pub fn world(self, world: &World) -> Self {
        Check { world: world.clone(), ..self }
    }

    /// Checks `protocol` against `plaintext`, which computes the same on ring elements.
    ///
    /// # Errors
    /// [`CheckError::Protocol`] when the protocol fails, [`CheckError::Output`] when the parties'
    /// outputs do not make a value. A report that does not pass is no error: see
    /// [`Report::require`].
    pub fn run<R, E, F>(
        &self,
        protocol: F,
        plaintext: impl Fn(&[ArrayD<u64>]) -> ArrayD<u64>,
    ) -> Result<Report, CheckError>
    where
        F: Protocol<R, E>,
        R: Recordable,
        E: std::fmt::Display,
    {
        if !(1..=63).contains(&self.bits) || self.inputs == 0 {
            let (bits, inputs) = (self.bits, self.inputs);
            return Err(CheckError::Setup(format!("{bits} bits, {inputs} inputs: take 1 to 63 bits, and an input")));
        }
        let mut source = Source::new(self.world.seed);
        let mut report = Report::new(&self.name, self.errors.clone());
        let sizes = sizes(&mut source);
        for (trial, &n) in sizes.iter().enumerate() {
            let vector = shape(&mut source, n);
            let shapes = self.shapes.as_ref().map_or_else(|| vec![vector; self.inputs], |shapes| shapes(n));
            let inputs = |(input, shape): (u32, &Vec<usize>)| values(&mut source, shape, self.bits, input);
            let inputs: Vec<ArrayD<u64>> = (0..).zip(&shapes).map(inputs).collect();
            let world = World { seed: self.world.seed.wrapping_add(trial as u64), ..self.world.clone() };
            let outcome = trial::run(&world, &inputs, &protocol, Observe::No)?;
            report.add_values(&inputs, &outcome.value, &plaintext(&inputs))?;
            let stated = self.formula.as_ref().map(|formula| formula(inputs[0].len()));
            report.add_costs(inputs[0].len(), &outcome, stated, trial + 1 == sizes.len());
        }
        report.views = Some(self.views(&protocol)?);
        Ok(report)
    }

    /// Four runs on secrets that differ as much as they can: nothing (twice, under different keys),
    /// a constant, and random small values.
    fn views<R, E, F>(&self, protocol: &F) -> Result<Views, CheckError>
    where
        F: Protocol<R, E>,
        R: Recordable,
        E: std::fmt::Display,
    {
        let n = self.view_size;
        let shapes = self.shapes.as_ref().map_or_else(|| vec![vec![n]; self.inputs], |shapes| shapes(n));
        let mut source = Source::new(self.world.seed ^ 0x76_69_65_77);
        let constant = (0x5555_5555_5555_5555u64 >> (64 - self.bits)).wrapping_neg();
        let mut run = |secret: u64| {
            let input = |shape: &Vec<usize>| match secret {
                0 | 1 => ArrayD::zeros(IxDyn(shape)),
                2 => ArrayD::from_elem(IxDyn(shape), constant),
                _ => {
                    let words = source.words(shape.iter().product());
                    let small = words.into_iter().map(|word| (word as i64 >> (63 - self.bits / 2)) as u64);
                    ArrayD::from_shape_vec(IxDyn(shape), small.collect()).unwrap_or_default()
                }
            };
            let inputs: Vec<ArrayD<u64>> = shapes.iter().map(input).collect();
            let world = World { seed: self.world.seed.wrapping_add(100 + secret), ..self.world.clone() };
            let views = trial::run(&world, &inputs, protocol, Observe::Yes)?.views;
            views.ok_or_else(|| CheckError::Setup("a run that should observe did not".into()))
        };
        let runs = [run(0)?, run(1)?, run(2)?, run(3)?];
        Ok(views::examine(&runs, &self.revealed, self.level))
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({:?}, {} inputs of {} bits)", self.name, self.inputs, self.bits)
    }
}
