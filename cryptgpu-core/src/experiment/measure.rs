//! Measurement of a declaration, which gives a record: runs the parties, puts their shares of the results together,
//! compares with the plaintext evaluation, and sums up what was counted.

use ndarray::{ArrayD, IxDyn};

use super::inference::{ImageSource, WEIGHTS_OWNER};
use super::party::PartyReport;
use super::{ExperimentError, Inference, Parties, Record, available_memory_bytes, commit, machine, now};
use crate::device::Devices;
use crate::net::PartyId;
use crate::nn::WeightSource;
use crate::nn::{Graph, Weights, lower, plaintext, predictions, range};

/// How far a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The weights are being shared.
    Setup,
    /// Evaluations done, and of how many; one goes before those that are timed.
    Private(usize, usize),
    /// Batches compared with the plaintext evaluation, and of how many.
    Plaintext(usize, usize),
}

/// Runs `declaration` and gives its record. `observe` gets how far it is.
///
/// # Errors
/// What is wrong with the declaration, before anything starts; a machine with too little memory; then
/// whatever ends the run at a party.
pub fn measure(
    declaration: &Inference,
    parties: &mut Parties,
    observe: &mut dyn FnMut(Stage),
) -> Result<Record, ExperimentError> {
    declaration.validate()?;
    let graph = declaration.graph()?;
    check_memory(declaration, &graph, parties.here())?;
    check_range(declaration, &graph)?;
    observe(Stage::Setup);
    let all = declaration.iterations + 1;
    let reports = parties.run(declaration, &mut |done| observe(Stage::Private(done, all)))?;
    let results = results(declaration, &graph, &reports)?;
    let verdict = compare(declaration, &graph, &results, observe)?;
    record(declaration, parties.describe().to_owned(), &reports, &verdict)
}

/// Refuses a run that would not fit, so that nothing is killed on the way.
fn check_memory(declaration: &Inference, graph: &Graph, here: &[PartyId]) -> Result<(), ExperimentError> {
    let plan = lower::lower(&crate::nn::fold::fold_graph(graph)?, declaration.lowering(), declaration.ring)?;
    let needed =
        |party: &PartyId| plan.memory(declaration.batch, declaration.check_range, *party == WEIGHTS_OWNER).total();
    fits(&declaration.network, declaration.batch, here.iter().map(needed))
}

/// Refuses parties that take so many bytes each where this machine, on which they run, has less.
pub(super) fn fits(
    network: &str,
    batch: usize,
    parties: impl Iterator<Item = u64> + Clone,
) -> Result<(), ExperimentError> {
    let available = available_memory_bytes();
    if available == 0 || parties.clone().fold(0, u64::saturating_add) <= available {
        return Ok(());
    }
    let (here, needed) = (parties.clone().count(), parties.max().unwrap_or(0) >> 20);
    Err(ExperimentError::Memory { network: network.to_owned(), batch, needed, here, available: available >> 20 })
}

/// Refuses weights that leave the ring on the first image, in plaintext, so that no private run is made whose result
/// says nothing. Random weights are made to fit; and where nothing is to be compared with plaintext, this is not either.
fn check_range(declaration: &Inference, graph: &Graph) -> Result<(), ExperimentError> {
    if declaration.compare == 0 || matches!(declaration.weights, WeightSource::Random(_)) {
        return Ok(());
    }
    let (weights, images) = (declaration.load_weights(graph)?, declaration.open_images(graph)?);
    within_range(declaration, graph, &weights, &images.batch(0, 1)?)
}

/// Whether plaintext evaluation stays within the ring on these images; the error names the layer and its headroom.
fn within_range(
    declaration: &Inference,
    graph: &Graph,
    weights: &Weights,
    images: &ArrayD<f64>,
) -> Result<(), ExperimentError> {
    // What the bound leaves open, the owner of the weights says when it loads them.
    range::check(graph, weights, Some(images.view()), &declaration.conditions()?)?;
    Ok(())
}

/// The result of each iteration, [batch, classes]: the sum of the parties' components, decoded.
fn results(
    declaration: &Inference,
    graph: &Graph,
    reports: &[PartyReport; 3],
) -> Result<Vec<ArrayD<f64>>, ExperimentError> {
    let codec = declaration.settings()?.codec;
    let shape = [&[declaration.batch][..], graph.output_shape()].concat();
    let [p0, p1, p2] = reports;
    if [p0, p1, p2].iter().any(|report| report.iterations.len() != declaration.iterations) {
        return Err(ExperimentError::Reports("they differ in the number of iterations".to_owned()));
    }
    let iterations = p0.iterations.iter().zip(&p1.iterations).zip(&p2.iterations);
    let result = iterations.map(|((r0, r1), r2)| {
        let words = r0.result.0.iter().zip(&r1.result.0).zip(&r2.result.0);
        let values = words.map(|((a, b), c)| codec.decode(a.wrapping_add(*b).wrapping_add(*c))).collect();
        ArrayD::from_shape_vec(IxDyn(&shape), values)
            .map_err(|error| ExperimentError::Reports(format!("a result is not of shape {shape:?}: {error}")))
    });
    result.collect()
}

