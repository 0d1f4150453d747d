//! Memory of a card: reuse, transfers in pieces, and words that survive all of it.

use super::Body;
use super::alone::{alone, is_alone};
use super::data::{streams, words};
use super::emulator;
use cryptgpu_core::device::{Binary, Device, Tensor, Unary, kernels};
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::Ring;
use std::process::Command;

pub const BODIES: &[(&str, Body)] = &[
    ("transfers_go_in_pieces", transfers_go_in_pieces),
    ("freed_memory_is_used_again", freed_memory_is_used_again),
    ("uploads_and_kernels_do_not_overtake_each_other", uploads_and_kernels_do_not_overtake_each_other),
    ("threads_share_a_card", threads_share_a_card),
    ("what_is_kept_is_returned_when_memory_is_short", what_is_kept_is_returned_when_memory_is_short),
    ("pressure", pressure),
    ("dropped_words_are_zeroed_on_request", dropped_words_are_zeroed_on_request),
    ("every_buffer_may_be_an_allocation_of_its_own", every_buffer_may_be_an_allocation_of_its_own),
];

fn transfers_go_in_pieces(card: Device) {
    // A piece is 2^17 words; more of them than a transfer keeps under way.
    for n in [1 << 17, (1 << 17) + 1, 10 * (1 << 17) + 12_345] {
        let host = words(n, 1);
        let buffer = card.upload(host.clone());
        assert!(buffer.slice(1..n - 1).to_host().unwrap() == host[1..n - 1]);
        assert!(buffer.into_host().unwrap() == host);
    }
}

fn freed_memory_is_used_again(card: Device) {
    let n = 54_321;
    let before = card.memory_use().unwrap();
    for round in 0..10 {
        let x = card.upload(words(n, round));
        let mut y = card.alloc(n);
        kernels::unary(Ring::Z64, Unary::Add(1), x.view(), y.view_mut());
        assert_eq!(y.slice(7..8).to_host().unwrap(), [words(8, round)[7].wrapping_add(1)]);
        assert!(card.memory_use().unwrap().in_use >= before.in_use + 2 * 8 * n);
    }
    let after = card.memory_use().unwrap();
    assert_eq!(after.in_use, before.in_use, "what was dropped is not in use");
    assert!(after.requests <= before.requests + 2, "{before:?} {after:?}");
    assert!(after.reuses >= before.reuses + 18, "{before:?} {after:?}");
    card.trim().unwrap();
    assert_eq!(card.memory_use().unwrap().kept, 0);
}

/// A copy into memory that kernels still read must wait for them, and kernels for copies: large ones beside the kernels, and
/// small ones among them, of which there are more than pinned buffers.
fn uploads_and_kernels_do_not_overtake_each_other(card: Device) {
    for n in [400, 40_000] {
        let mut sums = vec![];
        for round in 0..20 {
            let x = Tensor::new(card.upload(words(n, round)), &[n]).unwrap();
            // Not waited for before x is dropped and its memory written by the next round.
            sums.push(x.binary("add", Binary::Add, &x).unwrap().unary(Unary::Mul(3)).sum());
        }
        for (round, sum) in sums.into_iter().enumerate() {
            let expected = words(n, round as u64).iter().fold(0u64, |sum, x| sum.wrapping_add(x.wrapping_mul(6)));
            assert_eq!(sum.into_host().unwrap(), [expected], "round {round} of {n}");
        }
        // Never used by a kernel, and dropped.
        drop(card.upload(words(n, 1)));
        let again = card.upload(words(n, 2));
        assert!(again.into_host().unwrap() == words(n, 2));
    }
}

fn threads_share_a_card(card: Device) {
    let shared = Tensor::new(card.upload(words(9_000, 1)), &[9_000]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let shared = &shared;
            scope.spawn(move || {
                for round in 0..5 {
                    let x = Tensor::new(card.upload(words(9_000, thread * 10 + round)), &[9_000]).unwrap();
                    let y = x.binary("xor", Binary::Xor, shared).unwrap().into_host().unwrap();
                    let (a, b) = (words(9_000, thread * 10 + round), words(9_000, 1));
                    assert!((0..9_000).all(|i| y[i] == a[i] ^ b[i]), "thread {thread}, round {round}");
                }
            });
        }
    });
}

fn what_is_kept_is_returned_when_memory_is_short(_: Device) {
    // A real card cannot be made small.
    if !emulator::runs() {
        return;
    }
    let output = alone("memory::pressure", "CRYPTGPU_EMULATOR_MEMORY", &(64 << 20).to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// On a card of 64 MiB: memory kept in one size does not keep another size from being had.
fn pressure(card: Device) {
    if !is_alone("memory::pressure") {
        return;
    }
    for round in 0..12 {
        // 24 MiB or less, in ever other classes.
        let words = (24 << 17) * (100 - 5 * round) / 100;
        let mut buffer = card.full(words, 7);
        kernels::unary(Ring::Z64, Unary::Add(1), card.full(words, 8).view(), buffer.view_mut());
        assert_eq!(buffer.slice(words - 1..words).to_host().unwrap(), [9]);
    }
    let usage = card.memory_use().unwrap();
    assert!(usage.kept + usage.in_use <= 64 << 20, "{usage:?}");
    // Two of 40 MiB do not fit: the error of the second, and the first is as it was.
    let first = card.full(5 << 20, 3);
    let second = card.full(5 << 20, 4);
    let error = second.into_host().unwrap_err().to_string();
    assert!(error.contains("no memory") && error.contains("smaller batch"), "{error}");
    assert_eq!(first.slice(0..2).to_host().unwrap(), [3, 3]);
}

fn dropped_words_are_zeroed_on_request(card: Device) {
    let test = "memory::dropped_words_are_zeroed_on_request";
    if !is_alone(test) {
        if emulator::runs() {
            let output = alone(test, "CRYPTGPU_CUDA_WIPE", "on");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        return;
    }
    let n = 3_000;
    let [stream] = streams(Randomness::Aes128Ctr, 1);
    let mut secret = card.alloc(n);
    kernels::fill(&stream, secret.view_mut());
    drop(secret);
    // The same block again, read before it is written: only here, to look at what it holds.
    assert_eq!(card.alloc(n).into_host().unwrap(), vec![0; n]);
    drop(card.upload(vec![5; n]));
    assert_eq!(card.memory_use().unwrap().in_use, 0);
}

/// Operations, protocols and networks once more, without reuse of memory: now the emulator sees every read
/// of words that were not written, and every access after or beyond a buffer.
fn every_buffer_may_be_an_allocation_of_its_own(_: Device) {
    if !emulator::runs() || is_alone("") {
        return;
    }
    let skipped = ["memory::", "failures::", "programs::"].map(|group| ["--skip", group]);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(skipped.as_flattened())
        .envs([("CRYPTGPU_CUDA_POOL", "off"), ("CRYPTGPU_TEST_ALONE", "")])
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    println!("without reuse of memory, {}", out.lines().last().unwrap_or_default());
}
