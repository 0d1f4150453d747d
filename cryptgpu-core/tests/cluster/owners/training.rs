//! What owners' policies say of training, of its checkpoints and of trained weights.

use super::{Owned, this_program};
use crate::support::small;
use cryptgpu_core::cluster::{
    Checkpointing, Cluster, ClusterError, Dataset, Images, Iteration, Labels, Owners, Start, TrainingRun,
};
use cryptgpu_core::net::{Link, PartyId};
use cryptgpu_core::nn::Weights;
use cryptgpu_core::nn::training::{Reveal, Sgd, Train};
use cryptgpu_datasets::ImageSet;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POLICY: &str = r#"[allow]
programs = ["training"]
networks = ["NETWORK"]
[inputs]
files = []
[outputs]
folders = ["FOLDER/kept", "FOLDER/out"]
[[reveal]]
what = "loss"
to = "caller"
per_run = 2
[[reveal]]
what = "weights"
to = "party 1"
per_day = 1
"#;

fn digits(cluster: &Cluster) -> Result<Dataset, ClusterError> {
    cluster.dataset("digits-train", Images::at(0), Labels::at(2))
}

/// Trains, tells the loss of each iteration, and leaves checkpoints in a folder, if there is one.
fn train(cluster: &Cluster, iterations: usize, kept: Option<&Path>) -> Result<TrainingRun, ClusterError> {
    train_telling(cluster, iterations, kept, |_| ())
}

fn train_telling(
    cluster: &Cluster,
    iterations: usize,
    kept: Option<&Path>,
    told: impl FnMut(&Iteration),
) -> Result<TrainingRun, ClusterError> {
    let start = Start { checkpoints: kept.map(|kept| Checkpointing::every(1, kept)), ..Start::default() };
    cluster.train_observed(small(), start, &digits(cluster)?, settings(iterations, 1), told)
}

fn settings(iterations: usize, loss_every: usize) -> Train {
    let reveal = Reveal { loss_every: Some(loss_every), ..Reveal::default() };
    let optimizer = Sgd::new(0.01);
    Train { batch: 10, iterations: Some(iterations), optimizer, reveal, ..Train::default() }
}

/// The process of a party's session, which the party has started.
fn session_of(party: &Child) -> u32 {
    let parent = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok();
    let of = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_string_lossy().parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        (parent(&stat) == Some(party.id())).then_some(number)
    };
    std::fs::read_dir("/proc").unwrap().find_map(|entry| of(entry.unwrap())).expect("a session goes on")
}

/// Passes on what comes for an address, until it is cut: then all connections end, and nobody gets through.
fn way_to(address: String) -> (String, impl Fn(bool)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let (cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::<TcpStream>::new())));
    let (is_cut, opened) = (cut.clone(), open.clone());
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok).filter(|_| !is_cut.load(SeqCst)) {
            let Ok(far) = TcpStream::connect(&address) else { continue };
            for [from, to] in [[&near, &far], [&far, &near]] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
            opened.lock().unwrap().extend([near, far]);
        }
    });
    let set = move |is_cut: bool| {
        cut.store(is_cut, SeqCst);
        open.lock().unwrap().drain(..).filter(|_| is_cut).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    };
    (own, set)
}

/// A training at owners' parties goes on by itself, in another session, when a process ends and when a connection is cut for
/// longer than it may take to be made anew.
fn goes_on(owned: &Owned, kept: &Path) {
    let file = owned.of("ann").join("party.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let bob = text.lines().find_map(|line| line.strip_prefix("address = \"")?.strip_suffix(":7111\"")).unwrap();
    let (way, cut) = way_to(format!("{bob}:7111"));
    std::fs::write(&file, text.replace(&format!("{bob}:7111"), &way)).unwrap();
    let owners = Owners::read(owned.of("lab").join("owners.toml")).unwrap();
    let patience = Duration::from_millis(300);
    // Iterations take long enough for a party to be lost in one.
    let link = Link::Custom { megabytes_per_second: 1000.0, latency_ms: 20.0 };
    let cluster = Cluster::owners(owners).link(link).resume_within(patience).start().unwrap();
    let lost = |name: &str, lose: &dyn Fn()| {
        let told = |iteration: &Iteration| {
            if (iteration.number, iteration.restarts) == (0, 0) {
                lose();
            }
        };
        let run = train_telling(&cluster, 2, Some(&kept.join(name)), told).unwrap();
        let [restart] = run.restarts() else { panic!("{:?}", run.restarts()) };
        assert_eq!((run.curve().len(), restart.from), (2, 1), "{restart:?}");
        restart.cause.clone()
    };
    let cause = lost("killed", &|| {
        // SAFETY: a signal to a process of this test.
        unsafe { libc::kill(session_of(&owned.parties[1]) as i32, libc::SIGKILL) };
    });
    assert!(cause.contains("party 1") && cause.contains("died"), "{cause}");
    std::thread::scope(|scope| {
        let cause = lost("cut", &|| {
            cut(true);
            scope.spawn(|| {
                std::thread::sleep(3 * patience);
                cut(false);
            });
        });
        assert!(cause.contains("link"), "{cause}");
    });
}

