//! The choice of randomness from end to end: the program and the party processes draw from what was
//! chosen, and everything that shows the result of the insecure choice says so.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use crate::support;
use cryptgpu_core::experiment::{Inference, Parties, measure, read};
use cryptgpu_core::prg::Randomness;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cryptgpu");
const WARNING: &str = "warning: insecure randomness";

fn cryptgpu(arguments: &str) -> Output {
    Command::new(PROGRAM).args(arguments.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_insecure_choice_is_warned_of_recorded_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.jsonl");
    let lenet = "run inference --networks lenet --iterations 1 --parties threads";
    let insecure = cryptgpu(&format!("{lenet} --randomness insecure-philox --out {}", file.display()));
    let (out, err) = (text(&insecure.stdout), text(&insecure.stderr));
    assert!(insecure.status.success(), "{err}");
    assert_eq!(err.matches(WARNING).count(), 1, "{err}");
    assert!(err.contains("INSECURE (insecure-philox)"), "{err}");
    assert!(out.contains("insecure-philox: INSECURE."), "{out}");

    let secure = cryptgpu(&format!("{lenet} --randomness aes128-ctr --out {}", file.display()));
    assert!(secure.status.success() && !text(&secure.stderr).contains("nsecure"), "{}", text(&secure.stderr));
    assert!(!text(&secure.stdout).contains("nsecure"), "{}", text(&secure.stdout));

    let randomness: Vec<_> = read(&file).unwrap().into_iter().map(|record| record.randomness).collect();
    assert_eq!(randomness, ["insecure-philox", "aes128-ctr"]);
    let table = text(&cryptgpu(&format!("table {}", file.display())).stdout);
    assert_eq!(table.matches("lenet (insecure-philox").count(), 1, "one of two rows: {table}");
    assert!(table.contains("insecure-philox: INSECURE."), "{table}");
}

#[test]
fn party_processes_start_anew_when_the_choice_changes() {
    let mut processes = Parties::new(support::local());
    let declared = Inference { iterations: 1, ..Inference::of("lenet").unwrap() };
    for randomness in [Randomness::InsecurePhilox, Randomness::Aes128Ctr] {
        let record = measure(&Inference { randomness, ..declared.clone() }, &mut processes, &mut |_| ()).unwrap();
        assert_eq!((record.randomness, record.agreement), (randomness.to_string(), Some(1)));
    }
}
