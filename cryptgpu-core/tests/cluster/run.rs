//! Clusters of real processes: starting, running, failing, starting again, leaving nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::cluster::{Cluster, ClusterBuilder, ClusterError, FailureKind, Fault, SelfTest, Words};
use cryptgpu_core::net::{HEADER_BYTES, Link, LinkType, PartyId, Stats};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cryptgpu");

fn local() -> ClusterBuilder {
    Cluster::local().program(PROGRAM).threads(1).deadline(Duration::from_secs(10))
}

fn exchange(rounds: u32, words: usize) -> [SelfTest; 3] {
    PartyId::ALL.map(|id| SelfTest { rounds, words: Words(vec![id.index() as u64; words]), fault: None })
}

fn failing(party: usize, fault: Fault) -> [SelfTest; 3] {
    exchange(10, 100).map(|job| SelfTest { fault: Some((PartyId::ALL[party], fault)), ..job })
}

/// Long enough to be interrupted.
fn long() -> [SelfTest; 3] {
    exchange(1_000_000, 100)
}

fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses; Z is one that waits to be reaped.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn all_gone(pids: &[u32], within: Duration) {
    let until = Instant::now() + within;
    while pids.iter().any(|&pid| exists(pid)) {
        assert!(
            Instant::now() < until,
            "still there: {:?}",
            pids.iter().filter(|&&pid| exists(pid)).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Runs a long job, does `harm` to the processes in the middle of it, and gives back the error.
fn interrupted(cluster: &Cluster, harm: impl FnOnce(&[u32]) + Send) -> ClusterError {
    let pids = cluster.pids();
    let error = std::thread::scope(|scope| {
        let mut harm = Some(harm);
        let (mut seen, pids) = ([false; 3], &pids);
        cluster
            .run_job_with(long(), |progress| {
                seen[progress.party.index()] |= progress.fraction > 0.0;
                if seen == [true; 3]
                    && let Some(harm) = harm.take()
                {
                    scope.spawn(move || harm(pids));
                }
            })
            .unwrap_err()
    });
    all_gone(&pids, Duration::from_secs(1));
    assert!(cluster.pids().is_empty());
    error
}

#[test]
fn parties_exchange_and_account_for_it() {
    let cluster = local().start().unwrap();
    let mut last = [0.0; 3];
    let run =
        cluster.run_job_with(exchange(5, 100), |progress| last[progress.party.index()] = progress.fraction).unwrap();
    assert_eq!(last, [1.0; 3]);
    for party in PartyId::ALL {
        let expected = [party.next(), party.prev()].map(|peer| Words(vec![peer.index() as u64; 100]));
        assert_eq!(run.outputs[party.index()], expected);
        let usage = run.usage[party.index()];
        assert_eq!(usage.stats.payload_bytes(), 5 * 2 * 800);
        assert_eq!(usage.stats.to(party.next()).frame_bytes, 5 * (800 + HEADER_BYTES as u64));
        assert_eq!(usage.stats.rounds, 5);
        assert!(usage.peak_rss_bytes > 1 << 20 && usage.peak_rss_bytes < 1 << 30);
        assert!(!usage.duration.is_zero() && usage.duration < run.duration);
    }
    let pids = cluster.pids();
    assert!(pids.iter().all(|&pid| exists(pid)));
    drop(cluster);
    all_gone(&pids, Duration::from_secs(1));
}

#[test]
fn large_inputs_and_outputs_arrive_whole() {
    let cluster = local().start().unwrap();
    let words: Vec<u64> = (0..1_500_000).collect();
    let jobs = [0, 1, 2].map(|_| SelfTest { rounds: 2, words: Words(words.clone()), fault: None });
    for output in cluster.run_job(jobs).unwrap().outputs {
        assert!(output.iter().all(|received| received.0 == words));
    }
}

#[test]
fn unencrypted_and_shaped_links_work() {
    let link = Link::Custom { megabytes_per_second: 1000.0, latency_ms: 5.0 };
    for links in [LinkType::InsecurePlaintext, LinkType::Shared] {
        let cluster = local().links(links).link(link).start().unwrap();
        let run = cluster.run_job(exchange(10, 10)).unwrap();
        assert!(run.usage.iter().all(|usage| usage.duration >= Duration::from_millis(50)), "{links}: {:?}", run.usage);
    }
}

#[test]
fn every_type_of_links_carries_and_counts_the_same() {
    let of = |links| {
        let cluster = local().links(links).start().unwrap();
        let run = cluster.run_job(exchange(5, 300_000)).unwrap();
        // Time passes differently; nothing else does.
        let counts = run.usage.map(|usage| Stats { wait_nanos: 0, ..usage.stats });
        (run.outputs, counts)
    };
    let tls = of(LinkType::Tls);
    assert!(tls.1.iter().all(|stats| stats.payload_bytes() == 5 * 2 * 8 * 300_000 && stats.rounds == 5));
    for links in [LinkType::Shared, LinkType::InsecurePlaintext] {
        assert!(of(links) == tls, "{links}");
    }
}

#[test]
fn a_party_on_shared_links_that_is_killed_is_named_at_once() {
    let cluster = local().links(LinkType::Shared).deadline(Duration::from_secs(60)).start().unwrap();
    let start = Instant::now();
    let error = interrupted(&cluster, |pids| signal(pids[1], "-KILL"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(error.to_string().contains("party 1") && error.to_string().contains("signal 9"), "{error}");
    cluster.run_job(exchange(2, 10)).unwrap();
    let pids = cluster.pids();
    drop(cluster);
    all_gone(&pids, Duration::from_secs(2));
}

#[test]
fn a_failure_at_one_party_is_one_clear_error_and_the_cluster_runs_again() {
    let cluster = local().start().unwrap();
    let cases = [
        (1, Fault::Error, FailureKind::Job, ["party 1 failed", "asked to fail"]),
        (2, Fault::Panic, FailureKind::Panic, ["asked to panic", "at step exchange5"]),
    ];
    for (party, fault, kind, texts) in cases {
        let pids = cluster.pids();
        let error = cluster.run_job(failing(party, fault)).unwrap_err();
        let message = error.to_string();
        let ClusterError::Job { party: at, job, failure, .. } = error else { panic!("{message}") };
        assert_eq!((at.index(), job.as_str(), failure.kind), (party, "self-test", kind), "{message}");
        assert!(texts.iter().all(|text| message.contains(text)), "{message}");
        all_gone(&pids, Duration::from_secs(1));
        cluster.run_job(exchange(2, 10)).unwrap();
    }
    assert_eq!(cluster.generation(), 3);
}

#[test]
fn a_party_that_exits_is_named_with_its_status() {
    let cluster = local().start().unwrap();
    let error = cluster.run_job(failing(0, Fault::Exit)).unwrap_err();
    assert!(matches!(&error, ClusterError::Died { party, .. } if party.index() == 0), "{error}");
    assert!(error.to_string().contains("exit status: 3"), "{error}");
    cluster.run_job(exchange(2, 10)).unwrap();
}

#[test]
fn a_party_that_is_killed_is_named() {
    let cluster = local().start().unwrap();
    let start = Instant::now();
    let error = interrupted(&cluster, |pids| signal(pids[1], "-KILL"));
    assert!(matches!(&error, ClusterError::Died { party, .. } if party.index() == 1), "{error}");
    assert!(error.to_string().contains("signal 9"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "well before the deadline");
    cluster.run_job(exchange(2, 10)).unwrap();
}

#[test]
fn a_party_that_is_stopped_is_named_within_the_deadline() {
    let deadline = Duration::from_secs(1);
    let cluster = local().deadline(deadline).start().unwrap();
    let start = Instant::now();
    let error = interrupted(&cluster, |pids| signal(pids[2], "-STOP"));
    let named = match &error {
        ClusterError::Silent { party, .. } => party.index() == 2,
        ClusterError::Job { failure, .. } => {
            failure.kind == FailureKind::Deadline && failure.message.contains("party 2 sent nothing")
        }
        _ => false,
    };
    assert!(named, "{error}");
    assert!(start.elapsed() < 20 * deadline, "{:?}", start.elapsed());
    cluster.run_job(exchange(2, 10)).unwrap();
}

#[test]
fn all_parties_stopped_is_silence() {
    let cluster = local().deadline(Duration::from_millis(700)).start().unwrap();
    let error = interrupted(&cluster, |pids| pids.iter().for_each(|&pid| signal(pid, "-STOP")));
    assert!(matches!(&error, ClusterError::Silent { .. }), "{error}");
}

#[test]
fn a_party_that_takes_too_long_is_a_deadline() {
    let cluster = local().deadline(Duration::from_millis(700)).start().unwrap();
    let error = cluster.run_job(failing(1, Fault::Sleep(Duration::from_secs(60)))).unwrap_err();
    let message = error.to_string();
    let ClusterError::Job { failure, .. } = error else { panic!("{message}") };
    assert_eq!(failure.kind, FailureKind::Deadline, "{message}");
    assert!(message.contains("party 1 sent nothing"), "{message}");
}

#[test]
fn a_party_that_died_between_runs_is_replaced() {
    let cluster = local().start().unwrap();
    signal(cluster.pids()[0], "-KILL");
    std::thread::sleep(Duration::from_millis(50));
    cluster.run_job(exchange(2, 10)).unwrap();
    assert_eq!(cluster.generation(), 2);
    let pids = cluster.pids();
    cluster.restart().unwrap();
    all_gone(&pids, Duration::from_secs(1));
    cluster.run_job(exchange(2, 10)).unwrap();
}

#[test]
fn several_clusters_live_side_by_side() {
    let clusters = [local().start().unwrap(), local().start().unwrap()];
    for cluster in &clusters {
        cluster.run_job(exchange(2, 10)).unwrap();
    }
}

#[test]
fn a_missing_program_is_named_with_a_hint() {
    let error = Cluster::local().program("/nowhere/cryptgpu").start().unwrap_err();
    assert!(matches!(&error, ClusterError::ProgramMissing { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/cryptgpu") && error.to_string().contains("CRYPTGPU_PROGRAM"));
}

#[test]
fn another_program_is_an_error_at_once() {
    let start = Instant::now();
    let error = local().program("/bin/false").start().unwrap_err();
    assert!(matches!(&error, ClusterError::Startup { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = local().ports([0, taken.local_addr().unwrap().port(), 0]).start().unwrap_err();
    assert!(matches!(&error, ClusterError::Startup { party, .. } if party.index() == 1), "{error}");
    assert!(error.to_string().contains("port is in use"), "{error}");
}

#[test]
fn a_party_started_by_hand_says_what_is_wrong() {
    let output = Command::new(PROGRAM).arg("party").stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
}

/// Not a test of its own: the controller that the next test kills.
#[test]
fn controller_to_be_killed() {
    if std::env::var_os("CRYPTGPU_TEST_CONTROLLER").is_none() {
        return;
    }
    let cluster = local().start().unwrap();
    println!("pids {}", cluster.pids().iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    let _ = cluster.run_job(long());
}

#[test]
fn parties_die_with_their_controller() {
    let mut controller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run::controller_to_be_killed", "--nocapture"])
        .env("CRYPTGPU_TEST_CONTROLLER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(controller.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.contains("pids ")).unwrap();
    let numbers = line.split("pids ").nth(1).unwrap();
    let pids: Vec<u32> = numbers.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| exists(pid)));
    controller.kill().unwrap();
    controller.wait().unwrap();
    all_gone(&pids, Duration::from_secs(2));
}
