//! Training in the clear as an experiment: the network, examples, batches, first weights and seeds of a private training, by
//! an engine of choice, with a record of the same shape. Nothing is shared here. Engines of other libraries live in crates
//! that depend on this one, since the core depends on none of them.

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::{Array2, Array4, ArrayView1};

use super::measure::{TrainingStage, median};
use super::record::{LeftRange, PLAINTEXT, Simulated, TrainingRecord};
use super::{Examples, Stated, Training};
use crate::cluster::{Accuracy, DataSource, InTheClear, Iteration};
use crate::experiment::{ExperimentError, PlaintextBackend, commit, machine, now, peak_rss_bytes};
use crate::nn::plaintext::{Arithmetic, PlaintextTraining, Rounding};
use crate::nn::training::{Batches, Train, initial};
use crate::nn::{Graph, Weights};
use crate::ring::Ring;

/// A network in training in the clear, whatever computes it.
pub trait PlaintextEngine: PlaintextBackend {
    /// Fraction bits, where it rounds as a private run does.
    fn fraction_bits(&self) -> Option<u32> {
        None
    }

    /// How it simulates fixed-point numbers, if it does, and what it has cut so far.
    fn simulated(&self) -> Option<(Ring, Simulated)> {
        None
    }

    /// One iteration on a minibatch `[examples, channels, height, width]`; gives the sum of its losses before the step.
    ///
    /// # Errors
    /// Whatever the engine cannot compute.
    fn step(&mut self, images: &Array4<f32>, labels: &[usize], rate: f64) -> Result<f64, ExperimentError>;

    /// On how many of these examples the largest score is the label's, batch normalisation by its running statistics.
    ///
    /// # Errors
    /// Whatever the engine cannot compute.
    fn right(&mut self, images: &Array4<f32>, labels: &[usize]) -> Result<usize, ExperimentError>;
}

/// The core's own engine: [`PlaintextTraining`] in f64, or with the cuts of a private run simulated.
pub struct InF64 {
    training: PlaintextTraining,
    arithmetic: Arithmetic,
    classes: usize,
}

impl InF64 {
    /// A network that begins with these weights.
    ///
    /// # Errors
    /// As [`PlaintextTraining::new`].
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        train: &Train,
        arithmetic: impl Into<Arithmetic>,
    ) -> Result<Self, ExperimentError> {
        let arithmetic = arithmetic.into();
        let training = PlaintextTraining::new(graph, weights, train, arithmetic)?;
        Ok(InF64 { training, arithmetic, classes: graph.output_shape().iter().product() })
    }
}

/// What the engine that computes in f64 with this arithmetic is called: `f64`, `f64, local cuts, gradients of 1`.
pub(super) fn engine_name(arithmetic: &Arithmetic) -> String {
    let cuts = match cut_name(arithmetic.rounding) {
        None => return "f64".to_owned(),
        Some("unbiased") => "cut as privately".to_owned(),
        Some(name) => format!("{name} cuts"),
    };
    let summed = arithmetic.summed.map_or_else(String::new, |summed| format!(", gradients of {summed}"));
    format!("f64, {cuts}{summed}")
}

/// How a rounding is called in records; none where there is none.
fn cut_name(rounding: Rounding) -> Option<&'static str> {
    match rounding {
        Rounding::Exact => None,
        Rounding::Nearest { .. } => Some("nearest"),
        Rounding::Stochastic { .. } => Some("unbiased"),
        Rounding::Local { .. } => Some("local"),
        Rounding::Floor { .. } => Some("floor"),
    }
}

impl PlaintextBackend for InF64 {
    fn name(&self) -> String {
        engine_name(&self.arithmetic)
    }
}

impl PlaintextEngine for InF64 {
    fn fraction_bits(&self) -> Option<u32> {
        self.arithmetic.rounding.fraction_bits()
    }

    fn simulated(&self) -> Option<(Ring, Simulated)> {
        let Arithmetic { rounding, summed, ring } = self.arithmetic;
        let simulated = Simulated { cut: cut_name(rounding)?.to_owned(), summed, counts: self.training.cut() };
        Some((ring.unwrap_or_default(), simulated))
    }

    fn step(&mut self, images: &Array4<f32>, labels: &[usize], rate: f64) -> Result<f64, ExperimentError> {
        let one_hot = |(row, class): (usize, usize)| f64::from(labels.get(row) == Some(&class));
        let targets = Array2::from_shape_fn((labels.len(), self.classes), one_hot).into_dyn();
        Ok(self.training.step(&images.mapv(f64::from).into_dyn(), &targets, rate)?)
    }

