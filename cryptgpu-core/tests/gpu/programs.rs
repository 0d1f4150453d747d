//! Runs of the command line: processes on cards, records that say so, and what is refused on an emulator.

use super::Body;
use super::emulator::{self, NarrowDriver};
use cryptgpu_core::cluster::Cluster;
use cryptgpu_core::device::{Device, DeviceChoice};
use cryptgpu_core::experiment::{Record, try_kernels};
use cryptgpu_core::ring::Ring;
use std::process::{Command, Output};

pub const BODIES: &[(&str, Body)] = &[
    ("processes_of_two_kinds_work_together", processes_of_two_kinds_work_together),
    ("a_cluster_says_which_card_each_party_takes", a_cluster_says_which_card_each_party_takes),
    ("sharing_a_card_is_said_once", sharing_a_card_is_said_once),
    ("parties_take_cards_in_turn", parties_take_cards_in_turn),
    ("doctor_names_the_cards", doctor_names_the_cards),
    ("every_operation_that_is_measured_runs", every_operation_that_is_measured_runs),
    ("an_emulator_is_not_measured", an_emulator_is_not_measured),
];

fn cryptgpu(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cryptgpu")).args(arguments).output().unwrap()
}

fn processes_of_two_kinds_work_together(card: Device) {
    let devices = format!("cpu,{card},cpu");
    let arguments = ["run", "inference", "--networks", "lenet", "--iterations", "1", "--json", "--device", &devices];
    let output = cryptgpu(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Record = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record.device, devices);
    assert_eq!(record.cards, ["".into(), card.card_name().unwrap().unwrap(), "".into()]);
    assert_eq!(record.accuracy, Some(1.0));
    assert_eq!(record.is_emulated(), emulator::runs());
}

/// Three processes on one card without CUDA's multi-process service: the run says so once, and how to start it.
fn sharing_a_card_is_said_once(card: Device) {
    let devices = format!("{card},{card},cpu");
    let arguments = ["run", "inference", "--networks", "lenet,lenet", "--iterations", "1", "--device", &devices];
    let nothing = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    let output = program.args(arguments).env("CUDA_MPS_PIPE_DIRECTORY", nothing.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("nvidia-cuda-mps-control -d").count(), 1, "{said}");
}

fn a_cluster_says_which_card_each_party_takes(card: Device) {
    let choices = [DeviceChoice::Cpu, DeviceChoice::Cuda(Some(0)), DeviceChoice::Auto];
    let cluster = Cluster::local().program(env!("CARGO_BIN_EXE_cryptgpu")).device(choices).start().unwrap();
    let devices = cluster.devices();
    assert_eq!(devices[0].to_string(), "cpu");
    assert_eq!(devices[1].device, card);
    assert!(devices[1].to_string().starts_with("cuda:0 ("), "{}", devices[1]);
    assert!(matches!(devices[2].device, Device::Cuda(_)), "auto takes a card where there is one");
    let absent = Cluster::local().program(env!("CARGO_BIN_EXE_cryptgpu")).device(Device::Cuda(63)).start();
    let error = absent.unwrap_err().to_string();
    assert!(error.contains("cuda:63") && error.contains("not available"), "{error}");
}

fn parties_take_cards_in_turn(_: Device) {
    // The number of cards can be chosen on the emulator only.
    if !emulator::runs() {
        return;
    }
    let arguments = ["run", "inference", "--networks", "lenet", "--iterations", "1", "--json", "--device", "cuda"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    program.args(arguments).args(["--randomness", "insecure-philox"]).env("CRYPTGPU_EMULATOR_DEVICES", "2");
    // What a driver is asked to have when it is opened is all that is called.
    let narrow = NarrowDriver::make();
    if let Some(driver) = &narrow {
        driver.serve(&mut program);
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Record = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record.device, "cuda:0,cuda:1,cuda:0");
}

fn doctor_names_the_cards(card: Device) {
    let output = cryptgpu(&["doctor", "--json"]);
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |what: &str| findings.iter().find(|finding| finding["what"] == what).unwrap();
    for what in ["CUDA driver", "GPU", "NVRTC"] {
        assert_eq!(of(what)["status"], "ok", "{}", of(what));
    }
    let name = card.card_name().unwrap().unwrap();
    assert!(of("GPU")["found"].as_str().unwrap().contains(&name), "{}", of("GPU"));
    assert!(of("shared cards")["found"].as_str().unwrap().contains("multi-process service"), "{}", of("shared cards"));
}

/// What `cryptgpu bench gpu` would measure on a card runs on whatever there is.
fn every_operation_that_is_measured_runs(card: Device) {
    for ring in [Ring::Z64, Ring::Z32] {
        assert_eq!(try_kernels(card, ring).unwrap(), try_kernels(Device::Cpu, ring).unwrap());
    }
}

/// No GPU time is shown that was not measured on a GPU.
fn an_emulator_is_not_measured(_: Device) {
    if !emulator::runs() {
        return;
    }
    let output = cryptgpu(&["bench", "gpu"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is an emulator") && said.contains("no GPU time is shown"), "{said}");
    let arguments = ["run", "inference", "--networks", "lenet", "--iterations", "1", "--device", "cuda:0,cpu,cpu"];
    let output = cryptgpu(&[&arguments[..], &["--randomness", "insecure-philox"]].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("emulated") && !said.contains(" ms"), "{said}");
}
