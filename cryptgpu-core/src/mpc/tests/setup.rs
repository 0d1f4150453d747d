//! Agreement on keys, and where an error says that it happened.

use crate::device::{DeviceError, Tensor};
use crate::mpc::{MpcError, World, agree_on_keys, cost, message_kind};
use crate::net::{Network, Options, memory};
use std::error::Error;

#[test]
fn neighbours_agree_on_keys_that_nobody_else_has() {
    let nets = memory::trio_with(Options::default(), None);
    let parties = std::thread::scope(|scope| {
        let parties = nets.map(|net| {
            scope.spawn(move || {
                let keys = agree_on_keys(&net).unwrap();
                (keys, net.endpoint().stats())
            })
        });
        parties.map(|party| party.join().unwrap())
    });
    let keys = parties.each_ref().map(|(keys, _)| keys);
    for i in 0..3 {
        assert_eq!(keys[i].with_next.expose(), keys[(i + 1) % 3].with_prev.expose());
        assert_eq!(keys[i].common.expose(), keys[0].common.expose());
        let others = [keys[(i + 1) % 3], keys[(i + 2) % 3]];
        let mine = [&keys[i].with_prev, &keys[i].with_next, &keys[i].common, &keys[i].own];
        assert!(others.iter().all(|other| mine.iter().all(|key| key.expose() != other.own.expose())));
        assert_ne!(keys[i].with_prev.expose(), keys[i].with_next.expose());
        assert_ne!(keys[i].with_prev.expose(), keys[i].common.expose());
    }
    let declared = cost::key_agreement();
    assert_eq!((declared.bytes, declared.rounds), (80, 1));
    assert_eq!(parties.iter().map(|(_, stats)| stats.payload_bytes()).sum::<u64>(), declared.bytes);
    assert_eq!(parties.iter().map(|(_, stats)| stats.rounds).max(), Some(declared.rounds));
}

#[test]
fn every_kind_of_message_has_its_own_number_and_name() {
    let named = (1..).map(message_kind).take_while(|name| name != "unknown").collect::<Vec<_>>();
    let distinct: std::collections::HashSet<_> = named.iter().collect();
    assert_eq!(distinct.len(), named.len());
    for name in ["key of two parties", "key of all three parties", "self-test of the links"] {
        assert!(named.iter().any(|found| found == name), "{name}");
    }
}

/// Two shapes that do not fit, as the error of a protocol.
fn misfit(p: &mut crate::mpc::Party) -> Result<(), MpcError> {
    let [two, three] = [2, 3].map(|n| Tensor::full(p.device(), &[n], 0));
    two.add(&three).map(drop)?;
    Ok(())
}

#[test]
fn a_step_adds_party_and_innermost_step_once() {
    type BoxError = Box<dyn Error + Send + Sync>;
    let [_, plain, _] = World::seeded(1).run(|p| p.step("outer", |p| p.step("inner", misfit)));
    let [_, boxed, _] =
        World::seeded(1).run(|p| p.step("outer", |p| p.step("inner", |p| Ok::<_, BoxError>(misfit(p)?))));
    let boxed = *boxed.unwrap_err().downcast::<MpcError>().unwrap();
    for error in [plain.unwrap_err(), boxed] {
        assert_eq!(error.step(), "outer/inner");
        assert!(error.to_string().starts_with("party 1, step outer/inner: "), "{error}");
        assert!(error.source().unwrap().is::<DeviceError>(), "the cause stays in the chain");
    }
    let [_, outside, _] = World::seeded(1).run(misfit);
    assert_eq!(outside.unwrap_err().step(), "");
    // An argument that a protocol refuses, and a value that does not fit the ring.
    let [_, refused, _] = World::seeded(1).run(|p| {
        let x = crate::mpc::Rep::public(p.id(), &Tensor::full(p.device(), &[2], 0));
        let argument = p.step("cut", |p| p.truncate(&x, 62)).unwrap_err();
        [argument, p.step("scale", |p| p.add_scalar(&x, 1e300)).unwrap_err()]
    });
    for (error, step) in refused.iter().zip(["cut", "scale"]) {
        assert!(error.to_string().starts_with(&format!("party 1, step {step}: ")), "{error}");
    }
}

#[test]
fn a_public_scalar_is_added_at_the_codecs_scale() {
    let world = World::seeded(1);
    let codec = world.settings.codec;
    let x = world.deal(&codec.encode_array(&ndarray::array![1.0, -2.5]).unwrap());
    let [y, ..] = world.run(|p| {
        let y = p.add_scalar(&x[p.id().index()], 1.5)?;
        p.open(&y)
    });
    let y = codec.decode_array(&y.unwrap().to_array().unwrap());
    assert_eq!(y, ndarray::array![2.5, -1.0].into_dyn());
}
