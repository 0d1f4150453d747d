//! The device tests: every operation, every protocol and whole networks on a card give the CPU's exact
//! bits, and what goes wrong on a card is an error of who asked.
//!
//! The bodies take a device and run on whichever there is:
//!
//! - with `CRYPTGPU_LIBCUDA` set (and `CRYPTGPU_NVRTC`, where NVRTC is not found otherwise), on the driver or
//!   emulator that it names;
//! - with `CRYPTGPU_TEST_GPU` set, or a card that can be used, on the card.
//!
//! What is set and does not work fails. Without any of these nothing runs, and this program says so. At the
//! end it prints how many kernels the emulator has run, and returns all memory, so that leaks show.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod alone;
mod budget;
mod cards;
mod data;
mod emulator;
mod failures;
mod layers;
mod memory;
mod networks;
mod operations;
mod programs;
mod protocols;
mod training;

use cryptgpu_core::device::Device;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// A test, on a card.
type Body = fn(Device);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Some look at what the card's memory is used for.
    arguments.test_threads = Some(1);
    let card = Device::Cuda(0);
    if let Err(error) = card.open() {
        let wanted =
            ["CRYPTGPU_LIBCUDA", "CRYPTGPU_TEST_GPU"].into_iter().find(|name| std::env::var_os(name).is_some());
        if let Some(name) = wanted {
            eprintln!("{name} is set, but the device tests cannot run: {error}");
            return ExitCode::FAILURE;
        }
        eprintln!("\n******** NOT RUN: the device tests, because {error} ********\n");
        return ExitCode::SUCCESS;
    }
    let bodies: Vec<(&str, &str, Body)> = [
        ("operations", operations::BODIES),
        ("layers", layers::BODIES),
        ("protocols", protocols::BODIES),
        ("networks", networks::BODIES),
        ("training", training::BODIES),
        ("memory", memory::BODIES),
        ("failures", failures::BODIES),
        ("programs", programs::BODIES),
        ("cards", cards::BODIES),
        ("budget", budget::BODIES),
    ]
    .into_iter()
    .flat_map(|(group, bodies)| bodies.iter().map(move |&(name, body)| (group, name, body)))
    .collect();
    let trials = bodies.into_iter().map(|(group, name, body)| {
        Trial::test(format!("{group}::{name}"), move || {
            body(card);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let listed = arguments.list;
    let well = listed || emulator::finish(card);
    if conclusion.has_failed() || !well { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
