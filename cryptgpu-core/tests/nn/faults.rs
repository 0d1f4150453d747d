//! Every message of a private LeNet inference lost, cut, changed, repeated, overtaken, oversized
//! or followed by its sender's end: always a typed error at some party, within the deadline, and
//! never a wrong result, a hang or a panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::World;
use cryptgpu_core::net::{GaveUp, Interceptor, Message, NetError, Options, PartyId, Recorder, Verdict};
use cryptgpu_core::nn::{Graph, NnError, Op, SharedModel, Weights, private, zoo};
use ndarray::ArrayD;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Long enough for an honest step on a busy machine, short enough to wait for it many times.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Runs at a time; with a message that is lost, nearly all of the time is waiting.
fn workers(fault: Fault) -> usize {
    if fault == Fault::Lost { 24 } else { 6 }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Lost,
    Cut,
    Changed,
    Repeated,
    Overtaken,
    Oversized,
}

/// One message, by sender, receiver and how many went that way before.
type Place = (PartyId, PartyId, u64);

fn strike(message: &mut Message, fault: Fault) -> Verdict {
    match fault {
        Fault::Lost => return Verdict::Drop,
        Fault::Repeated => return Verdict::Duplicate,
        Fault::Overtaken => return Verdict::Overtaken,
        Fault::Cut => message.words.truncate(message.words.len() / 2),
        Fault::Changed => message.words[0] ^= 1 << 17,
        Fault::Oversized => message.words.extend(std::iter::repeat_n(7, 100_000)),
    }
    Verdict::Pass
}

struct Lenet {
    graph: Graph,
    weights: Weights,
    image: ArrayD<f64>,
}

impl Lenet {
    /// LeNet with fewer channels: it sends the same messages, as many and in the same order, and most of the time of a run
    /// would be spent on sharing 431,080 weights.
    fn new() -> Self {
        Self::of(small_lenet().unwrap())
    }

    fn of(graph: Graph) -> Self {
        let weights = Weights::seeded(&graph, 1);
        Lenet { graph, weights, image: ArrayD::from_elem(vec![1, 1, 28, 28], 0.25) }
    }

    /// The opened scores at each party, with `interceptor` in the links.
    fn run(&self, interceptor: Interceptor, deadline: Duration) -> [Result<ArrayD<u64>, NnError>; 3] {
        let mut world = World::seeded(3);
        world.options = Options { deadline, ..Options::default() };
        world.interceptor = Some(interceptor);
        let [zero, one, _] = PartyId::ALL;
        world.run(|p| {
            let weights = (p.id() == one).then(|| self.weights.clone());
            let image = (p.id() == zero).then(|| self.image.view());
            let model = SharedModel::share(p, &self.graph, one, weights, Default::default())?;
            let x = private::share_images(p, &self.graph, zero, image, 1)?;
            let y = model.infer(p, x)?;
            Ok(p.open(&y)?.to_array().unwrap())
        })
    }
}

fn small_lenet() -> Result<Graph, NnError> {
    let mut net = Graph::builder("small-lenet", [1, 28, 28]);
    let (five, two) = (PoolGeometry::square(5, 1, 0), PoolGeometry::square(2, 2, 0));
    let mut x = net.input();
    for (stage, channels) in [(1, 5), (2, 25)] {
        x = net.conv(&format!("conv{stage}"), x, channels, five)?;
        x = net.relu(&format!("relu{stage}"), x)?;
        x = net.add(&format!("pool{stage}"), Op::AvgPool { window: two }, &[x])?;
    }
    x = net.flatten("flatten", x)?;
    x = net.linear("fc1", x, 50)?;
    x = net.relu("relu3", x)?;
    x = net.linear("fc2", x, 10)?;
    net.finish(x)
}

fn hit(place: Place, fault: Fault) -> (Interceptor, Arc<AtomicBool>) {
    let struck = Arc::new(AtomicBool::new(false));
    let flag = struck.clone();
    let interceptor = Interceptor::new(move |message| {
        if (message.from, message.to, message.sequence) != place {
            return Verdict::Pass;
        }
        flag.store(true, Ordering::Relaxed);
        strike(message, fault)
    });
    (interceptor, struck)
}

/// Every place of an undisturbed run, and its result.
fn places(lenet: &Lenet) -> (Vec<Place>, ArrayD<u64>) {
    let recorder = Recorder::default();
    let [result, ..] = lenet.run(recorder.interceptor(), Duration::from_secs(30));
    let mut counts = std::collections::HashMap::<_, u64>::new();
    let places = recorder.messages().into_iter().map(|m| {
        let count = counts.entry((m.from, m.to)).or_default();
        *count += 1;
        (m.from, m.to, *count - 1)
    });
    (places.collect(), result.unwrap())
}