/// A difference from plaintext beyond which the cause is looked for. Rounding alone exceeds it with few fraction bits,
/// which is no error.
const SUSPICIOUS: f64 = 0.5;

/// What became of the predictions.
#[derive(Debug, Default)]
struct Verdict {
    max_abs_error: Option<f64>,
    images: usize,
    /// Images compared with plaintext, on how many predictions agree, and how many plaintext gets right.
    compared: usize,
    agreement: usize,
    plaintext_right: usize,
    /// Images with labels, and how many of those are right.
    labelled: usize,
    right: usize,
}

fn compare(
    declaration: &Inference,
    graph: &Graph,
    results: &[ArrayD<f64>],
    observe: &mut dyn FnMut(Stage),
) -> Result<Verdict, ExperimentError> {
    let images = declaration.open_images(graph)?;
    // Random weights guess: their accuracy would say nothing.
    let trained = !matches!(declaration.weights, WeightSource::Random(_));
    let batches = results.len().min(declaration.compare.div_ceil(declaration.batch));
    let weights = if batches > 0 { Some(declaration.load_weights(graph)?) } else { None };
    let mut verdict = Verdict { images: results.len() * declaration.batch, ..Verdict::default() };
    for (index, result) in results.iter().enumerate() {
        let labels = if trained { images.labels(index, declaration.batch)? } else { None };
        let private = predictions(result);
        let right = |predicted: &[usize]| matches(predicted, labels);
        verdict.labelled += labels.map_or(0, <[u8]>::len);
        verdict.right += right(&private);
        if let Some(weights) = weights.as_ref().filter(|_| index < batches) {
            let batch = batch(&images, index, declaration)?;
            let expected = plaintext::evaluate(graph, weights, &batch.view())?;
            let error = result.iter().zip(&expected).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()));
            if error > SUSPICIOUS {
                // No right run can have this result if the values leave the ring.
                within_range(declaration, graph, weights, &batch)?;
            }
            verdict.max_abs_error = Some(verdict.max_abs_error.map_or(error, |worst| worst.max(error)));
            let expected = predictions(&expected);
            verdict.compared += expected.len();
            verdict.agreement += private.iter().zip(&expected).filter(|(a, b)| a == b).count();
            verdict.plaintext_right += right(&expected);
            observe(Stage::Plaintext(index + 1, batches));
        }
    }
    Ok(verdict)
}

fn batch(images: &ImageSource, index: usize, declaration: &Inference) -> Result<ArrayD<f64>, ExperimentError> {
    images.batch(index, declaration.batch)
}

fn matches(predicted: &[usize], labels: Option<&[u8]>) -> usize {
    let pairs = predicted.iter().zip(labels.unwrap_or_default());
    pairs.filter(|(predicted, label)| **predicted == usize::from(**label)).count()
}

