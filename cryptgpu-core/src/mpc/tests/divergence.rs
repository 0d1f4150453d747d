//! Parties whose programs have diverged: no message is masked with a stream that masks another one, and what is sent until
//! they notice does not depend on what its receiver lacks.

use super::samples;
use crate::mpc::check::tells;
use crate::mpc::{Fidelity, MpcError, Party, Rep, World};
use crate::net::{Options, PartyId};
use ndarray::Array1;
use std::collections::HashSet;
use std::sync::Barrier;
use std::time::Duration;

type Protocol = fn(&mut Party, &Rep) -> Result<(), MpcError>;

/// Parties that wait for a message that will never come give up soon: with some pairs of programs, all three wait in each
/// of some hundred runs. One that gives up too early because the machine is busy has sent less, and nothing fails by that.
const SOON: Duration = Duration::from_millis(15);

/// Odd, so that roles have parts of different sizes.
const N: usize = 700;

fn protocols() -> Vec<(&'static str, Protocol)> {
    vec![
        ("input", |p, x| {
            let value = (p.id() == PartyId::P1).then(|| x.components().0.clone());
            p.input(PartyId::P1, value.as_ref(), x.shape()).map(drop)
        }),
        ("open", |p, x| p.open(x).map(drop)),
        ("open to one", |p, x| p.open_to(PartyId::P1, x).map(drop)),
        ("product, no truncation", |p, x| p.mul_no_trunc(x, x).map(drop)),
        ("and", |p, x| {
            let bits = x.component_bits(p.id(), PartyId::P0);
            p.reshare(bits.local_and(&bits)?).map(drop)
        }),
        ("product", |p, x| p.mul(x, x).map(drop)),
        ("truncation", |p, x| p.truncate(x, 20).map(drop)),
        ("truncation by another length", |p, x| p.truncate(x, 19).map(drop)),
        ("truncation of the paper", |p, x| {
            let settings = *p.settings();
            p.set_settings(crate::mpc::Settings { fidelity: Fidelity::Paper, ..settings });
            p.truncate(x, 20).map(drop)
        }),
        ("sign", |p, x| p.sign(x).map(drop)),
        ("sign of fewer elements", |p, x| p.sign(&x.narrow(0..x.len() - 1)?).map(drop)),
        ("bit product", |p, x| {
            let bits = x.component_bits(p.id(), PartyId::P0).bit(0)?;
            p.bit_product(&bits, x).map(drop)
        }),
        ("bits to ring", |p, x| {
            let bits = x.component_bits(p.id(), PartyId::P0).bit(0)?;
            p.bits_to_ring(&bits).map(drop)
        }),
        ("ReLU", |p, x| p.relu(x).map(drop)),
    ]
}

/// Runs `protocols` by party, the one at `ahead` after so many nonces by hand, and gives the addresses of all streams
/// that each party could draw from, and whether the run ended well.
fn run(protocols: [Protocol; 3], ahead: (usize, usize), deadline: Duration) -> ([Vec<u64>; 3], bool) {
    let world = World { options: Options { deadline, ..Options::default() }, ..World::seeded(1) };
    let x = world.deal(&Array1::from_vec(samples(N, 1)));
    let parties = world.run(|p| {
        let me = p.id().index();
        p.prg.keep_addresses();
        if me == ahead.0 {
            (0..ahead.1).for_each(|_| drop(p.nonces::<1>()));
        }
        let result = protocols[me](p, &x[me]);
        (p.prg.addresses().to_vec(), result.is_ok())
    });
    let ended_well = parties.iter().all(|(_, ok)| *ok);
    (parties.map(|(addresses, _)| addresses), ended_well)
}

fn share_no_address(what: &str, addresses: [Vec<u64>; 3], odd: usize, prefix_allowed: bool) {
    let all: HashSet<u64> = addresses[odd].iter().copied().collect();
    assert_eq!(all.len(), addresses[odd].len(), "{what}: an address twice at party {odd}");
    for other in [(odd + 1) % 3, (odd + 2) % 3] {
        // As far as both have done the same, their streams are the same too.
        let pairs = addresses[odd].iter().zip(&addresses[other]);
        let same = pairs.take_while(|(mine, theirs)| mine == theirs).count();
        assert!(same == 0 || prefix_allowed, "{what}: parties {odd} and {other} begin with {same} streams in common");
        let after: HashSet<u64> = addresses[odd][same..].iter().copied().collect();
        let common = addresses[other][same..].iter().filter(|address| after.contains(address)).count();
        assert_eq!(common, 0, "{what}: parties {odd} and {other} share {common} streams");
    }
}

