//! Timelines and traces: exact sums, whatever runs; steps within steps; bounds; both ends of every message.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Trio, all_kinds};
use cryptgpu_core::net::{
    Direction, MAX_CALLS, MAX_STEPS, MAX_TRANSFERS, MORE_STEPS, NO_STEP, Network, Options, PartyId, Stats, Tag,
    Timeline, Trace, memory,
};
use proptest::prelude::*;
use std::time::Duration;

const TAG: Tag = Tag { position: 3, kind: 9 };

/// Runs `body` at all parties and takes what each recorded, with what its transport counted.
fn run(parties: &Trio, body: impl Fn(&dyn Network) + Sync) -> ([Timeline; 3], [Stats; 3]) {
    let before = parties.each_ref().map(|party| (party.endpoint().stats(), drop(party.endpoint().take_timeline())).0);
    std::thread::scope(|scope| {
        parties.each_ref().map(|party| scope.spawn(|| body(party.as_ref()))).map(|thread| thread.join().unwrap())
    });
    let index = |id: PartyId| id.index();
    let stats = parties.each_ref().map(|party| party.endpoint().stats().since(&before[index(party.id())]));
    (parties.each_ref().map(|party| party.endpoint().take_timeline()), stats)
}

/// One round of all parties.
fn round(net: &dyn Network, words: usize) {
    let peers = [net.id().next(), net.id().prev()];
    peers.iter().for_each(|&peer| net.send(peer, TAG, vec![1; words]).unwrap());
    peers.iter().for_each(|&peer| drop(net.recv(peer, TAG, words).unwrap()));
}

/// A message of party `from` to the next.
fn pass(net: &dyn Network, from: usize, words: usize) {
    let from = PartyId::ALL[from];
    if net.id() == from {
        net.send(from.next(), TAG, vec![1; words]).unwrap();
    }
    if net.id() == from.next() {
        net.recv(from, TAG, words).unwrap();
    }
}

fn check_sums(timelines: &[Timeline; 3], stats: &[Stats; 3]) {
    for (timeline, stats) in timelines.iter().zip(stats) {
        assert_eq!(timeline.totals(), *stats, "party {}", timeline.party);
        let wall: u64 = timeline.steps.iter().map(|step| step.wall_nanos).sum();
        assert_eq!(wall, timeline.end_nanos - timeline.begin_nanos, "all time belongs to some step");
        assert!(timeline.steps.iter().all(|step| step.wait_nanos <= step.wall_nanos));
    }
    let (trace, mut sum) = (Trace::new(timelines.clone()), [Stats::default(); 3]);
    let total = trace.total();
    let outermost = |path: &str| !path.contains('/');
    for step in trace.steps().iter().filter(|step| outermost(&step.path)) {
        for (party, counted) in step.parties.iter().enumerate() {
            sum[party].rounds += counted.rounds;
            sum[party].wait_nanos += counted.wait_nanos;
            sum[party].to.iter_mut().zip(&counted.sent).for_each(|(sum, link)| *sum += *link);
        }
    }
    for (party, stats) in stats.iter().enumerate() {
        assert_eq!(sum[party].to, stats.to, "the outermost steps have everything");
        assert_eq!(total.parties[party].sent, stats.to);
        assert_eq!((total.parties[party].rounds, total.parties[party].wait_nanos), (stats.rounds, stats.wait_nanos));
        assert!(sum[party].rounds <= stats.rounds && sum[party].wait_nanos <= stats.wait_nanos);
    }
    assert_eq!(total.rounds, trace.steps().iter().filter(|s| outermost(&s.path)).map(|s| s.rounds).sum::<u64>());
}

