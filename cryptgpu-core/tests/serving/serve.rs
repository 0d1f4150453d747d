//! A saved model is served by three processes to clients that share their images and open the scores alone.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::{RINGS, Served, digits, far, plaintext_scores, tolerance};
use cryptgpu_core::cluster::{Client, Cluster, ClusterError, Service, Serving, ServingError};
use cryptgpu_core::net::Identity;
use cryptgpu_core::ring::Ring;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Several clients at once get the scores of their own images, in batches.
fn several_clients_at_once(ring: Ring) {
    let served = Served::start("several", ring, Service { linger: Duration::from_millis(50), ..Service::default() });
    let images = digits(0..24);
    let expected = plaintext_scores(&images);
    let [first, ..] = served.client().input_shape();
    assert_eq!((first, served.client().network()), (1, "lenet"));
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (served, expected) = (&served, &expected);
            scope.spawn(move || {
                let mut client = served.client();
                // Requests of other sizes than the others'.
                for (from, count) in [(at, 1), (2 * at, 3), (3 * at, 1 + at)] {
                    let scores = client.infer(&digits(from..from + count)).unwrap();
                    let rows = ndarray::Slice::from(from..from + count);
                    let own = expected.slice_axis(ndarray::Axis(0), rows).to_owned();
                    let far = far(&scores, &own);
                    assert!(far < tolerance(ring), "{ring}, client {at}, from {from}: {far:.1e}");
                }
            });
        }
    });
    let counts = served.hears(|told| match told {
        Serving::Served(counts) if counts.requests == 12 => Some(counts),
        _ => None,
    });
    assert_eq!((counts.images, counts.given_up), (4 + 12 + 10, 0));
    assert!(counts.batches < 12, "several went into a batch: {counts}");
    assert!(counts.to_string().starts_with("12 requests of 26 images in"), "{counts}");

    let mut client = served.client();
    let error = client.infer(&digits(0..17)).unwrap_err().to_string();
    assert!(error.contains("17 images are more than the 16"), "{error}");
    let error = client.infer(&ndarray::Array4::<f64>::zeros((1, 3, 28, 28))).unwrap_err().to_string();
    assert!(error.contains("lenet takes images [batch, [1, 28, 28]]"), "{error}");
    client.infer(&digits(0..1)).unwrap();
    // Somebody whom the service does not know; and a party that is another one.
    let stranger = Client::connect(&served.file, &Identity::generate().unwrap()).unwrap_err();
    assert!(matches!(stranger, ServingError::Unreachable { .. } | ServingError::Closed { .. }), "{stranger}");
    let mut swapped = served.file.clone();
    swapped.parties.swap(0, 1);
    let error = Client::connect(&swapped, &served.identity).unwrap_err().to_string();
    assert!(error.contains("in order"), "{error}");
    let mut other = served.file.clone();
    other.parties[2].1 = Identity::generate().unwrap().fingerprint();
    let error = Client::connect(&other, &served.identity).unwrap_err();
    assert!(error.to_string().contains("party 2"), "{error}");
    served.end();
}

#[test]
fn several_clients_at_once_get_the_scores_of_their_own_images_in_batches() {
    several_clients_at_once(Ring::Z64);
}

#[test]
fn several_clients_at_once_get_the_scores_of_their_own_images_in_32_bits() {
    several_clients_at_once(Ring::Z32);
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_starts() {
    let cluster = Cluster::in_memory().start().unwrap();
    let clients = vec![Identity::generate().unwrap().fingerprint()];
    let service = Service { clients, ..Service::default() };
    let refused = |cluster: &Cluster, service: &Service, says: &str| {
        let error = cluster.serve("nothing", service, |_| ()).unwrap_err();
        assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains(says), "{error}");
    };
    refused(&cluster, &service, "party 0 has nothing saved as `nothing`");
    refused(&cluster, &Service::default(), "no client is named");
    refused(&cluster, &Service { batch: 0, ..service.clone() }, "batches of 0 images");
    refused(&cluster, &Service { queue: 0, ..service.clone() }, "a queue of 0");
}

/// In the ring of 32 bits ranges are checked unless somebody says otherwise. Whoever sends what leaves the range hears of it; those whose
/// requests were in its batch get their scores.
#[test]
fn images_that_leave_the_range_have_no_scores_and_hurt_nobody() {
    let service = Service { linger: Duration::from_millis(300), ..Service::default() };
    let served = Served::start("ranges", Ring::Z32, service);
    let expected = plaintext_scores(&digits(0..4));
    std::thread::scope(|scope| {
        let good = scope.spawn(|| served.client().infer(&digits(0..4)).unwrap());
        let mut client = served.client();
        for _ in 0..2 {
            let error = client.infer(&(digits(4..6) * 10_000.0)).unwrap_err();
            assert!(matches!(error, ServingError::LeftRange { .. }), "{error}");
        }
        assert!(far(&good.join().unwrap(), &expected) < tolerance(Ring::Z32));
        assert!(far(&client.infer(&digits(0..4)).unwrap(), &expected) < tolerance(Ring::Z32));
    });
    let counts = served.hears(|told| match told {
        Serving::Served(counts) if counts.requests == 2 => Some(counts),
        _ => None,
    });
    assert_eq!((counts.images, counts.given_up), (8, 2), "{counts}");
    served.end();
}

#[test]
fn the_program_serves_and_requests_in_both_rings() {
    RINGS.into_iter().for_each(the_program_serves);
}

fn the_program_serves(ring: Ring) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let cryptgpu = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
        command.args(arguments.split_whitespace()).current_dir(folder.path());
        command.env("CRYPTGPU_SAVED", at("saved"));
        command
    };
    cryptgpu_datasets::npy::write(Path::new(&at("x.npy")), &digits(0..5)).unwrap();
    assert!(cryptgpu("keygen --out . --name lab").output().unwrap().status.success());
    let ring_of = format!("--ring {}", ring.bits());
    let add = format!("saved add digits --model lenet --parties threads {ring_of}");
    assert!(cryptgpu(&add).output().unwrap().status.success());
    let listen = "--listen 127.0.0.1:0,127.0.0.1:0,127.0.0.1:0";
    let mut service =
        cryptgpu(&format!("serve digits --client lab.crt --service s.toml --batch 2 --threads 1 {listen} {ring_of}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut says = BufReader::new(service.stderr.take().unwrap()).lines();
    let line = says.next().unwrap().unwrap();
    assert!(line.contains("`digits` is served at 127.0.0.1:"), "{line}");
    let request = "request --service s.toml --key lab.key --certificate lab.crt --input x.npy --output y.npy";
    let done = cryptgpu(request).output().unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success() && out.contains("5 images by lenet"), "{out}{err}");
    let scores = cryptgpu_datasets::npy::read(Path::new(&at("y.npy"))).unwrap();
    assert!(far(&scores, &plaintext_scores(&digits(0..5))) < tolerance(ring));
    let line = says.find(|line| line.as_ref().is_ok_and(|line| line.contains("requests of"))).unwrap().unwrap();
    assert!(line.contains("batches"), "{line}");
    service.kill().unwrap();
    service.wait().unwrap();
    let done = cryptgpu(request).output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success() && err.contains("cannot reach party 0"), "{err}");
}