fn record(
    declaration: &Inference,
    parties: String,
    reports: &[PartyReport; 3],
    verdict: &Verdict,
) -> Result<Record, ExperimentError> {
    let median = median_iteration(reports).ok_or_else(|| ExperimentError::Reports("they are empty".to_owned()))?;
    let slowest = slowest(reports, median).ok_or_else(|| ExperimentError::Reports("they are empty".to_owned()))?;
    let [randomness, others @ ..] = reports.each_ref().map(|report| report.randomness);
    if others != [randomness; 2] {
        return Err(ExperimentError::Reports("they differ in what masks were drawn from".to_owned()));
    }
    let at = |report: &PartyReport| report.iterations.get(median).map(|iteration| iteration.stats);
    let stats = reports.each_ref().map(|report| at(report).unwrap_or_default());
    let depth =
        |when: usize| stats.iter().filter_map(|stats| stats.get(when)).map(|stats| stats.rounds).max().unwrap_or(0);
    let fraction = |right: usize, all: usize| (all > 0).then(|| right as f64 / all as f64);
    let all_compared = verdict.compared == verdict.images && verdict.labelled == verdict.images;
    Ok(Record {
        experiment: "inference".to_owned(),
        engine: String::new(),
        network: declaration.network.clone(),
        dataset: declaration.images.to_string(),
        dataset_sha256: declaration.images_digest()?,
        batch: declaration.batch,
        device: Devices::from(reports.each_ref().map(|report| report.device.device)).to_string(),
        cards: reports.each_ref().map(|report| report.device.card.clone()),
        link: declaration.link.to_string(),
        fidelity: declaration.fidelity.to_string(),
        ring: declaration.ring,
        fraction_bits: declaration.fraction_bits,
        window: super::window::text(declaration.window),
        check_range: declaration.check_range.to_string(),
        iterations: declaration.iterations,
        seconds: slowest.seconds,
        seconds_by_kind: slowest.seconds_by_kind.clone().into_map(),
        bytes_sent: stats.map(|[before, after]| after.since(&before).payload_bytes()),
        rounds: depth(1).saturating_sub(depth(0)),
        max_abs_error: verdict.max_abs_error,
        images: verdict.images,
        compared: verdict.compared,
        agreement: (verdict.compared > 0).then_some(verdict.agreement),
        accuracy: fraction(verdict.right, verdict.labelled),
        plaintext_accuracy: if all_compared { fraction(verdict.plaintext_right, verdict.compared) } else { None },
        peak_rss_bytes: reports.each_ref().map(|report| report.peak_rss_bytes),
        weights: declaration.weights.to_string(),
        weights_sha256: declaration.weights_digest()?,
        setup_seconds: reports.iter().map(|report| report.setup_seconds).fold(0.0, f64::max),
        setup_bytes_sent: reports.each_ref().map(|report| report.setup.stats.payload_bytes()),
        setup_peak_rss_bytes: reports.each_ref().map(|report| report.setup.peak_rss_bytes),
        parties,
        threads: reports.each_ref().map(|report| report.threads),
        randomness: randomness.to_string(),
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    })
}

/// The iteration of the median time (of two in the middle, the lower one). An iteration takes as long as its slowest
/// party.
fn median_iteration(reports: &[PartyReport; 3]) -> Option<usize> {
    let count = reports.iter().map(|report| report.iterations.len()).min()?;
    let mut order: Vec<usize> = (0..count).collect();
    let seconds = |iteration: usize| slowest(reports, iteration).map_or(0.0, |report| report.seconds);
    order.sort_by(|&a, &b| seconds(a).total_cmp(&seconds(b)));
    order.get(count.saturating_sub(1) / 2).copied()
}

