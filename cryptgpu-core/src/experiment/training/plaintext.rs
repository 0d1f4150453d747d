//! Training in the clear as an experiment: the network, examples, batches, first weights and seeds of a private training, by
//! an engine of choice, with a record of the same shape. Nothing is shared here. Engines of other libraries live in crates
//! that depend on this one, since the core depends on none of them.

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::{Array2, Array4, ArrayView1};

use super::measure::{TrainingStage, median};
use super::record::{PLAINTEXT, TrainingRecord};
use super::{Examples, Stated, Training};
use crate::cluster::{Accuracy, DataSource, InTheClear, Iteration};
use crate::experiment::{ExperimentError, PlaintextBackend, commit, machine, now, peak_rss_bytes};
use crate::nn::plaintext::{PlaintextTraining, Rounding};
use crate::nn::training::{Batches, Train, initial};
use crate::nn::{Graph, Weights};
use crate::ring::Ring;

/// A network in training in the clear, whatever computes it.
pub trait PlaintextEngine: PlaintextBackend {
    /// Fraction bits, where it rounds as a private run does.
    fn fraction_bits(&self) -> Option<u32> {
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
    rounding: Rounding,
    classes: usize,
}

impl InF64 {
    /// A network that begins with these weights.
    ///
    /// # Errors
    /// As [`PlaintextTraining::new`].
    pub fn new(graph: &Graph, weights: &Weights, train: &Train, rounding: Rounding) -> Result<Self, ExperimentError> {
        let training = PlaintextTraining::new(graph, weights, train, rounding)?;
        Ok(InF64 { training, rounding, classes: graph.output_shape().iter().product() })
    }
}

impl PlaintextBackend for InF64 {
    fn name(&self) -> String {
        match self.rounding {
            Rounding::Exact => "f64".to_owned(),
            Rounding::Nearest { .. } => "f64, cut to the nearest".to_owned(),
            Rounding::Stochastic { .. } => "f64, cut as privately".to_owned(),
        }
    }
}

impl PlaintextEngine for InF64 {
    fn fraction_bits(&self) -> Option<u32> {
        self.rounding.fraction_bits()
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
/// nothing of parties and links. `observe` gets each iteration.
///
/// # Errors
/// What is wrong with the declaration; examples that cannot be read; the engine's errors.
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
    let batches = Batches::new(data.len(), train)?;
    let every = train.reveal.loss_every.unwrap_or(1).max(1);
    let (mut iterations, begun) = (vec![], Instant::now());
    for batch in batches.from(0) {
        // In the order in which the parties share them.
        let mut rows = batch.rows;
        rows.sort_unstable();
        let (images, labels) = data.batch(&rows)?;
        let start = Instant::now();
        let loss = engine.step(&images, &labels, train.rate(batch.epoch))?;
        let seconds = start.elapsed().as_secs_f64();
        let accuracy = match &held_out {
            Some(test) if batches.accuracy_is_due(batch.iteration) => Some(accuracy(&mut engine, test, train.batch)?),
            _ => None,
        };
        let loss = (batch.iteration + 1).is_multiple_of(every).then(|| loss / rows.len() as f64);
        let (number, of, epoch, examples) = (batch.iteration, batches.iterations(), batch.epoch, rows.len());
        let (bytes, rounds, restarts) = ([0; 3], 0, 0);
        let iteration = Iteration { number, of, epoch, examples, seconds, bytes, rounds, loss, accuracy, restarts };
        observe(TrainingStage::Iteration(&iteration));
        iterations.push(iteration);
    }
    let total_seconds = begun.elapsed().as_secs_f64();
    record(declaration, &engine, &iterations, (data.len(), setup_seconds, total_seconds))
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
    Ok(TrainingRecord {
        experiment: PLAINTEXT.to_owned(),
        engine: engine.name(),
        network: declaration.network.clone(),
        dataset: declaration.data.to_string(),
        examples,
        batch: declaration.train.batch,
        train: declaration.train.clone(),
        weights: declaration.weights.as_ref().map_or_else(String::new, ToString::to_string),
        device,
        cards: [card.clone(), card.clone(), card],
        link: "none".to_owned(),
        fidelity: "exact".to_owned(),
        ring: Ring::default(),
        fraction_bits: engine.fraction_bits().unwrap_or_default(),
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
