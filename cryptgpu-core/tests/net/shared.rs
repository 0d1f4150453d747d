//! Links through shared memory: who is at the other end, and what a process that is killed does to the others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::shared_configs;
use cryptgpu_core::net::shared::Config;
use cryptgpu_core::net::{NetError, Network, Options, PartyId, SharedNetwork, Tag};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };
const LONG: usize = 1 << 20;

fn quick() -> Options {
    Options { deadline: Duration::from_secs(20), ..Options::default() }
}

fn connect(configs: Vec<Config>) -> Vec<Result<SharedNetwork, NetError>> {
    let threads: Vec<_> =
        configs.into_iter().map(|config| std::thread::spawn(|| SharedNetwork::connect(config))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn parties_of_another_session_do_not_meet() {
    let mut configs = shared_configs(&[&quick(); 3]);
    configs.iter_mut().for_each(|config| config.connect_within = Duration::from_millis(300));
    configs[2].session = [9; 16];
    let errors: Vec<_> = connect(configs.into()).into_iter().map(|outcome| outcome.unwrap_err()).collect();
    for error in &errors {
        assert!(matches!(error, NetError::Setup { .. }), "{error}");
    }
    assert!(errors[0].to_string().contains("party 2"), "{}", errors[0]);
}

#[test]
fn a_party_that_is_missing_is_named() {
    let mut configs = shared_configs(&[&quick(); 3]);
    configs.iter_mut().for_each(|config| config.connect_within = Duration::from_millis(300));
    let [p0, p1, _p2] = configs;
    for outcome in connect(vec![p0, p1]) {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("party 2") && error.contains("on this machine"), "{error}");
    }
}

#[test]
fn a_party_cannot_be_there_twice() {
    let configs = shared_configs(&[&quick(); 3]);
    let mut second = configs[0].clone();
    second.connect_within = Duration::from_millis(300);
    let parties: Vec<_> = connect(configs.to_vec()).into_iter().map(Result::unwrap).collect();
    let error = connect(vec![second]).remove(0).unwrap_err();
    assert!(matches!(error, NetError::Setup { .. }), "the others do not listen any more: {error}");
    parties[0].send(PartyId::P1, TAG, vec![1]).unwrap();
    assert_eq!(parties[1].recv(PartyId::P0, TAG, 1).unwrap(), [1]);
}

/// Not a test of its own: party 0 in a process, which links up, sends the messages of its test, and waits to be killed.
#[test]
fn party_0_of_three() {
    let Ok(session) = std::env::var("CRYPTGPU_TEST_SHARED") else { return };
    let [mut config, ..] = shared_configs(&[&quick(); 3]);
    let mut bytes = session.split(',').map(|byte| byte.parse().unwrap());
    config.session = std::array::from_fn(|_| bytes.next().unwrap());
    let net = SharedNetwork::connect(config).unwrap();
    net.send(PartyId::P1, TAG, vec![7; 1000]).unwrap();
    println!("\nlinked");
    // There is nearly always a message that has begun and not ended: the next is sent before the one before is answered.
    for number in 0.. {
        net.send(PartyId::P1, TAG, vec![8; LONG]).unwrap();
        if number > 0 {
            net.recv(PartyId::P1, TAG, 0).unwrap();
        }
    }
}

fn party_0(session: [u8; 16]) -> Child {
    let session: Vec<String> = session.iter().map(u8::to_string).collect();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shared::party_0_of_three", "--nocapture"])
        .env("CRYPTGPU_TEST_SHARED", session.join(","))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The sockets by which a party of a session is found or was found, as the system lists them.
fn sockets_of(party: PartyId, session: [u8; 16]) -> usize {
    let digest = Sha256::new().chain_update(b"cryptgpu shared links").chain_update(session).finalize();
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    sockets.lines().filter(|line| line.ends_with(&format!("@cryptgpu-{digits}-{party}"))).count()
}

#[test]
fn a_process_that_is_killed_in_the_middle_of_a_message_is_named_at_once() {
    let [config, p1, p2] = shared_configs(&[&quick(); 3]);
    let mut child = party_0(config.session);
    let parties: Vec<_> = connect(vec![p1, p2]).into_iter().map(Result::unwrap).collect();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line == "linked").unwrap();
    assert_eq!(parties[0].recv(PartyId::P0, TAG, 1000).unwrap(), [7; 1000]);
    assert!(sockets_of(PartyId::P0, config.session) > 0);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = parties
            .iter()
            .map(|net| {
                scope.spawn(move || {
                    let error = loop {
                        // Party 1 gets whole messages until the one in which party 0 ends; party 2 none.
                        let received = net.recv(PartyId::P0, TAG, LONG);
                        match received.and_then(|words| Ok((words, net.send(PartyId::P0, TAG, vec![])?))) {
                            Ok((words, ())) => assert!(words.iter().all(|&word| word == 8)),
                            Err(error) => break error,
                        }
                    };
                    (error, Instant::now())
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        for thread in waiting {
            let (error, noticed) = thread.join().unwrap();
            assert!(matches!(error, NetError::PeerClosed { peer: PartyId::P0, .. }), "{error}");
            assert!(error.to_string().contains("the process at the other end has died"), "{error}");
            assert!(noticed - killed < Duration::from_secs(5), "noticed after {:?}", noticed - killed);
        }
    });
    // A send finds the link down too, and the link between the others is as it was.
    assert!(parties[0].send(PartyId::P0, TAG, vec![1]).is_err());
    parties[0].send(PartyId::P2, TAG, vec![1, 2]).unwrap();
    assert_eq!(parties[1].recv(PartyId::P1, TAG, 2).unwrap(), [1, 2]);
    assert_eq!(sockets_of(PartyId::P0, config.session), 0);
    assert!(sockets_of(PartyId::P1, config.session) > 0, "the others are still linked");
}