#[test]
fn sums_are_what_the_transport_counted() {
    for (name, parties) in all_kinds(&Options::default()) {
        let (timelines, stats) = run(&parties, |net| {
            round(net, 3);
            net.endpoint().set_step("a");
            round(net, 5);
            net.endpoint().set_step("a/b");
            pass(net, 1, 7);
            net.endpoint().set_step("a");
            pass(net, 2, 1);
            net.endpoint().set_step(NO_STEP);
            net.endpoint().set_step("c/d");
            round(net, 100);
            net.endpoint().set_step("a/b");
            round(net, 2);
            net.endpoint().set_step(NO_STEP);
        });
        check_sums(&timelines, &stats);
        let trace = Trace::new(timelines);
        let steps: Vec<_> = trace.steps().iter().map(|s| (s.path.clone(), s.calls(), s.rounds, s.bytes())).collect();
        let expected = [("a", 2, 4, 8 * (30 + 7 + 1 + 12)), ("a/b", 2, 2, 8 * (7 + 12)), ("c", 1, 1, 4800)];
        let expected = expected.into_iter().chain([("c/d", 1, 1, 4800), (NO_STEP, 1, 1, 144)]);
        assert_eq!(steps, expected.map(|(p, c, r, b)| (p.to_owned(), c, r, b)).collect::<Vec<_>>(), "{name}");
        assert_eq!(trace.total().rounds, 6, "{name}");
        let step = trace.step("a/b").unwrap();
        assert_eq!((step.name(), step.depth(), step.messages()), ("b", 1, 7));
        assert_eq!(step.link(PartyId::P1, PartyId::P2).payload_bytes, 8 * (7 + 2));
        let children = step.compute_seconds() + step.wait_seconds();
        assert!((children - step.seconds()).abs() < 1e-9, "{name}");
    }
}

