//! Links over TCP and local sockets: who is at the other end. What they carry is in `streams`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{configs, over_tcp};
use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{Identity, NetError, Options, PartyId, TcpNetwork};
use std::time::Duration;

fn quick() -> Options {
    Options { deadline: Duration::from_secs(2), ..Options::default() }
}

fn link_up(configs: [Config; 3]) -> [Result<TcpNetwork, NetError>; 3] {
    configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config))).map(|thread| thread.join().unwrap())
}

/// Links up with something changed, by local sockets and by TCP; all three must fail to, with an error of set-up that says `why`.
fn refused(why: &str, change: impl Fn(&mut [Config; 3])) {
    for tcp in [false, true] {
        let mut configs = configs(&quick(), false);
        if tcp {
            over_tcp(&mut configs);
        }
        configs.iter_mut().for_each(|config| config.connect_within = Duration::from_millis(700));
        change(&mut configs);
        let errors = link_up(configs).map(|outcome| outcome.err());
        for error in errors.iter().flatten() {
            assert!(matches!(error, NetError::Setup { .. }), "{error}");
        }
        assert!(errors.iter().flatten().count() >= 2, "{errors:?}");
        let said = errors.into_iter().flatten().map(|error| error.to_string()).collect::<Vec<_>>().join("\n");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_wrong_certificate_is_refused() {
    refused("same certificates", |configs| {
        let Security::Tls { identity, .. } = &mut configs[2].security else { panic!("TLS is the default") };
        *identity = Identity::generate().unwrap();
    });
}

#[test]
fn another_partys_certificate_is_refused() {
    refused("certificate", |configs| {
        let Security::Tls { identity: first, .. } = configs[1].security.clone() else { panic!("TLS is the default") };
        let Security::Tls { identity, .. } = &mut configs[2].security else { panic!("TLS is the default") };
        *identity = first;
    });
}

#[test]
fn another_session_is_refused() {
    refused("session", |configs| configs[0].session = [8; 16]);
}

#[test]
fn plaintext_does_not_talk_to_tls() {
    refused("", |configs| configs[0].security = Security::InsecurePlaintext);
}

#[test]
fn a_party_that_is_missing_is_named() {
    let [mut p0, mut p1, p2] = configs(&quick(), false);
    drop(p2);
    p0.connect_within = Duration::from_millis(300);
    p1.connect_within = Duration::from_millis(300);
    let threads = [p0, p1].map(|config| std::thread::spawn(|| TcpNetwork::connect(config)));
    for thread in threads {
        let error = thread.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("party 2"), "{error}");
    }
}

#[test]
fn strangers_do_not_keep_the_parties_apart() {
    use std::io::Write;
    let configs = configs(&quick(), false);
    let mut strangers = configs[0].addresses.clone().map(|address| std::net::TcpStream::connect(address).unwrap());
    strangers[1].write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    for outcome in link_up(configs) {
        outcome.unwrap();
    }
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = tcp::listen(PartyId::P1, taken.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, NetError::Setup { .. }));
    assert!(error.to_string().contains("in use"), "{error}");
}
