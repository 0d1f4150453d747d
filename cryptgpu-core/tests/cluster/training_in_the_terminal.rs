//! `cryptgpu run train` as its user meets it: killed and resumed, with the weights at the end.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::experiment::training::{Training, TrainingRecord, read};
use cryptgpu_core::nn::Weights;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program with these arguments, in this folder, which has the parties' keys.
fn train(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    command.args(["run", "train", "--threads", "1"]).args(arguments.split_whitespace());
    command.current_dir(folder).env("CRYPTGPU_KEYS", folder.join("keys"));
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// How many parties have a checkpoint after so many iterations or more.
fn parties_with(kept: &Path, least: u64) -> usize {
    let files = std::fs::read_dir(kept).into_iter().flatten();
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let after = |name: &str| name.strip_suffix(".checkpoint")?.rsplit('-').next()?.parse::<u64>().ok();
    let reached = names.filter(|name| after(name).is_some_and(|after| after >= least));
    reached
        .filter_map(|name| name.split('-').next().map(str::to_owned))
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

/// Processes whose folder this is.
fn running_in(folder: &Path) -> usize {
    let folder = folder.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let alive = |at: &Path| std::fs::read_to_string(at.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
    processes.filter(|at| std::fs::read_link(at.join("cwd")).is_ok_and(|cwd| cwd == folder) && alive(at)).count()
}

/// A run is killed between two checkpoints, and the run that resumes it ends with the weights of one that was not disturbed.
fn killed_and_resumed(network: &str, iterations: u64) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let of = |kept: &str, iterations: u64, more: &str| {
        let how = "--checkpoint-every 3 --seed 5 --nesterov --rate-every 2 --rate-factor 0.9 --initial pytorch --weight-decay 0.01";
        format!("{network} --iterations {iterations} --checkpoints {kept} --restarts 0 {how} {more}")
    };
    let killed_after = |kept: &str, least: u64, more: &str| {
        let mut run = train(folder, &of(kept, iterations, more));
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while parties_with(&folder.join(kept), least) < 3 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        assert_eq!(run.wait().unwrap().signal(), Some(9), "it was killed, and had not ended");
        // Its parties notice, and end.
        while running_in(folder) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // Both go on from one beginning: what another run draws is other randomness.
    killed_after("one", 3, "");
    std::fs::create_dir(folder.join("two")).unwrap();
    for file in std::fs::read_dir(folder.join("one")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join("two").join(file.file_name())).unwrap();
    }
    done(&mut train(folder, &of("one", iterations, "--resume --export one.safetensors --export-to 2 --out one.jsonl")));

    let began = read(&folder.join("one.jsonl")).unwrap()[0].resumed_from.unwrap() as u64;
    killed_after("two", began + 3, "--resume --export two.safetensors --out two.jsonl");
    assert!(!folder.join("two.safetensors").exists() && !folder.join("two.jsonl").exists());

    done(&mut train(folder, &of("two", iterations, "--resume --export two.safetensors --out two.jsonl")));
    let [one, two] = ["one", "two"].map(|name| std::fs::read(folder.join(name).with_extension("safetensors")).unwrap());
    assert!(one == two, "{network}: other weights than those of the undisturbed run");
    let weights = Weights::load(folder.join("two.safetensors")).unwrap();
    weights.check(&Training::of(network.split_whitespace().nth(1).unwrap()).unwrap().graph().unwrap()).unwrap();
    let [one, two] = ["one.jsonl", "two.jsonl"].map(|name| read(&folder.join(name)).unwrap().remove(0));
    let from = |record: &TrainingRecord| (record.resumed_from.unwrap() as u64, record.iterations as u64);
    assert_eq!(from(&one), (began, iterations - began));
    let (resumed, rest) = from(&two);
    assert!(resumed > began && resumed.is_multiple_of(3) && resumed + rest == iterations, "{resumed}, {rest}");
    assert_eq!(
        (one.revealed, two.revealed),
        (
            vec!["the trained weights at the end, to party 2".to_owned()],
            vec!["the trained weights at the end, to party 1".to_owned()]
        )
    );
}

#[test]
fn a_run_that_was_killed_goes_on_in_the_terminal() {
    killed_and_resumed("--networks lenet --dataset digits --batch 8", 30);
}

/// Of a ResNet on images so small that its last kernels mostly see padding.
#[test]
fn so_does_one_whose_weights_are_partly_seen() {
    killed_and_resumed("--networks resnet8-cifar10:input=3x4x4 --dataset random --batch 4", 60);
}

#[test]
fn a_file_of_weights_that_cannot_be_written_is_noticed_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let run =
        train(dir.path(), "--networks lenet --dataset digits --epochs 100 --export no/such/w.safetensors").output();
    let (status, error) = run.map(|run| (run.status, String::from_utf8_lossy(&run.stderr).into_owned())).unwrap();
    assert!(
        !status.success() && error.contains("no/such/w.safetensors") && error.contains("no such folder"),
        "{error}"
    );
}