#[test]
fn training_its_checkpoints_and_its_weights_are_what_each_policy_allows() {
    let program = |config: &Path| {
        let mut command = this_program(config);
        command.env("CRYPTGPU_KEYS", config.with_file_name("keys"));
        command
    };
    let owned = Owned::start(program, |_| POLICY.to_owned());
    let (kept, out) = (owned.of("kept"), owned.of("out"));
    [&kept, &out].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let exported = out.join("small.safetensors");
    let write = |network: &str| {
        let text = POLICY.replace("NETWORK", network).replace("FOLDER", owned.folder.path().to_str().unwrap());
        (0..3).for_each(|party| owned.write_policy(party, &text));
    };
    write("none");
    let cluster = owned.cluster("lab").unwrap();
    let said = owned.refused("line 6 (`networks`)", || train(&cluster, 2, Some(&kept)));
    drop(cluster);
    write(&said.split("digest ").nth(1).unwrap()[..64]);

    let cluster = owned.cluster("lab").unwrap();
    // What only one owner sees of it: a path of that party.
    let error = train(&cluster, 2, None).and_then(|run| run.model().export_to(1, owned.of("elsewhere"))).unwrap_err();
    assert!(error.party() == Some(PartyId::P1) && error.to_string().contains("line 10 (`folders`)"), "{error}");
    let run = train(&cluster, 2, Some(&kept)).unwrap();
    assert_eq!(run.curve().len(), 2);
    run.model().export_to(1, &exported).unwrap();
    let weights = Weights::load(&exported).unwrap();
    assert!(std::fs::read_dir(&kept).unwrap().count() >= 3, "each party keeps its own");
    for party in 0..3 {
        let log: String = owned.log(party).iter().map(|line| format!("{line}\n")).collect();
        for says in ["writes", "REVEALS loss of", "to caller, 2 times", "REVEALS weights of"] {
            assert!(log.contains(says), "{says}: {log}");
        }
        let file = std::fs::read_to_string(owned.of(super::PARTIES[party]).join("audit.log")).unwrap();
        let numbers = weights.iter().flat_map(|(_, tensor)| tensor.iter()).map(f32::to_string);
        let told = numbers.filter(|number| number.len() > 7).find(|number| (log.clone() + &file).contains(number));
        assert_eq!(told, None, "a weight is in the log of party {party}");
    }

    // Each refusal ends the session, and the next run begins another.
    let trained = || train(&cluster, 2, None);
    owned.refused("`per_run = 2`", || train(&cluster, 3, None));
    // What counts is what is revealed: every second loss of five, and those behind the checkpoint that a run goes on from.
    let every_second = cluster.train(small(), &digits(&cluster).unwrap(), settings(5, 2)).unwrap();
    assert_eq!(every_second.curve().len(), 2);
    let on = Start { checkpoints: Some(Checkpointing::every(1, &kept).resuming()), ..Start::default() };
    let on = cluster.train_observed(small(), on, &digits(&cluster).unwrap(), settings(4, 1), |_| ()).unwrap();
    assert_eq!(on.curve().iter().map(|point| point.iteration).collect::<Vec<_>>(), [2, 3]);
    owned.refused("line 10 (`folders`)", || train(&cluster, 2, Some(&owned.of("elsewhere"))));
    owned.refused("`per_day = 1`, and 1 were revealed", || trained()?.model().export_to(1, &exported));
    owned.refused("covers it", || trained()?.model().export_to(0, &exported));
    owned.refused("covers it", || cluster.accuracy(trained()?.model(), &digits(&cluster)?, 50));
    // What only one owner sees of it: a file of that party.
    let foreign = ImageSet::File { images: owned.of("eve").join("eve.key"), labels: None, preprocessing: None };
    let error = cluster.dataset(foreign, Images::at(2), Labels::at(2)).unwrap_err();
    assert!(error.party() == Some(PartyId::P2) && error.to_string().contains("line 8 (`files`)"), "{error}");
    drop(cluster);
    goes_on(&owned, &kept);
}
