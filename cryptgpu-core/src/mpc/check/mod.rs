//! The protocol checker: tries a protocol on three parties in this process and says whether it
//! computes what it should, costs what it claims, and shows a party nothing.
//!
//! - **Values**: random shapes and inputs, the edges of the range among them, against a plaintext
//!   function; all holders of a component must hold the same.
//! - **Costs**: bytes and rounds that the transport counted, against [`Party::declare`], a formula
//!   ([`Check::costs`]), or what the built-in protocols in it state.
//! - **Views**: what each party is sent. Everything that the party has stays fixed, its components of the inputs, its
//!   keys, the coins of all; only the key that it lacks varies from run to run. On secrets that differ only in what it
//!   lacks, all of it must be alike: how often each bit is set, the affine space over GF(2) that the bits span, the
//!   sizes and kinds of messages. Exact tests of two samples, corrected by Holm's method.
//!
//! What it shows and what it cannot show: `docs/security.md`. It finds missing, narrow, reused and known masks on the
//! secrets and sizes that it tries; it proves nothing.
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

mod columns;
mod distinguish;
mod inputs;
#[cfg(test)]
mod relations;
mod report;
mod sample;
mod show;
mod span;
mod statistics;
mod trial;
mod views;

pub use report::{Costs, Counterexample, Report, Stated, Values};
pub use views::{Finding, Together, ViewSize, Views};

use super::{Cost, MpcError, Party, Recordable, Rep, World};
use crate::ring::Ring;
use inputs::{Source, shape, sizes, values};
use ndarray::{ArrayD, IxDyn};
use std::ops::RangeInclusive;
#[cfg(test)]
pub(super) use {relations::tells, trial::run as run_trial};

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
    /// The check was set up with something that makes no sense.
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
    /// The whole ring where nothing is said.
    bits: Option<u32>,
    errors: RangeInclusive<i64>,
    shapes: Option<Box<Shapes>>,
    formula: Option<Box<Formula>>,
    revealed: Vec<String>,
    level: f64,
    view_sizes: Vec<usize>,
    world: World,
}

/// Numbers of elements on which views are looked at: two on which all messages of most protocols can be tested together,
/// and a block of packed bits with a whole word and one element behind it.
const VIEW_SIZES: [usize; 3] = [1, 3, 577];

/// A plaintext function that looks at one element of each input at a time, as a signed integer. Its result is taken modulo the size of
/// the ring.
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
            bits: None,
            errors: 0..=0,
            shapes: None,
            formula: None,
            revealed: vec![],
            level: 1e-6,
            view_sizes: VIEW_SIZES.to_vec(),
            world: World::seeded(1),
        }
    }

    /// Inputs below 2^`bits` in absolute value, 1 to 63, or 31 in the ring of 32 bits; the whole ring by default.
    pub fn bits(self, bits: u32) -> Self {
        Check { bits: Some(bits), ..self }
    }

    /// The ring of the world's settings.
    fn ring(&self) -> Ring {
        self.world.settings.codec.ring()
    }

    fn input_bits(&self) -> u32 {
        self.bits.unwrap_or(self.ring().bits() - 1)
    }

    /// By how many units results may differ from the plaintext function: 0 to 1 for a truncation.
    pub fn errors(self, errors: RangeInclusive<i64>) -> Self {
        Check { errors, ..self }
    }

    /// The shapes of the inputs when there should be about n elements. By default all have the same,
    /// of one or two axes.
    pub fn shapes(self, shapes: impl Fn(usize) -> Vec<Vec<usize>> + 'static) -> Self {
        Check { shapes: Some(Box::new(shapes)), ..self }
    }

    /// What the protocol costs when the first input has n elements, instead of [`Party::declare`].
    pub fn costs(self, formula: impl Fn(usize) -> Cost + 'static) -> Self {
        Check { formula: Some(Box::new(formula)), ..self }
    }

    /// What is sent in the step of this path (`layer/result` for a step within another) is the protocol's output. A
    /// party may learn its output and nothing else: where secrets are found on which the outputs are equal, these are
    /// compared, messages of the step among the rest. Where none are found, what is sent in the step is not tested, and
    /// the report names it.
    pub fn reveals(mut self, path: &str) -> Self {
        self.revealed.push(path.to_owned());
        self
    }

    /// The chance that a protocol without fault does not pass: 10^−6 by default.
    pub fn level(self, level: f64) -> Self {
        Check { level, ..self }
    }

    /// About how many elements inputs have in the runs whose views are looked at: 1, 3 and 577 by default. All that a
    /// party is sent is tested together where not more than 800 different bits of it vary, so let one be small.
    pub fn view_sizes(self, sizes: &[usize]) -> Self {
        Check { view_sizes: sizes.to_vec(), ..self }
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
        self.makes_sense()?;
        let mut source = Source::new(self.world.seed);
        let mut report = Report::new(&self.name, self.errors.clone());
        let sizes = sizes(&mut source);
        for (trial, &n) in sizes.iter().enumerate() {
            let vector = shape(&mut source, n);
            let shapes = self.shapes.as_ref().map_or_else(|| vec![vector; self.inputs], |shapes| shapes(n));
            let inputs =
                |(input, shape): (u32, &Vec<usize>)| values(&mut source, shape, self.input_bits(), input, self.ring());
            let inputs: Vec<ArrayD<u64>> = (0..).zip(&shapes).map(inputs).collect();
            let world = World { seed: self.world.seed.wrapping_add(trial as u64), ..self.world.clone() };
            let outcome = trial::run(&world, &inputs, &protocol)?;
            report.add_values(self.ring(), &inputs, &outcome.value, &plaintext(&inputs))?;
            let stated = self.formula.as_ref().map(|formula| formula(inputs[0].len()));
            report.add_costs(inputs[0].len(), &outcome, stated, trial + 1 == sizes.len());
        }
        report.views = Some(self.views(protocol)?);
        Ok(report)
    }

    fn makes_sense(&self) -> Result<(), CheckError> {
        let (bits, inputs, most) = (self.input_bits(), self.inputs, self.ring().bits() - 1);
        if !(1..=most).contains(&bits) || inputs == 0 {
            return Err(CheckError::Setup(format!(
                "{bits} bits, {inputs} inputs: take 1 to {most} bits, and an input"
            )));
        }
        Ok(())
    }

    /// What every party is sent, on several sizes and secrets, and nothing else: for what is too large to be computed
    /// in plaintext as well, such as a network. Part of [`Check::run`].
    ///
    /// # Errors
    /// [`CheckError::Setup`] where [`Check::reveals`] names a step that sends nothing. Leaks are no error: see
    /// [`Views::passed`].
    pub fn views<R, E, F: Protocol<R, E>>(&self, protocol: F) -> Result<Views, CheckError> {
        self.makes_sense()?;
        let alike = |n: usize| vec![vec![n]; self.inputs];
        let shapes: &dyn Fn(usize) -> Vec<Vec<usize>> = self.shapes.as_ref().map_or(&alike, |shapes| &**shapes);
        let (world, bits, level) = (&self.world, self.input_bits(), self.level);
        let plan = views::Plan { world, shapes, bits, sizes: &self.view_sizes, revealed: &self.revealed, level };
        plan.look(&protocol)
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({:?}, {} inputs of {} bits)", self.name, self.inputs, self.input_bits())
    }
}
