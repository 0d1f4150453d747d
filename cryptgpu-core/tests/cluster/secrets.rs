//! What a caller prints, what its runs write and what is said of failures holds no secret: everything that came of runs is
//! searched for the values that were shared, in every way in which they could be written, and for the parties' shares of them.

#![allow(clippy::unwrap_used)]

use crate::support::{local, small};
use cryptgpu_core::cluster::{
    Checkpointing, Cluster, ClusterError, Fault, Images, Labels, Result, SelfTest, Start, Words,
};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::training::{Sgd, Train};
use cryptgpu_core::nn::{WeightSource, Weights, zoo};
use cryptgpu_core::ring::FixedPoint;
use ndarray::{Array1, array};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Values that nothing else is likely to hold.
const SECRETS: [f64; 4] = [1234.56787109375, -987.654235839844, 31.41592407226562, -4711.08154296875];

fn components(_: &mut Party, x: Rep) -> Result<Vec<Vec<u64>>> {
    let (a, b) = x.components();
    Ok(vec![a.view().to_host()?, b.view().to_host()?])
}

fn square(p: &mut Party, x: Rep) -> Result<Rep> {
    println!("party {} squares {x:?}", p.id());
    Ok(p.step("square", |p| p.mul(&x, &x))?)
}

fn fails(p: &mut Party, (x, mine): (Rep, Vec<f64>)) -> Result<Rep> {
    eprintln!("party {} has {} numbers and {x:?}", p.id(), mine.len());
    match p.id() {
        PartyId::P1 => Err("the file is not there".into()),
        _ => Ok(p.relu(&x)?),
    }
}

fn faults(p: &mut Party, x: Rep) -> Result<Rep> {
    let x = p.relu(&x)?;
    if p.id() == PartyId::P2 {
        // SAFETY: this process ends by it, and would leave its memory in a file if it could.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    Ok(x)
}

/// Not a test of its own: a caller with secrets, who prints all that can be printed. The shares go to a file elsewhere.
#[test]
fn caller_with_secrets() {
    let Some(shares) = std::env::var_os("CRYPTGPU_TEST_SECRETS").map(PathBuf::from) else { return };
    let core = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit lives across the call. Without it no party could leave its memory behind anyway.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const core) };
    let cluster = local().logs("logs").start().unwrap();
    let x = cluster.share(&Array1::from_iter(SECRETS)).unwrap();
    let words: Vec<u64> = cluster.run(components, &x).unwrap().outputs.into_iter().flatten().flatten().collect();
    std::fs::write(&shares, serde_json::to_string(&words).unwrap()).unwrap();
    let run = cluster.run(square, &x).unwrap();
    println!("{cluster:?} {x:?} {run:?} {:?} {:?} {:?}", run.outputs, run.usage, run.claims());
    std::fs::write("trace", format!("{:?}", run.trace().messages())).unwrap();
    println!("{:?}", run.reveal().unwrap().shape());
    println!("{:?}", cluster.load_model("lenet", WeightSource::Bundled).unwrap());

    // Checkpoints are sealed.
    let data = cluster.dataset("digits-train", Images::at(0), Labels::at(2)).unwrap();
    let start = Start { checkpoints: Some(Checkpointing::every(1, "kept")), ..Start::default() };
    let train = Train { batch: 10, iterations: Some(2), optimizer: Sgd::new(0.01), ..Train::default() };
    let trained = cluster.train_observed(small(), start, &data, train, |iteration| println!("{iteration:?}")).unwrap();
    println!("{trained:?} {data:?}");
    trained.model().export_to(1, shares.with_extension("weights")).unwrap();

    let again = |cluster: &Cluster| cluster.share(&array![SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[3]]).unwrap();
    let errors: Vec<ClusterError> = vec![
        cluster.run(fails, (&x, SECRETS.to_vec())).unwrap_err(),
        cluster.run(square, &x).unwrap_err(),
        cluster.run(faults, again(&cluster)).unwrap_err(),
        cluster.share(&array![1e300, SECRETS[0]]).unwrap_err(),
        cluster
            .run_job(PartyId::ALL.map(|id| SelfTest {
                rounds: 4,
                words: Words(words.clone()),
                fault: (id == PartyId::P0).then_some((id, Fault::Panic)),
            }))
            .unwrap_err(),
    ];
    errors.iter().for_each(|error| println!("{error}\n{error:?}"));
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// How a ring word could be written.
fn forms_of_word(word: u64) -> Vec<Vec<u8>> {
    let texts = [word.to_string(), (word as i64).to_string(), format!("{word:x}"), format!("{word:X}")];
    let bytes = [word.to_le_bytes().to_vec(), word.to_be_bytes().to_vec()];
    texts.into_iter().map(String::into_bytes).chain(bytes).collect()
}

/// How a number could be written: as text, rounded or not, as bytes, as a ring word.
fn forms_of_number(value: f64) -> Vec<Vec<u8>> {
    let texts = [value.to_string(), format!("{value:.3}"), format!("{:.3}", value.abs()), format!("{:e}", value)];
    let bytes = [value.to_le_bytes().to_vec(), (value as f32).to_le_bytes().to_vec()];
    let word = FixedPoint::default().encode(value).unwrap();
    texts.into_iter().map(String::into_bytes).chain(bytes).chain(forms_of_word(word)).collect()
}