/// What a party of a random program does next, the same at all parties.
#[derive(Clone, Debug)]
enum Op {
    Step(&'static str),
    Round(usize),
    Pass(usize, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let step = prop::sample::select(vec![NO_STEP, "a", "a/b", "a/bb", "a/b/c", "ab", "ab/b", "d/e/f", "a/b/cc"]);
    let op = prop_oneof![
        2 => step.prop_map(Op::Step),
        1 => (0..5usize).prop_map(Op::Round),
        3 => (0..3usize, 0..5usize).prop_map(|(from, words)| Op::Pass(from, words)),
    ];
    prop::collection::vec(op, 0..60)
}

proptest! {
    #[test]
    fn any_program_adds_up(program in ops()) {
        let parties = memory::trio(Options::default()).map(|net| std::sync::Arc::new(net) as _);
        let (timelines, stats) = run(&parties, |net| program.iter().for_each(|op| match op {
            Op::Step(path) => net.endpoint().set_step(path),
            Op::Round(words) => round(net, *words),
            Op::Pass(from, words) => pass(net, *from, *words),
        }));
        check_sums(&timelines, &stats);
        let trace = Trace::new(timelines);
        // Every step stands right below those around it.
        let paths: Vec<_> = trace.steps().into_iter().map(|step| step.path).filter(|path| path != NO_STEP).collect();
        for (at, path) in paths.iter().enumerate() {
            if let Some((outer, _)) = path.rsplit_once('/') {
                let above = paths[..at].iter().rposition(|other| other == outer).unwrap();
                let siblings = &paths[above + 1..at];
                prop_assert!(siblings.iter().all(|other| other.starts_with(&format!("{outer}/"))), "{paths:?}");
            }
        }
        // All that was sent was received, within the same trace, after it was sent.
        let messages = trace.messages();
        prop_assert_eq!(messages.len() as u64, trace.total().messages());
        prop_assert_eq!(messages.iter().map(|message| message.bytes).sum::<u64>(), trace.total().bytes());
        for message in &messages {
            let receipt = message.receipt.as_ref().unwrap();
            prop_assert!(receipt.at_nanos >= message.sent_nanos && receipt.step == message.step);
        }
        prop_assert!(messages.iter().map(|message| message.round).max().unwrap_or(0) <= trace.total().rounds);
    }
}

#[test]
fn a_party_that_lags_does_not_add_rounds_to_a_step() {
    let parties = memory::trio(Options::default()).map(|net| std::sync::Arc::new(net) as _);
    let (timelines, _) = run(&parties, |net| {
        net.endpoint().set_step("chain");
        pass(net, 0, 1);
        pass(net, 1, 1);
        // Parties 0, 1, 2 have 0, 1 and 2 rounds behind them now.
        net.endpoint().set_step("round");
        round(net, 1);
    });
    let trace = Trace::new(timelines);
    let step = trace.step("round").unwrap();
    assert_eq!(step.parties.map(|party| party.rounds), [3, 2, 0], "each party's own");
    assert_eq!((trace.step("chain").unwrap().rounds, step.rounds, trace.total().rounds), (2, 1, 3));
}

#[test]
fn waiting_is_counted_where_it_happens() {
    const PAUSE: Duration = Duration::from_millis(40);
    for (name, parties) in all_kinds(&Options::default()) {
        let (timelines, _) = run(&parties, |net| {
            net.endpoint().set_step("slow");
            if net.id().index() == 0 {
                std::thread::sleep(PAUSE);
            }
            pass(net, 0, 1);
            net.endpoint().set_step("done");
        });
        let trace = Trace::new(timelines);
        let slow = trace.step("slow").unwrap();
        let pause = PAUSE.as_nanos() as u64;
        assert!(slow.parties[0].compute_nanos() >= pause && slow.parties[0].wait_nanos == 0, "{name}: {slow:?}");
        // Party 1's thread may have started a little later than party 0's.
        assert!(slow.parties[1].wait_nanos >= pause / 2, "{name}: {slow:?}");
        assert_eq!(trace.step("done").unwrap().parties.map(|party| party.wait_nanos), [0; 3], "{name}");
        let message = &trace.messages()[0];
        assert!(message.receipt.as_ref().unwrap().waited_nanos >= pause / 2, "{name}");
        assert!(trace.seconds() >= PAUSE.as_secs_f64());
    }
}

#[test]
fn a_timeline_ends_where_the_next_begins_within_the_same_step() {
    let [p0, p1, _p2] = memory::trio(Options::default());
    drop((p0.endpoint().take_timeline(), p1.endpoint().take_timeline()));
    p0.endpoint().set_step("a/b");
    p0.send(p1.id(), TAG, vec![1]).unwrap();
    let first = p0.endpoint().take_timeline();
    p0.send(p1.id(), TAG, vec![1; 2]).unwrap();
    let second = p0.endpoint().take_timeline();
    assert!(first.end_nanos <= second.begin_nanos);
    for (timeline, bytes, sequence) in [(&first, 8, 0), (&second, 16, 1)] {
        let paths: Vec<_> = timeline.steps.iter().map(|step| (step.path.as_str(), step.calls)).collect();
        assert_eq!(paths, [(NO_STEP, 1), ("a", 1), ("a/b", 1)]);
        assert_eq!((timeline.calls.len(), timeline.transfers.len()), (2, 1));
        assert!(timeline.calls.iter().all(|call| call.end_nanos == timeline.end_nanos));
        let transfer = timeline.transfers[0];
        assert_eq!((transfer.bytes, transfer.sequence, transfer.direction), (bytes, sequence, Direction::Sent));
        assert_eq!(timeline.step_of(&transfer), "a/b");
        assert_eq!(postcard::from_bytes::<Timeline>(&postcard::to_stdvec(timeline).unwrap()).unwrap(), *timeline);
    }
}

#[test]
fn beyond_the_bounds_sums_stay_exact_and_the_trace_says_what_is_missing() {
    let parties = memory::trio(Options::default()).map(|net| std::sync::Arc::new(net) as _);
    let steps = MAX_STEPS + 10;
    let rounds = MAX_CALLS / steps + 1;
    let (timelines, stats) = run(&parties, |net| {
        for _ in 0..rounds {
            for step in 0..steps {
                net.endpoint().set_step(&format!("s{step}"));
                pass(net, 0, 1);
                net.endpoint().set_step(NO_STEP);
            }
        }
    });
    check_sums(&timelines, &stats);
    let calls = (steps * rounds) as u64;
    for timeline in &timelines {
        assert_eq!((timeline.steps.len(), timeline.calls.len()), (MAX_STEPS + 1, MAX_CALLS));
        assert_eq!(timeline.omitted_calls, calls - MAX_CALLS as u64);
        assert!(timeline.is_cut());
    }
    let kept = calls.min(MAX_TRANSFERS as u64);
    assert_eq!(timelines[0].transfers.len() as u64, kept);
    assert_eq!(timelines[0].omitted_transfers, calls - kept);
    let trace = Trace::new(timelines);
    assert_eq!(trace.omitted(), 3 * (calls - MAX_CALLS as u64) + 2 * (calls - kept));
    assert_eq!(trace.total().messages(), calls);
    assert_eq!(trace.step("s7").unwrap().messages(), rounds as u64);
    let more = trace.step(MORE_STEPS).unwrap();
    assert_eq!((more.messages(), more.calls()), ((11 * rounds) as u64, (11 * rounds) as u64));
}

/// As if `timeline` came from another host, whose clock is ahead by `nanos`.
fn on_another_host(timeline: &Timeline, nanos: u64) -> Timeline {
    let mut other = timeline.clone();
    other.clock = !other.clock;
    other.begin_nanos += nanos;
    other.end_nanos += nanos;
    other.calls.iter_mut().for_each(|call| (call.begin_nanos += nanos, call.end_nanos += nanos).0);
    other.transfers.iter_mut().for_each(|transfer| transfer.at_nanos += nanos);
    other
}

#[test]
fn clocks_of_other_hosts_are_shifted_by_the_fastest_messages() {
    let parties = memory::trio(Options::default()).map(|net| std::sync::Arc::new(net) as _);
    let (timelines, _) = run(&parties, |net| (0..50).for_each(|_| round(net, 1)));
    let here = Trace::new(timelines.clone());
    assert_eq!(here.timelines(), &timelines, "on one host nothing is shifted");
    const HOUR: u64 = 3_600_000_000_000;
    let [t0, t1, t2] = &timelines;
    let apart = Trace::new([t0.clone(), on_another_host(t1, HOUR), on_another_host(t2, 5 * HOUR)]);
    for (shifted, own) in apart.timelines().iter().zip(&timelines) {
        let error = shifted.begin_nanos.abs_diff(own.begin_nanos);
        // By no more than the fastest message takes, which is far less than all of them take.
        assert!(error <= here.total().parties[0].wall_nanos, "{error}");
    }
    // With a party that exchanged nothing, there is nothing better than to let both begin at once.
    let [quiet, _, other] = memory::trio(Options::default()).map(|net| net.endpoint().take_timeline());
    let begin = quiet.begin_nanos;
    let trace = Trace::new([quiet.clone(), quiet, on_another_host(&other, HOUR)]);
    assert_eq!(trace.timelines()[2].begin_nanos, begin);
}

#[test]
fn traces_are_compared_step_by_step() {
    let trace = |program: fn(&dyn Network)| {
        let parties = memory::trio(Options::default()).map(|net| std::sync::Arc::new(net) as _);
        Trace::new(run(&parties, program).0)
    };
    let one = trace(|net| {
        net.endpoint().set_step("both");
        (0..3).for_each(|_| round(net, 4));
        net.endpoint().set_step("only one");
        round(net, 1);
    });
    let two = trace(|net| {
        net.endpoint().set_step("both");
        round(net, 6);
        net.endpoint().set_step("only two");
    });
    let comparison = one.compare(&two);
    let paths: Vec<_> = comparison.steps.iter().map(|step| step.path.as_str()).collect();
    assert_eq!(paths, ["both", "only one", "only two"]);
    let [both, only_one, only_two] = &comparison.steps[..] else { panic!() };
    let (bytes, rounds) = (|f: &cryptgpu_core::net::Figures| f.bytes as f64, |f: &_| rounds_of(f));
    assert_eq!((both.ratio(bytes), both.difference(bytes)), (Some(2.0), 288.0));
    assert_eq!((both.ratio(rounds), both.difference(rounds)), (Some(3.0), 2.0));
    assert_eq!((only_one.other, only_one.ratio(bytes), only_one.difference(bytes)), (None, None, 48.0));
    assert_eq!((only_two.this, only_two.difference(bytes)), (None, 0.0));
    assert_eq!(comparison.total.difference(rounds), 3.0);
    let same = one.compare(&one);
    assert!(same.steps.iter().all(|step| step.this == step.other && step.ratio(|f| f.seconds) == Some(1.0)));
}

fn rounds_of(figures: &cryptgpu_core::net::Figures) -> f64 {
    figures.rounds as f64
}
