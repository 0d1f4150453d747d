//! Inference in the clear as an experiment: the network, images, batches and weights of a private one, by an engine of choice,
//! with a record of the same shape. Nothing is shared here. Engines of other libraries live in crates that depend on this
//! one, since the core depends on none of them.

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::ArrayD;

use super::{ExperimentError, Inference, Record, commit, machine, now, peak_rss_bytes};
use crate::nn::{Graph, WeightSource, Weights, plaintext, predictions};

/// What the records of inference in the clear are called; they have the shape of those of private inference.
pub const INFERENCE_PLAINTEXT: &str = "inference_plaintext";

/// What computes in the clear, as records say it.
pub trait PlaintextBackend {
    /// What computes, as records say it: `f64`, `candle 0.11, f32`.
    fn name(&self) -> String;

    /// Threads that it computes on.
    fn threads(&self) -> usize {
        1
    }

    /// The device that it computes on, as records say it, and a card's name.
    fn device(&self) -> [String; 2] {
        ["cpu".to_owned(), String::new()]
    }
}

/// A network with its weights in the clear, whatever computes it.
pub trait PlaintextNetwork: PlaintextBackend {
    /// The results of images, `[batch, channels, height, width]`, as `[batch, …]`.
    ///
    /// # Errors
    /// Whatever the engine cannot compute.
    fn scores(&mut self, images: &ArrayD<f64>) -> Result<ArrayD<f64>, ExperimentError>;
}

/// The core's own: [`plaintext::evaluate`], the reference in f64 that private results are compared with.
pub struct ReferenceNetwork {
    graph: Graph,
    weights: Weights,
}

impl ReferenceNetwork {
    /// The network with these weights.
    pub fn new(graph: &Graph, weights: &Weights) -> Self {
        ReferenceNetwork { graph: graph.clone(), weights: weights.clone() }
    }
}

impl PlaintextBackend for ReferenceNetwork {
    fn name(&self) -> String {
        "f64".to_owned()
    }
}

impl PlaintextNetwork for ReferenceNetwork {
    fn scores(&mut self, images: &ArrayD<f64>) -> Result<ArrayD<f64>, ExperimentError> {
        Ok(plaintext::evaluate(&self.graph, &self.weights, &images.view())?)
    }
}

/// Evaluates what `declaration` says in the clear, by the engine that `begin` makes of network and weights, and gives its
/// record, with seconds and accuracy, and nothing of parties and links. One evaluation goes before those that are timed;
/// `observe` gets how many of how many are done.
///
/// # Errors
/// What is wrong with the declaration; images or weights that cannot be read; the engine's errors.
pub fn measure_inference_plaintext<E: PlaintextNetwork>(
    declaration: &Inference,
    begin: impl FnOnce(&Graph, &Weights) -> Result<E, ExperimentError>,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Record, ExperimentError> {
    declaration.validate()?;
    let graph = declaration.graph()?;
    let start = Instant::now();
    let mut network = begin(&graph, &declaration.load_weights(&graph)?)?;
    let setup_seconds = start.elapsed().as_secs_f64();
    let images = declaration.open_images(&graph)?;
    // Random weights guess: their accuracy would say nothing.
    let trained = !matches!(declaration.weights, WeightSource::Random(_));
    let (mut seconds, mut labelled, mut right) = (vec![], 0, 0);
    network.scores(&images.batch(0, declaration.batch)?)?;
    for index in 0..declaration.iterations {
        let batch = images.batch(index, declaration.batch)?;
        let start = Instant::now();
        let scores = network.scores(&batch)?;
        seconds.push(start.elapsed().as_secs_f64());
        if let Some(labels) = images.labels(index, declaration.batch)?.filter(|_| trained) {
            labelled += labels.len();
            right += predictions(&scores).iter().zip(labels).filter(|(a, b)| **a == usize::from(**b)).count();
        }
        observe(index + 1, declaration.iterations);
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    record(declaration, &network, (median, setup_seconds), (right, labelled))
}

fn record(
    declaration: &Inference,
    network: &impl PlaintextNetwork,
    (seconds, setup_seconds): (f64, f64),
    (right, labelled): (usize, usize),
) -> Result<Record, ExperimentError> {
    let accuracy = (labelled > 0).then(|| right as f64 / labelled as f64);
    let [device, card] = network.device();
    Ok(Record {
        experiment: INFERENCE_PLAINTEXT.to_owned(),
        engine: network.name(),
        network: declaration.network.clone(),
        dataset: declaration.images.to_string(),
        dataset_sha256: declaration.images_digest()?,
        batch: declaration.batch,
        device,
        cards: [card.clone(), card.clone(), card],
        link: "none".to_owned(),
        fidelity: "exact".to_owned(),
        ring: crate::ring::Ring::Z64,
        fraction_bits: 0,
        // It has no comparisons; a record of private inference without a window is an older one.
        window: "none".to_owned(),
        check_range: "off".to_owned(),
        iterations: declaration.iterations,
        seconds,
        seconds_by_kind: BTreeMap::new(),
        bytes_sent: [0; 3],
        rounds: 0,
        max_abs_error: None,
        images: declaration.iterations.saturating_mul(declaration.batch),
        compared: 0,
        agreement: None,
        accuracy,
        plaintext_accuracy: accuracy,
        peak_rss_bytes: [peak_rss_bytes(), 0, 0],
        weights: declaration.weights.to_string(),
        weights_sha256: declaration.weights_digest()?,
        setup_seconds,
        setup_bytes_sent: [0; 3],
        setup_peak_rss_bytes: [0; 3],
        parties: "in the clear".to_owned(),
        threads: [network.threads(); 3],
        randomness: "none".to_owned(),
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::inference_table;

    #[test]
    fn lenet_reads_digits_in_the_clear_and_stands_in_the_table() {
        let lenet = Inference { batch: 20, iterations: 2, ..Inference::of("lenet").unwrap() };
        let begin = |graph: &Graph, weights: &Weights| Ok(ReferenceNetwork::new(graph, weights));
        let record = measure_inference_plaintext(&lenet, begin, &mut |_, _| {}).unwrap();
        assert!(record.accuracy.unwrap() > 0.95 && record.seconds > 0.0 && record.images == 40, "{record:?}");
        let row = &inference_table(std::slice::from_ref(&record)).unwrap()[0];
        assert_eq!((row.label().as_str(), row.citations().count()), ("lenet (1 thread, in the clear, f64)", 0));
        assert_eq!(serde_json::from_str::<Record>(&record.to_line().unwrap()).unwrap(), record);
    }
}