#[test]
fn a_party_that_is_nonces_ahead_shares_no_stream_with_the_others() {
    for (name, protocol) in protocols() {
        for odd in 0..3 {
            for more in 1..4 {
                let (addresses, ended_well) = run([protocol; 3], (odd, more), SOON);
                share_no_address(&format!("{name}, {more} ahead"), addresses, odd, false);
                // Who gets no message in it notices nothing.
                let all_get_messages = !matches!(name, "input" | "open to one");
                assert!(!(ended_well && all_get_messages), "{name}: party {odd} is {more} ahead, and nobody notices");
            }
        }
        let (addresses, ended_well) = run([protocol; 3], (0, 0), Duration::from_secs(30));
        assert!(ended_well, "{name}");
        assert!(addresses[0] == addresses[1] && addresses[1] == addresses[2], "{name}");
    }
}

#[test]
fn parties_in_different_protocols_share_no_stream() {
    let all = protocols();
    for (i, (name, protocol)) in all.iter().enumerate() {
        for (j, (other, another)) in all.iter().enumerate().filter(|(j, _)| *j != i) {
            let odd = (i + j) % 3;
            let mut programs = [*protocol; 3];
            programs[odd] = *another;
            let (addresses, _) = run(programs, (0, 0), SOON);
            // A ReLU begins with a sign bit; no other two begin alike.
            let alike = [*name, *other].iter().all(|name| ["sign", "ReLU"].contains(name));
            share_no_address(&format!("{name}, and {other} at party {odd}"), addresses, odd, alike);
        }
    }
}

/// Elements of the runs whose messages are looked at.
const FEW: usize = 2;

/// What is sent in `programs`, after so many nonces by hand at one party, and depends on what its receiver lacks.
fn told(programs: [Protocol; 3], ahead: (usize, usize), count_only: bool) -> Vec<String> {
    let world = World { options: Options { deadline: SOON, ..Options::default() }, ..World::seeded(2) };
    // With bare counters nobody ends before the others: all that can be sent is sent.
    let together = Barrier::new(if count_only { 3 } else { 1 });
    let run = |p: &mut Party, x: &[Rep]| {
        if count_only {
            p.prg.count_only();
        }
        if p.id().index() == ahead.0 {
            (0..ahead.1).for_each(|_| drop(p.nonces::<1>()));
        }
        let result = programs[p.id().index()](p, &x[0]);
        together.wait();
        result
    };
    // One leak is enough.
    PartyId::ALL
        .into_iter()
        .map(|observer| tells(&world, observer, FEW, &run))
        .find(|told| !told.is_empty())
        .unwrap_or_default()
}

/// All that send and open nothing: what is opened depends on what its receiver lacks, as it should.
fn masked() -> Vec<(&'static str, Protocol)> {
    protocols().into_iter().filter(|(name, _)| !name.starts_with("open")).collect()
}

#[test]
fn what_is_sent_by_parties_that_are_nonces_apart_tells_nothing() {
    for (name, protocol) in masked() {
        assert_eq!(told([protocol; 3], (0, 0), false), [""; 0], "{name}");
        for (odd, more) in (0..3).flat_map(|odd| [(odd, 1), (odd, 2), (odd, 3)]) {
            assert_eq!(told([protocol; 3], (odd, more), false), [""; 0], "{name}, party {odd} is {more} ahead");
        }
    }
}

#[test]
fn what_is_sent_in_different_protocols_tells_nothing() {
    let all = masked();
    for (i, (name, protocol)) in all.iter().enumerate() {
        for (j, (other, another)) in all.iter().enumerate().take(i) {
            let odd = (i + j) % 3;
            let mut programs = [*protocol; 3];
            programs[odd] = *another;
            assert_eq!(told(programs, (0, 0), false), [""; 0], "{name}, and {other} at party {odd}");
        }
    }
}

#[test]
fn with_bare_counters_parties_that_are_nonces_apart_would_tell_secrets() {
    let (_, product) = masked().into_iter().find(|(name, _)| *name == "product").unwrap();
    // One leak is enough; the party that is ahead and who sees it are those of the first that was found.
    assert!([2, 1, 0].into_iter().any(|odd| !told([product; 3], (odd, 1), true).is_empty()));
}
