//! `cryptgpu top`: a training that runs is seen from outside, and a program that was killed leaves nothing to see.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program, with the sockets of clusters in this folder.
fn program(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    command.env("XDG_RUNTIME_DIR", folder).args(arguments.split_whitespace());
    command
}

fn top(folder: &Path, arguments: &str) -> Output {
    program(folder, &format!("top --once {arguments}")).output().unwrap()
}

/// Ends the training whatever the test does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks at a cluster until what it shows is as wanted.
fn wait_for(folder: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let (start, mut seen) = (Instant::now(), String::new());
    while start.elapsed() < Duration::from_secs(60) {
        let output = top(folder, &format!("--json {name}"));
        seen = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if let Some(view) = serde_json::from_str::<Value>(&seen).ok().filter(|view| wanted(view)) {
            return view;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not seen within a minute: {seen}");
}

#[test]
fn a_training_is_seen_while_it_runs_and_not_when_its_program_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = folder.path().join("cryptgpu");
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&sockets).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let none = top(folder.path(), "");
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("no cluster of yours runs"));

    let run = "run train --networks lenet --dataset digits --batch 4 --iterations 200 --threads 1 --json";
    let mut command = program(folder.path(), run);
    let mut training = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let pid = training.0.id().to_string();
    let view = wait_for(folder.path(), &pid, |view| {
        let rounds = |party: &Value| {
            party["rounds_per_second"].as_f64() > Some(0.0) && !party["step"].as_str().unwrap().is_empty()
        };
        view["job"]["seconds_left"].is_f64() && view["parties"].as_array().unwrap().iter().all(rounds)
    });
    assert_eq!((&view["job"]["name"], &view["places"]), (&"train".into(), &"processes of this machine".into()));
    assert!(view["job"]["doing"].as_str().unwrap().starts_with("iteration "), "{view}");
    for (number, party) in view["parties"].as_array().unwrap().iter().enumerate() {
        let waited: Vec<f64> =
            party["waited_seconds"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        assert!(waited[number] == 0.0 && waited.iter().sum::<f64>() > 0.0, "{view}");
        assert!(
            party["pid"].as_u64().is_some() && party["device"] == "cpu" && party["rounds"].as_u64() > Some(0),
            "{view}"
        );
        assert!(
            party["resident_bytes"].as_u64() > Some(1 << 20) && party["sent_bytes"].as_u64() > Some(1000),
            "{view}"
        );
    }
    let drawn = String::from_utf8_lossy(&top(folder.path(), "").stdout).into_owned();
    assert!(drawn.starts_with(&format!("{pid}.0: cryptgpu,")) && drawn.contains("% done"), "{drawn}");

    // A second cluster, as far as can be seen: then a name is needed.
    let number = std::process::id();
    let listener = UnixListener::bind(sockets.join(format!("{number}.0"))).unwrap();
    let mut other = view.clone();
    other["pid"] = number.into();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(other.to_string().as_bytes()).unwrap();
    });
    let several = String::from_utf8_lossy(&top(folder.path(), "").stderr).into_owned();
    answers.join().unwrap();
    assert!(several.contains("2 clusters run") && several.contains(&format!("\n  {pid}.0  cryptgpu")), "{several}");

    // What was killed has left its socket, until somebody looks. A file of another kind is nobody's business.
    training.0.kill().unwrap();
    training.0.wait().unwrap();
    std::fs::write(sockets.join("notes"), "").unwrap();
    assert!(names().contains(&format!("{pid}.0").into()));
    let none = top(folder.path(), &pid);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("no cluster of yours runs"));
    // The test's own process is there, so its socket may still be in use.
    assert_eq!(names(), [format!("{number}.0").as_str(), "notes"]);
}
