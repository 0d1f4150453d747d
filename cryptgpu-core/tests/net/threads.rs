//! Links leave no thread behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{GaveUp, Identity, Network, Options, PartyId, Tag, TcpNetwork};
use std::time::{Duration, Instant};

fn transport_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    // This program is called `net-…` itself, and with it its first thread.
    names.filter(|name| PartyId::ALL.iter().any(|party| name.trim_end() == format!("net-{party}"))).count()
}

/// Waits until the number of transport threads is as wanted: a thread gives itself its name, and leaves, after its parent went on.
fn threads_come_to(wanted: usize) {
    let until = Instant::now() + Duration::from_secs(5);
    while transport_threads() != wanted && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(transport_threads(), wanted);
}

/// In a process of its own, so that only its threads count.
#[test]
fn no_thread_is_left_after_good_and_bad_ends() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "threads::no_thread_is_left_in_a_process_without_other_tests", "--nocapture"])
        .env("CRYPTGPU_TEST_THREADS", "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
}

/// Not a test of its own: what the test above starts.
#[test]
fn no_thread_is_left_in_a_process_without_other_tests() {
    if std::env::var_os("CRYPTGPU_TEST_THREADS").is_none() {
        return;
    }
    for abort in [false, true] {
        let identities = PartyId::ALL.map(|_| Identity::generate().unwrap());
        let peers = identities.each_ref().map(Identity::fingerprint);
        let listeners = PartyId::ALL.map(|id| tcp::listen(id, "127.0.0.1:0".parse().unwrap()).unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
        let parties: Vec<_> = listeners
            .into_iter()
            .zip(identities)
            .zip(PartyId::ALL)
            .map(|((listener, identity), id)| Config {
                id,
                listener,
                addresses: addresses.clone(),
                security: Security::Tls { identity, peers },
                session: [1; 16],
                connect_within: Duration::from_secs(5),
                options: Options::default(),
            })
            .map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()))
            .collect();
        let parties: Vec<TcpNetwork> = parties.into_iter().map(|thread| thread.join().unwrap()).collect();
        threads_come_to(3);
        parties[0].send(parties[1].id(), Tag { position: 0, kind: 0 }, vec![1; 1_000_000]).unwrap();
        if abort {
            parties[0].abort(GaveUp::Ended);
        }
        drop(parties);
        threads_come_to(0);
    }
}