    fn right(&mut self, images: &Array4<f32>, labels: &[usize]) -> Result<usize, ExperimentError> {
        let scores = self.training.evaluate(&images.mapv(f64::from).into_dyn())?;
        let is_right = |(scores, &label): (ArrayView1<'_, f64>, &usize)| {
            // As in private, where several are the largest, any of them counts.
            scores.get(label).is_some_and(|own| scores.iter().all(|score| score <= own))
        };
        let rows = scores.to_shape((labels.len(), self.classes)).map_err(|_| wrong_shape(scores.shape()))?;
        Ok(rows.rows().into_iter().zip(labels).filter(|row| is_right((row.0, row.1))).count())
    }
}

fn wrong_shape(shape: &[usize]) -> ExperimentError {
    ExperimentError::Engine(format!("its scores have shape {shape:?} and not [examples, classes]"))
}

/// Trains what `declaration` says in the clear, by the engine that `begin` makes of network, first weights and settings, and
/// gives its record: with seconds, losses (at every iteration where the declaration reveals none) and accuracies, and
/// nothing of parties and links. `observe` gets each iteration. Where a loss cannot be one, the run ends, and the record says at
/// which iteration ([`left_range`](TrainingRecord::left_range)); it is of those before.
///
/// # Errors
/// What is wrong with the declaration; examples that cannot be read; the engine's errors; a first loss that cannot be one.
pub fn measure_plaintext<E: PlaintextEngine>(
    declaration: &Training,
    begin: impl FnOnce(&Graph, &Weights, &Train) -> Result<E, ExperimentError>,
    observe: &mut dyn FnMut(TrainingStage<'_>),
) -> Result<TrainingRecord, ExperimentError> {
    declaration.validate()?;
    observe(TrainingStage::Setup);
    let (graph, train) = (declaration.graph()?, &declaration.train);
    let start = Instant::now();
    let weights = match &declaration.weights {
        Some(source) => source.open(&graph)?.weights,
        None => initial(&graph, train.seed, train.initial),
    };
    let mut engine = begin(&graph, &weights, train)?;
    let setup_seconds = start.elapsed().as_secs_f64();
    let data = declaration.source(&graph).in_the_clear()?;
    let held_out = declaration.held_out().map(|set| DataSource::from(set).in_the_clear()).transpose()?;
    declaration.check_batch(data.len())?;
    let batches = Batches::new(data.len(), train)?;
    let every = train.reveal.loss_every.unwrap_or(1).max(1);
    let (mut iterations, mut left, begun) = (vec![], None, Instant::now());
    for batch in batches.from(0) {
        // In the order in which the parties share them.
        let mut rows = batch.rows;
        rows.sort_unstable();
        let (images, labels) = data.batch(&rows)?;
        let start = Instant::now();
        let loss = engine.step(&images, &labels, train.rate(batch.epoch))?;
        let seconds = start.elapsed().as_secs_f64();
        let mean = loss / rows.len() as f64;
        if !train.loss.can_be(mean) {
            let loss = if mean.is_finite() { mean } else { f64::MAX };
            left = Some(LeftRange { iteration: batch.iteration, loss, of: batches.iterations() });
            break;
        }
        let accuracy = match &held_out {
            Some(test) if batches.accuracy_is_due(batch.iteration) => Some(accuracy(&mut engine, test, train.batch)?),
            _ => None,
        };
        let loss = (batch.iteration + 1).is_multiple_of(every).then_some(mean);
        let (number, of, epoch, examples) = (batch.iteration, batches.iterations(), batch.epoch, rows.len());
        let (bytes, rounds, restarts) = ([0; 3], 0, 0);
        let iteration = Iteration { number, of, epoch, examples, seconds, bytes, rounds, loss, accuracy, restarts };
        observe(TrainingStage::Iteration(&iteration));
        iterations.push(iteration);
    }
    let total_seconds = begun.elapsed().as_secs_f64();
    let record = record(declaration, &engine, &iterations, (data.len(), setup_seconds, total_seconds))?;
    Ok(TrainingRecord { left_range: left, ..record })
}

fn accuracy(engine: &mut impl PlaintextEngine, test: &InTheClear, batch: usize) -> Result<Accuracy, ExperimentError> {
    let (start, mut right) = (Instant::now(), 0);
    let rows: Vec<usize> = (0..test.len()).collect();
    for rows in rows.chunks(batch.max(1)) {
        let (images, labels) = test.batch(rows)?;
        right += engine.right(&images, &labels)?;
    }
    let wrong = test.len().saturating_sub(right) as u64;
    Ok(Accuracy::of(wrong, test.len(), 0, start.elapsed().as_secs_f64())?)
}

fn record(
    declaration: &Training,
    engine: &impl PlaintextEngine,
    iterations: &[Iteration],
    (examples, setup_seconds, total_seconds): (usize, f64, f64),
) -> Result<TrainingRecord, ExperimentError> {
    let median = median(iterations).ok_or_else(|| ExperimentError::Engine("no iteration was made".to_owned()))?;
    let accuracies = iterations.iter().filter_map(|one| Some((one.number, one.accuracy.as_ref()?.fraction())));
    let accuracies: Vec<(usize, f64)> = accuracies.collect();
    let [device, card] = engine.device();
    let (ring, simulated) = engine.simulated().unzip();
    let ring = ring.unwrap_or_default();
    Ok(TrainingRecord {
        experiment: PLAINTEXT.to_owned(),
        engine: engine.name(),
        network: declaration.network.clone(),
        dataset: declaration.data.to_string(),
        examples,
        batch: declaration.train.batch,
        train: declaration.recorded(examples),
        weights: declaration.weights.as_ref().map_or_else(String::new, ToString::to_string),
        device,
        cards: [card.clone(), card.clone(), card],
        link: "none".to_owned(),
        fidelity: "exact".to_owned(),
        ring,
        fraction_bits: engine.fraction_bits().unwrap_or_default(),
        simulated,
        window: String::new(),
        check_range: "off".to_owned(),
        iterations: iterations.len(),
        seconds: median.seconds,
        bytes_sent: [0; 3],
        rounds: 0,
        steps: vec![],
        seconds_by_pass: BTreeMap::new(),
        total_seconds,
        total_bytes_sent: [0; 3],
        restarts: vec![],
        left_range: None,
        resumed_from: None,
        losses: iterations.iter().filter_map(|one| Some((one.number, one.loss?))).collect(),
        accuracy: accuracies.last().map(|(_, accuracy)| *accuracy),
        accuracies,
        accuracy_seconds: iterations.iter().flat_map(|one| &one.accuracy).map(Accuracy::seconds).sum(),
        tested_on: declaration.held_out().map_or_else(String::new, |set| set.to_string()),
        revealed: vec!["everything: it is trained in the clear".to_owned()],
        stated: Stated::default(),
        peak_rss_bytes: [peak_rss_bytes(), 0, 0],
        setup_seconds,
        setup_bytes_sent: [0; 3],
        parties: "in the clear".to_owned(),
        threads: [engine.threads(); 3],
        randomness: "none".to_owned(),
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    })
}

impl Training {
    /// Where the examples come from, in private and in the clear alike.
    pub(super) fn source(&self, graph: &Graph) -> DataSource {
        match &self.data {
            Examples::Set(set) => DataSource::from(set.clone()),
            Examples::Random => {
                let classes = graph.output_shape().iter().product();
                DataSource::random(graph.input_shape(), classes, self.random_examples())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptgpu_datasets::ImageSet;

    #[test]
    fn with_and_without_cuts_a_record_has_the_shape_of_a_private_one() {
        let mut declaration = Training::of("lenet").unwrap();
        declaration.data = Examples::Set(ImageSet::DigitsTrain);
        (declaration.train.batch, declaration.train.iterations) = (8, Some(2));
        let mut seen = 0;
        let [exact, cut] = [Rounding::Exact, Rounding::Stochastic { fraction_bits: 20, seed: 1 }].map(|rounding| {
            let begin = |graph: &Graph, weights: &Weights, train: &Train| InF64::new(graph, weights, train, rounding);
            let observe = &mut |stage: TrainingStage<'_>| seen += usize::from(stage != TrainingStage::Setup);
            measure_plaintext(&declaration, begin, observe).unwrap()
        });
        assert_eq!((seen, exact.losses.len(), exact.examples), (4, 2, 800));
        assert!(exact.losses.iter().zip(&cut.losses).all(|(a, b)| (a.1 - b.1).abs() < 1e-3), "{exact:?} {cut:?}");
        assert_eq!((exact.fraction_bits, cut.fraction_bits, exact.is_plaintext()), (0, 20, true));
        assert_eq!(serde_json::from_str::<TrainingRecord>(&exact.to_line().unwrap()).unwrap(), exact);
    }
}