/// The report of the party that took longest in an iteration.
fn slowest(reports: &[PartyReport; 3], iteration: usize) -> Option<&super::party::IterationReport> {
    let of_all = reports.iter().filter_map(|report| report.iterations.get(iteration));
    of_all.max_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, Words};
    use crate::device::{Device, DeviceInUse};
    use crate::mpc::Fidelity;
    use crate::prg::Randomness;

    fn threads() -> Parties {
        Parties::new(Cluster::in_memory())
    }

    fn lenet(iterations: usize, batch: usize) -> Inference {
        Inference { iterations, batch, ..Inference::of("lenet").unwrap() }
    }

    #[test]
    fn private_lenet_reads_real_digits_as_plaintext_does() {
        let mut stages = Vec::new();
        let record = measure(&lenet(5, 20), &mut threads(), &mut |stage| stages.push(stage)).unwrap();
        assert_eq!((record.images, record.compared, record.agreement), (100, 100, Some(100)));
        assert_eq!(record.accuracy, record.plaintext_accuracy);
        assert!(record.accuracy.unwrap() >= 0.98, "{record:?}");
        assert!(record.max_abs_error.unwrap() < 1e-3, "{record:?}");
        assert!(record.seconds > 0.0 && record.rounds > 0 && record.total_bytes() > 0);
        assert!(["conv2d", "relu", "linear", "input"].iter().all(|kind| record.seconds_by_kind.contains_key(*kind)));
        assert_eq!((stages[0], stages.last()), (Stage::Setup, Some(&Stage::Plaintext(5, 5))));
        assert!(stages.contains(&Stage::Private(6, 6)), "{stages:?}");
    }

    #[test]
    fn bytes_do_not_depend_on_the_images_and_stay_below_the_papers() {
        let first = measure(&lenet(1, 1), &mut threads(), &mut |_| {}).unwrap();
        let other = Inference { images: super::super::Images::Random(9), ..lenet(2, 1) };
        let other = measure(&other, &mut threads(), &mut |_| {}).unwrap();
        assert_eq!((first.bytes_sent, first.rounds), (other.bytes_sent, other.rounds));
        assert_eq!((other.accuracy, other.plaintext_accuracy), (None, None));
        let untrained = Inference { weights: super::super::WeightSource::Random(1), ..lenet(1, 1) };
        assert_eq!(
            measure(&untrained, &mut threads(), &mut |_| {}).unwrap().accuracy,
            None,
            "guesses have no accuracy"
        );
        let row = &super::super::inference_table(&[first]).unwrap()[0];
        assert!(row.bytes_fraction.unwrap() < 0.42, "{row:?}");
    }

    /// Weights that leave the ring give no record, whether the first image shows it or a later one.
    #[test]
    fn results_that_no_right_run_can_have_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let lenet = lenet(20, 1);
        let graph = lenet.graph().unwrap();
        let mut weights = Weights::new();
        for (name, tensor) in lenet.load_weights(&graph).unwrap().iter() {
            weights.insert(name, tensor * 30.0);
        }
        let file = dir.path().join("scale30.safetensors");
        weights.save(&file).unwrap();
        let scaled = Inference { weights: WeightSource::File(file.into()), ..lenet };
        let error = measure(&scaled, &mut threads(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ExperimentError::Nn(crate::nn::NnError::Range { .. })), "{error}");
        assert!(error.to_string().contains("fc2") && error.to_string().contains("bits"), "{error}");
        let wrong = vec![ArrayD::from_elem(vec![1, 10], 1e6); 20];
        let error = compare(&scaled, &graph, &wrong, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("fc2"), "{error}");
    }

    #[test]
    fn the_papers_truncation_is_recorded_as_such() {
        let paper = Inference { fidelity: Fidelity::Paper, ..lenet(1, 1) };
        assert_eq!(measure(&paper, &mut threads(), &mut |_| {}).unwrap().fidelity, "paper");
    }

    #[test]
    fn the_record_says_what_masks_were_really_drawn_from() {
        let declared = Inference { randomness: Randomness::InsecurePhilox, ..lenet(1, 1) };
        let insecure = measure(&declared, &mut threads(), &mut |_| {}).unwrap();
        // As of parties that were started with something else than is declared.
        let reports = threads().run(&lenet(1, 1), &mut |_| {}).unwrap();
        let graph = declared.graph().unwrap();
        let results = results(&declared, &graph, &reports).unwrap();
        let verdict = compare(&declared, &graph, &results, &mut |_| {}).unwrap();
        let secure = record(&declared, String::new(), &reports, &verdict).unwrap();
        assert_eq!((insecure.randomness.as_str(), secure.randomness.as_str()), ("insecure-philox", "aes128-ctr"));
        assert_eq!((insecure.is_insecure(), secure.is_insecure()), (true, false));
        assert_eq!((insecure.bytes_sent, insecure.rounds), (secure.bytes_sent, secure.rounds));
        assert_eq!((insecure.agreement, secure.agreement), (Some(1), Some(1)));
    }

    #[test]
    fn an_error_at_one_party_is_the_error_of_the_run() {
        // Only the owner of the weights reads the file, and it is not there.
        let file = WeightSource::File("no/such.safetensors".into());
        let error = threads().run(&Inference { weights: file, ..lenet(1, 1) }, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("no/such.safetensors"), "{error}");
    }

    #[test]
    fn sharing_the_weights_is_counted_apart_and_parties_stay_for_the_next_run() {
        let mut parties = threads();
        let first = measure(&lenet(2, 1), &mut parties, &mut |_| {}).unwrap();
        let second = measure(&lenet(2, 1), &mut parties, &mut |_| {}).unwrap();
        assert_eq!(first.setup_bytes_sent, [0, 8 * 431_080, 0]);
        assert_eq!((first.bytes_sent, first.setup_bytes_sent), (second.bytes_sent, second.setup_bytes_sent));
        let coarse = measure(&Inference { fraction_bits: 12, ..lenet(2, 1) }, &mut parties, &mut |_| {}).unwrap();
        assert_eq!((coarse.fraction_bits, coarse.agreement), (12, Some(2)));
    }

    #[test]
    fn the_median_is_of_the_slowest_parties() {
        let report = |seconds: &[f64]| PartyReport {
            device: DeviceInUse::of(Device::Cpu).unwrap(),
            setup_seconds: 0.0,
            setup: Default::default(),
            iterations: seconds
                .iter()
                .map(|&seconds| super::super::party::IterationReport {
                    seconds,
                    seconds_by_kind: Default::default(),
                    stats: Default::default(),
                    result: Words::default(),
                })
                .collect(),
            peak_rss_bytes: 0,
            threads: 1,
            randomness: Default::default(),
        };
        let reports = [report(&[1.0, 9.0, 3.0]), report(&[5.0, 1.0, 1.0]), report(&[1.0, 1.0, 4.0])];
        let median = median_iteration(&reports).unwrap();
        assert_eq!((median, slowest(&reports, median).unwrap().seconds), (0, 5.0));
    }
}
