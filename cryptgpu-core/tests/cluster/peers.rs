//! What the other parties hear of a party that fails: a word of a fixed vocabulary, the same for every secret. The
//! caller hears the message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{in_memory, local};
use cryptgpu_core::cluster::{Cluster, OnlyAt, Plain, Result};
use cryptgpu_core::device::Tensor;
use cryptgpu_core::mpc::{MpcError, Party, Side};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{SharedModel, Weights, private, range, zoo};
use ndarray::{ArrayD, arr0};
use std::path::Path;

/// How party 0 fails, what its peers hear, and what the caller hears.
const FAILURES: &[(&str, &str, &str)] = &[
    ("encode", "what it brings cannot be read or encoded", "cannot encode the value"),
    ("image", "what it brings cannot be read or encoded", "tensor `input`"),
    ("names of tensors", "what it brings cannot be read or encoded", "SECRET"),
    ("weight", "what it brings cannot be read or encoded", "NaN"),
    ("path", "what it brings cannot be read or encoded", "SECRET"),
    ("range", "what it brings cannot be read or encoded", "20 fraction bits"),
    ("device", "its device failed or refused an operation", "[1]"),
    ("error", "its program failed", "SECRET"),
    ("error in a step that is named by it", "its program failed", "SECRET"),
    ("panic", "its program panicked", "SECRET"),
    ("assertion", "its program panicked", "SECRET"),
    ("argument", "its arguments could not be read", "cannot read an argument"),
];

/// A secret that cannot be read at a party, where the error shows it.
#[derive(serde::Serialize)]
struct Picky(f64);

impl<'de> serde::Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let value = f64::deserialize(from)?;
        let at_a_party = std::thread::current().name() == Some("P0")
            || std::env::args().nth(1).is_some_and(|a| a == "--cryptgpu-party");
        match at_a_party && value > 0.0 {
            true => Err(serde::de::Error::custom(format!("{value} is refused"))),
            false => Ok(Picky(value)),
        }
    }
}

type Arguments = (String, String, Option<f64>, Option<Plain<Picky>>);

fn fails(p: &mut Party, (how, dir, secret, _): Arguments) -> Result<()> {
    let Some(secret) = secret else {
        let side = if p.id() == PartyId::P1 { Side::Prev } else { Side::Next };
        let heard = p.step("wait", |p| p.receive_integers::<u64>(side, 1)).expect_err("party 0 sends nothing");
        std::fs::write(Path::new(&dir).join(p.id().to_string()), format!("{heard}\n{heard:?}"))?;
        return Err(heard.into());
    };
    let lenet = || zoo::by_name("lenet");
    let image = |value| ArrayD::from_elem(vec![1, 1, 28, 28], value);
    match how.as_str() {
        "encode" => p.codec().encode_array(&arr0(secret)).map(drop)?,
        "image" => private::share_images(p, &lenet()?, PartyId::P0, Some(image(secret).view()), 1).map(drop)?,
        "names of tensors" | "weight" => {
            let mut weights = Weights::seeded(&lenet()?, secret as u64);
            let (name, tensor) = match how.as_str() {
                "weight" => ("conv1.bias".to_owned(), ArrayD::from_elem(vec![20], f32::NAN)),
                _ => (secret.to_string(), ArrayD::zeros(vec![1])),
            };
            weights.insert(name, tensor);
            weights.check(&lenet()?)?;
            SharedModel::share(p, &lenet()?, PartyId::P0, Some(weights), Default::default()).map(drop)?;
        }
        "path" => drop(Weights::load(format!("/nowhere/{secret}"))?),
        "range" => {
            let weights = Weights::seeded(&lenet()?, 1);
            range::check(&lenet()?, &weights, Some(image(secret).view()), &Default::default()).map(drop)?;
        }
        "device" => {
            let words = vec![0; (secret / 1e13) as usize];
            Tensor::new(p.device().upload(words), &[1]).map_err(MpcError::from)?;
        }
        "error" => return Err(format!("{secret} is not allowed").into()),
        "error in a step that is named by it" => {
            p.step(&format!("step {secret}"), |_| -> Result<()> { Err(format!("{secret} is not allowed").into()) })?;
        }
        "panic" => panic!("{secret} is not allowed"),
        "assertion" => assert_eq!(secret, 1.0),
        _ => {}
    }
    Ok(())
}

/// What parties 1 and 2 hear, and what the caller does.
fn hear(cluster: &Cluster, how: &str, secret: f64) -> ([String; 2], String) {
    let dir = tempfile::tempdir().unwrap();
    let picky = Plain(Picky(if how == "argument" { secret } else { 0.0 }));
    let own = OnlyAt(PartyId::P0, secret);
    let arguments = (how, dir.path().to_str().unwrap(), own, OnlyAt(PartyId::P0, picky));
    let caller = cluster.run(fails, arguments).expect_err(how).to_string();
    ([1, 2].map(|party| std::fs::read_to_string(dir.path().join(party.to_string())).unwrap()), caller)
}

fn the_same_is_heard(cluster: &Cluster, failures: &[(&str, &str, &str)]) {
    for (how, word, message) in failures {
        let secrets = [987654321098765.3, 123456789012345.5];
        let [one, other] = secrets.map(|secret| hear(cluster, how, secret));
        assert_eq!(one.0, other.0, "{how}");
        for heard in &one.0 {
            assert!(heard.contains(&format!("party 0 gave up: {word}")), "{how}: {heard}");
        }
        for (secret, (_, caller)) in secrets.iter().zip([one, other]) {
            assert!(caller.contains(&message.replace("SECRET", &secret.to_string())), "{how}: {caller}");
        }
    }
}

#[test]
fn peers_hear_the_same_whatever_the_secret() {
    the_same_is_heard(&in_memory().start().unwrap(), FAILURES);
}

#[test]
fn peers_in_other_processes_hear_the_same_whatever_the_secret() {
    let some: Vec<_> = FAILURES.iter().filter(|(how, ..)| matches!(*how, "image" | "panic")).copied().collect();
    the_same_is_heard(&local().start().unwrap(), &some);
}