fn net_error(error: &NnError) -> Option<&NetError> {
    match error {
        NnError::Mpc(cryptgpu_core::mpc::MpcError::Net(error)) => Some(error),
        _ => None,
    }
}

/// Strikes every place with `fault`, several at a time (most of the time is waiting), and counts
/// the runs in which some party reported an error.
fn strike_everywhere(fault: Fault) -> (usize, usize) {
    let lenet = Lenet::new();
    let (places, expected) = places(&lenet);
    assert!(places.len() > 100, "{} messages", places.len());
    let errors = std::thread::scope(|scope| {
        let (lenet, expected, places) = (&lenet, &expected, &places);
        let workers = workers(fault);
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mine = places.iter().skip(worker).step_by(workers);
                    mine.map(|&place| check(lenet, place, fault, expected)).sum::<usize>()
                })
            })
            .collect();
        running.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    (errors, places.len())
}

#[test]
fn fewer_channels_send_the_same_messages() {
    let messages = |lenet: Lenet| {
        let recorder = Recorder::default();
        assert!(lenet.run(recorder.interceptor(), Duration::from_secs(30)).iter().all(Result::is_ok));
        let mut messages: Vec<_> = recorder.messages().into_iter().map(|m| (m.from, m.to, m.tag.kind)).collect();
        // In the order of each direction.
        messages.sort_by_key(|(from, to, _)| (*from, *to));
        messages
    };
    assert_eq!(messages(Lenet::new()), messages(Lenet::of(zoo::by_name("lenet").unwrap())));
}

#[test]
fn every_message_of_lenet_cut_changed_or_oversized() {
    for fault in [Fault::Cut, Fault::Changed, Fault::Oversized] {
        let (errors, places) = strike_everywhere(fault);
        assert_eq!(errors, places, "{fault:?}");
    }
}

#[test]
fn every_message_of_lenet_repeated_or_overtaken() {
    for fault in [Fault::Repeated, Fault::Overtaken] {
        let (errors, places) = strike_everywhere(fault);
        // The last message of a direction may come twice, for nobody looks any more.
        assert!(errors >= places - 6, "{fault:?}: {errors} errors at {places} places");
    }
}

#[test]
fn every_message_of_lenet_lost_is_a_deadline_that_names_the_step() {
    let (errors, places) = strike_everywhere(Fault::Lost);
    assert_eq!(errors, places);
}

/// 1 if some party reported an error; 0 if the fault did no harm, and then the result is right.
fn check(lenet: &Lenet, place: Place, fault: Fault, expected: &ArrayD<u64>) -> usize {
    let (interceptor, struck) = hit(place, fault);
    let start = Instant::now();
    let results = lenet.run(interceptor, DEADLINE);
    assert!(start.elapsed() < 4 * DEADLINE, "{fault:?} at {place:?} took {:?}", start.elapsed());
    assert!(struck.load(Ordering::Relaxed), "{fault:?} at {place:?} did not happen");
    let mut errors = 0;
    for result in &results {
        match result {
            // A repeated last message is one too many for nobody, and a last one cannot be overtaken.
            Ok(scores) => assert_eq!(scores, expected, "{fault:?} at {place:?} gave a wrong result"),
            Err(error) => {
                let error = net_error(error).unwrap_or_else(|| panic!("{fault:?} at {place:?}: {error}"));
                errors += 1;
                if let NetError::Deadline { step, .. } | NetError::BadFrame { step, .. } = error {
                    assert!(!step.is_empty());
                }
            }
        }
    }
    errors.min(1)
}

#[test]
fn a_party_that_ends_early_ends_the_others() {
    let lenet = Lenet::new();
    let mut world = World::seeded(3);
    world.options = Options { deadline: Duration::from_secs(20), ..Options::default() };
    let [zero, one, two] = PartyId::ALL;
    let start = Instant::now();
    let results = world.run(|p| -> Result<(), NnError> {
        let weights = (p.id() == one).then(|| lenet.weights.clone());
        let image = (p.id() == zero).then(|| lenet.image.view());
        let model = SharedModel::share(p, &lenet.graph, one, weights, Default::default())?;
        let x = private::share_images(p, &lenet.graph, zero, image, 1)?;
        if p.id() == two {
            p.abort(GaveUp::Ended);
            return Ok(());
        }
        model.infer(p, x).map(drop)
    });
    assert!(start.elapsed() < Duration::from_secs(10), "nobody waits for the deadline");
    for party in [0, 1] {
        let error = results[party].as_ref().unwrap_err().to_string();
        assert!(error.contains("closed"), "{error}");
    }
}