/// Weights that are their owner's alone, in a file elsewhere, and the record of an inference with them.
fn record_with_secret_weights(record: &Path, weights: &Path) -> (Vec<u8>, Vec<Vec<u8>>) {
    let own = Weights::seeded(&zoo::by_name("lenet").unwrap(), 4711);
    own.clone().stating("lenet").save(weights).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_cryptgpu"))
        .args(["run", "inference", "--networks", "lenet", "--iterations", "1", "--compare", "1", "--threads", "1"])
        .arg("--weights")
        .arg(weights)
        .arg("--out")
        .arg(record)
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].concat();
    assert!(run.status.success() && record.is_file(), "{}", String::from_utf8_lossy(&said));
    let some = own.iter().flat_map(|(_, tensor)| tensor.iter().take(400).step_by(40)).filter(|weight| **weight != 0.0);
    let forms = some.flat_map(|&weight| {
        let all = forms_of_number(weight.into()).into_iter().chain([weight.to_string().into_bytes()]);
        // Few digits could be those of a time.
        all.filter(|form| form.len() >= 8)
    });
    (said, forms.collect())
}

/// Whether a file is the memory that a process left when it crashed.
fn is_core(path: &Path) -> bool {
    let begins = std::fs::read(path).unwrap();
    begins.starts_with(b"\x7fELF") && begins.get(16) == Some(&4)
}

/// A process that does not hide leaves its memory, where the system lets it: what is looked for is found where it is.
fn looks_for_cores() {
    let folder = tempfile::tempdir().unwrap();
    let crash = ["-c", "ulimit -c unlimited; kill -SEGV $$"];
    Command::new("sh").args(crash).current_dir(&folder).status().unwrap();
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    match files(folder.path()).iter().any(|path| is_core(path)) {
        true => {}
        false => eprintln!("this system leaves no core files in a process's folder ({})", pattern.trim()),
    }
}

#[test]
fn nothing_that_is_printed_or_written_holds_a_secret() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shares = elsewhere.path().join("shares");
    let caller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "secrets::caller_with_secrets", "--nocapture"])
        .current_dir(&folder)
        .env("CRYPTGPU_TEST_SECRETS", &shares)
        .env("CRYPTGPU_KEYS", elsewhere.path().join("keys"))
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = [caller.stdout, caller.stderr].concat();
    assert!(caller.status.success(), "{}", String::from_utf8_lossy(&said));
    for hint in ["squares", "the file is not there", "signal 11", "asked to panic", "Shared"] {
        assert!(String::from_utf8_lossy(&said).contains(hint), "{hint}: {}", String::from_utf8_lossy(&said));
    }
    let words: Vec<u64> = serde_json::from_str(&std::fs::read_to_string(&shares).unwrap()).unwrap();
    assert_eq!(words.len(), 3 * 2 * SECRETS.len());
    let written = files(folder.path());
    assert!(written.iter().any(|path| path.extension().is_some_and(|end| end == "checkpoint")), "{written:?}");
    assert!(!written.iter().any(|path| is_core(path)), "{written:?}");
    let log = std::fs::read_to_string(folder.path().join("logs/party1.log")).unwrap();
    let kept = [
        "job=\"square\" step=\"\" begin: run",
        "printed: party 1 squares",
        "job=\"square\" step=\"square\" took",
        "failed (Job): ",
        "the file is not there",
        "the run ended with an error",
    ];
    kept.iter().for_each(|line| assert!(log.contains(line), "{line}: {log}"));
    let log = std::fs::read_to_string(folder.path().join("logs/party2.log")).unwrap();
    assert!(log.contains("its control link ended"), "{log}");
    looks_for_cores();
    let record = folder.path().join("record.jsonl");
    let (recorded, of_weights) = record_with_secret_weights(&record, &elsewhere.path().join("own.safetensors"));
    assert!(of_weights.len() > 100);
    let (said, written) = ([said, recorded].concat(), files(folder.path()));

    let forms: Vec<Vec<u8>> = SECRETS
        .iter()
        .copied()
        .flat_map(forms_of_number)
        .chain(words.iter().copied().flat_map(forms_of_word))
        .collect();
    // Trained weights, which only checkpoints could hold: as ring words.
    let trained = Weights::load(shares.with_extension("weights")).unwrap();
    let trained = trained.get("fc.weight").unwrap().iter().take(3000).filter(|weight| weight.abs() > 1e-3);
    let trained =
        trained.map(|&weight| FixedPoint::default().encode(f64::from(weight)).unwrap().to_le_bytes().to_vec());
    let trained: Vec<Vec<u8>> = trained.step_by(100).collect();
    assert!(trained.len() >= 10);
    let forms: Vec<Vec<u8>> = forms.into_iter().chain(trained).chain(of_weights).collect();
    let holds = |text: &[u8], form: &[u8]| text.windows(form.len()).any(|window| window == form);
    assert!(holds(&[b"x = ", forms[0].as_slice()].concat(), &forms[0]), "what is searched for is found where it is");
    let texts = written.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap()));
    for (name, text) in texts.chain([("what was printed".to_owned(), said)]) {
        let found = forms.iter().position(|form| holds(&text, form));
        assert_eq!(found, None, "{name} holds form {found:?}: {}", String::from_utf8_lossy(&text));
    }
}
