//! Laws of Philox that need no oracle: random access, jumps, state import, the traits of rand_core, and
//! its use by the protocols.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::prg::philox::{
    Choice, Entropy, Generator, InsecurePhilox, Int256, Philox, PhiloxState, PhiloxStream, SeedSequence,
};
use cryptgpu_core::prg::{Correlated, Key, Keys, PrgError, Randomness};
use ndarray::Axis;
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Counters with many words about to carry.
fn counters() -> impl Strategy<Value = [u64; 4]> {
    let word = || prop_oneof![any::<u64>(), (0u64..200).prop_map(|below| u64::MAX - below)];
    [word(), word(), word(), word()]
}

fn philox(key: u128, counter: [u64; 4]) -> Philox {
    Philox::builder().key(key).counter(counter).build().unwrap()
}

fn raw(philox: &mut Philox, n: usize) -> Vec<u64> {
    (0..n).map(|_| philox.random_raw()).collect()
}

proptest! {
    #[test]
    fn bulk_fills_are_single_draws(
        key: u128, counter in counters(), before in 0usize..9, n in 0usize..400, halves in 0usize..3,
    ) {
        let mut one = philox(key, counter);
        raw(&mut one, before);
        (0..halves).for_each(|_| { one.random_u32(); });
        let (mut bulk, mut out) = (one.clone(), vec![1; n]);
        bulk.fill_raw(&mut out);
        prop_assert_eq!(out, raw(&mut one, n));
        prop_assert_eq!(bulk.state(), one.state());
    }

    #[test]
    fn any_range_of_a_stream_is_at_its_place(key: u128, counter in counters(), offset in 0usize..900, n in 0usize..900) {
        let mut philox = philox(key, counter);
        let stream = philox.stream();
        let (mut out, mut parallel) = (vec![1; n], vec![2; n]);
        stream.fill(offset as u64, &mut out);
        stream.fill_parallel(offset as u64, &mut parallel);
        prop_assert_eq!(&out, &raw(&mut philox, offset + n)[offset..]);
        prop_assert_eq!(out, parallel);
    }

    #[test]
    fn advancing_adds(key: u128, counter in counters(), a in counters(), b in counters(), n in 0u64..50) {
        let (a, b) = (Int256::from_words(a), Int256::from_words(b));
        let mut twice = philox(key, counter);
        twice.advance(a);
        twice.advance(b);
        let mut once = philox(key, counter);
        once.advance(a.wrapping_add(b));
        prop_assert_eq!(once.state(), twice.state());
        // Advancing by blocks is drawing them, and going back undoes it.
        let (mut drawn, mut advanced) = (once.clone(), once.clone());
        raw(&mut drawn, 4 * n as usize);
        advanced.advance(n);
        prop_assert_eq!(raw(&mut drawn, 5), raw(&mut advanced, 5));
        advanced.advance(-(n as i64) - 2);
        prop_assert_eq!(advanced.state(), once.state());
    }

    #[test]
    fn jumps_add_two_to_the_128(key: u128, counter in counters(), jumps in -1000i64..1000) {
        let philox = philox(key, counter);
        let mut by_hand = philox.clone();
        by_hand.advance(Int256::from_words([0, 0, jumps as u64, if jumps < 0 { u64::MAX } else { 0 }]));
        prop_assert_eq!(philox.jumped(jumps).state(), by_hand.state());
    }

    #[test]
    fn integers_of_any_length_are_read(words in prop::collection::vec(any::<u32>(), 1..20)) {
        let hex: String = words.iter().rev().map(|w| format!("{w:08x}")).collect();
        let entropy: Entropy = format!("0x{hex}").parse().unwrap();
        let mut minimal = words.clone();
        while minimal.len() > 1 && minimal.last() == Some(&0) {
            minimal.pop();
        }
        prop_assert_eq!(entropy.words(), &minimal);
    }

    #[test]
    fn integers_stay_in_their_range(seed: u64, a: i16, b: i16, c: u64, d: u64) {
        let mut rng = Generator::seeded(seed);
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(rng.integers(low..=high, 50).unwrap().iter().all(|x| (low..=high).contains(x)));
        let (low, high) = (c.min(d), c.max(d));
        prop_assert!(rng.integers(low..=high, 50).unwrap().iter().all(|x| (low..=high).contains(x)));
        prop_assert!(rng.random(50).iter().all(|x| (0.0..1.0).contains(x)));
        prop_assert!(rng.random_f32(50).iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn states_survive_json_and_postcard(
        counter: [u64; 4], key: [u64; 2], buffer: [u64; 4], buffer_pos in 0usize..=4, has_uint32: bool, uinteger: u32,
    ) {
        let state = PhiloxState { counter, key, buffer, buffer_pos, has_uint32, uinteger };
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<PhiloxState>(&json).unwrap(), state);
        let bytes = postcard::to_stdvec(&state).unwrap();
        prop_assert_eq!(postcard::from_bytes::<PhiloxState>(&bytes).unwrap(), state);
        prop_assert_eq!(Philox::from_state(state).unwrap().state(), state);
    }

    #[test]
    fn bytes_that_are_no_state_are_errors_or_usable(bytes in prop::collection::vec(any::<u8>(), 0..150)) {
        if let Ok(state) = postcard::from_bytes::<PhiloxState>(&bytes) {
            usable(state);
        }
        prop_assert!(serde_json::from_slice::<PhiloxState>(&bytes).is_err());
    }

    /// Damages one place of a good state in every way that JSON has.
    #[test]
    fn damaged_states_are_errors_or_usable(place in 0usize..17, damage in damages(), also in 0usize..17) {
        let mut value = serde_json::to_value(Philox::seeded(1u64).state()).unwrap();
        let expected_error = apply(&mut value, place, &damage);
        match serde_json::from_value::<PhiloxState>(value.clone()) {
            Ok(state) => {
                prop_assert!(!expected_error, "{} was taken", value);
                usable(state);
                let back = serde_json::to_value(state).unwrap();
                prop_assert_eq!(back, value);
            }
            Err(_) => {
                apply(&mut value, also, &damage);
                let _ = serde_json::from_value::<PhiloxState>(value);
            }
        }
    }
}

/// A generator in this state draws.
fn usable(state: PhiloxState) {
    let mut rng = Generator::new(Philox::from_state(state).unwrap());
    raw(rng.bit_generator_mut(), 9);
    rng.bit_generator_mut().random_u32();
    rng.standard_normal(9);
}

#[derive(Clone, Debug)]
enum Damage {
    Replace(Value),
    Remove,
    Add(Value),
}

fn damages() -> impl Strategy<Value = Damage> {
    let value = || {
        prop_oneof![
            any::<u64>().prop_map(|x| json!(x)),
            any::<i64>().prop_map(|x| json!(x)),
            (0u64..8).prop_map(|x| json!(x)),
            any::<f64>().prop_map(|x| json!(x)),
            any::<bool>().prop_map(|x| json!(x)),
            "[a-zP]{0,7}".prop_map(|x| json!(x)),
            prop::collection::vec(any::<u64>(), 0..6).prop_map(|x| json!(x)),
            Just(Value::Null),
            Just(json!({})),
        ]
    };
    prop_oneof![value().prop_map(Damage::Replace), Just(Damage::Remove), value().prop_map(Damage::Add)]
}

/// Damages the `place`-th place if it is there, and says whether the result can only be an error:
/// the oracle is the shape of NumPy's dictionary, written out again.
fn apply(value: &mut Value, place: usize, damage: &Damage) -> bool {
    const PLACES: [&str; 17] = [
        "/bit_generator",
        "/state",
        "/buffer",
        "/buffer_pos",
        "/has_uint32",
        "/uinteger",
        "/state/counter",
        "/state/key",
        "/state/counter/0",
        "/state/counter/3",
        "/state/key/0",
        "/state/key/1",
        "/buffer/0",
        "/buffer/1",
        "/buffer/2",
        "/buffer/3",
        "",
    ];
    let path = PLACES[place];
    match damage {
        Damage::Replace(new) => {
            let Some(old) = value.pointer_mut(path) else { return true };
            *old = new.clone();
            let word = |least: u64, most: u64| new.as_u64().is_some_and(|x| (least..=most).contains(&x));
            let words = |n: usize| new.as_array().is_some_and(|list| list.len() == n);
            !match place {
                0 => new == "Philox",
                2 | 6 => words(4),
                3 => word(0, 4),
                4 => word(0, 1),
                5 => word(0, u32::MAX.into()),
                7 => words(2),
                8..=15 => word(0, u64::MAX),
                _ => false,
            }
        }
        Damage::Remove => {
            let Some((parent, name)) = path.rsplit_once('/') else { return false };
            match value.pointer_mut(parent) {
                Some(Value::Object(fields)) => fields.remove(name).is_some(),
                Some(Value::Array(items)) => items.pop().is_some(),
                _ => true,
            }
        }
        Damage::Add(new) => match value.pointer_mut(path) {
            Some(Value::Object(fields)) => fields.insert("extra".to_owned(), new.clone()).is_none(),
            Some(Value::Array(items)) => {
                items.push(new.clone());
                true
            }
            _ => false,
        },
    }
}

#[test]
fn errors_name_the_field_and_the_old_state_stays() {
    let good = serde_json::to_value(Philox::seeded(1u64).state()).unwrap();
    let bad = [
        ("bit_generator", json!("PCG64")),
        ("buffer_pos", json!(5)),
        ("has_uint32", json!(2)),
        ("uinteger", json!(1u64 << 32)),
    ];
    for (field, wrong) in bad {
        let mut value = good.clone();
        value[field] = wrong;
        let why = serde_json::from_value::<PhiloxState>(value).unwrap_err().to_string();
        assert!(why.contains(field), "{why}");
    }
    let mut philox = Philox::seeded(1u64);
    let before = philox.state();
    assert!(philox.set_state(PhiloxState { buffer_pos: 7, ..before }).is_err());
    assert_eq!(philox.state(), before);
}

#[test]
fn arguments_without_meaning_are_errors() {
    let seeds = || SeedSequence::new(1u64);
    assert!(matches!(Philox::builder().seed(seeds()).key(1).build(), Err(PrgError::SeedAndKey)));
    assert!(matches!(seeds().with_pool_size(3), Err(PrgError::PoolSize(3))));
    assert!(matches!(Philox::from_key(1).spawn(1), Err(PrgError::NoSeedSequence)));
    assert!(matches!(Philox::seeded(1u64).jumped(1).spawn(1), Err(PrgError::NoSeedSequence)));
    for text in ["", "-1", "0x", "1_000", "12a", "0xfg", " 1", "+1", "1.0", "－1"] {
        assert!(matches!(text.parse::<Entropy>(), Err(PrgError::NotAnInteger { .. })), "{text:?}");
    }
    assert!("--1".parse::<Int256>().is_err() && "-".parse::<Int256>().is_err());
    let mut rng = Generator::seeded(1u64);
    let before = rng.bit_generator().state();
    assert!(rng.integers(3..3, 2).is_err() && rng.integer(5u8..5).is_err());
    assert!(rng.uniform(1.0, 0.0, 2).is_err() && rng.uniform(f64::NAN, 0.0, 2).is_err());
    assert!(rng.normal(0.0, -1.0, 2).is_err());
    let without = Choice { replace: false, ..Choice::default() };
    assert!(rng.choice(0, 1, Choice::default()).is_err() && rng.choice(3, 4, without).is_err());
    for p in [&[0.5, 0.5][..], &[0.5, 0.5, 0.5], &[1.5, -0.5, 0.0], &[f64::NAN, 0.5, 0.5], &[f64::INFINITY, 0.0, 0.0]] {
        assert!(rng.choice(3, 1, Choice { p: Some(p), ..Choice::default() }).is_err(), "{p:?}");
    }
    let mut items = ndarray::Array2::<u8>::zeros((2, 2));
    assert!(rng.shuffle_axis(&mut items, Axis(2)).is_err() && rng.permuted_copy(&items, Axis(2)).is_err());
    assert_eq!(rng.bit_generator().state(), before, "nothing was drawn");
}

#[test]
fn full_ranges_of_every_width() {
    let mut rng = Generator::seeded(9u64);
    assert!(rng.integers(.., 64).unwrap().iter().any(|&x: &u64| x > 1 << 63));
    assert!(rng.integers(.., 64).unwrap().iter().any(|&x: &i64| x < 0));
    assert_eq!(rng.integers::<i8, _>(i8::MAX.., 3).unwrap().to_vec(), [i8::MAX; 3]);
    assert_eq!(rng.integers::<u64, _>(..1, 3).unwrap().to_vec(), [0; 3]);
    assert!(rng.integers::<bool, _>(.., 64).unwrap().iter().any(|&x| x));
    assert!(rng.integers(true..=true, ()).unwrap().into_scalar());
}

#[test]
fn rand_core_sees_the_same_generator() {
    let mut ours = Philox::seeded(77u64);
    let mut theirs = Philox::seed_from_u64(77);
    assert_eq!(theirs.next_u64(), ours.random_raw());
    assert_eq!(theirs.next_u32(), ours.random_u32());
    assert_eq!(theirs.next_u32(), ours.random_u32());
    let mut bytes = [0; 11];
    theirs.fill_bytes(&mut bytes);
    assert_eq!(bytes.to_vec(), Generator::new(ours.clone()).bytes(11));
    assert_eq!(Philox::from_seed([7; 16]).state().key, [u64::from_le_bytes([7; 8]); 2]);
    assert_eq!(Philox::from_rng(&mut ours).state().counter, [0; 4]);
}

#[test]
fn parallel_streams_differ() {
    let mut root = Philox::seeded(1u64);
    let mut streams = root.spawn(3).unwrap();
    streams.extend(root.spawn(1).unwrap());
    streams.extend([1, 2, -1].map(|jumps| root.jumped(jumps)));
    streams.extend([1u128, 2, 1 << 64].map(Philox::from_key));
    streams.push(root);
    let n = streams.len();
    let words: std::collections::HashSet<u64> = streams.iter_mut().flat_map(|stream| raw(stream, 100)).collect();
    assert_eq!(words.len(), n * 100);
}

#[test]
fn protocol_streams_are_jumped_ones() {
    let bytes: [u8; 16] = std::array::from_fn(|i| 3 * i as u8);
    let insecure = InsecurePhilox::new(&Key::from_bytes(bytes));
    for nonce in [0, 1, 1 << 40] {
        let mut out = [0; 40];
        insecure.fill(nonce, 5, &mut out);
        let mut jumped = Philox::from_key(u128::from_le_bytes(bytes)).jumped(nonce);
        assert_eq!(out.to_vec(), raw(&mut jumped, 45)[5..]);
    }
    let mut far = [0; 6];
    PhiloxStream::new([1, 2], [0; 4]).fill(u64::MAX - 5, &mut far);
    let mut near_end = philox(1 | 2 << 64, [u64::MAX / 4 - 1, 0, 0, 0]);
    assert_eq!(far.to_vec(), raw(&mut near_end, 8)[2..]);
}

#[test]
fn the_insecure_choice_says_so() {
    let name = serde_json::to_string(&Randomness::InsecurePhilox).unwrap();
    assert!(name.contains("insecure") && name.contains(&Randomness::InsecurePhilox.to_string()), "{name}");
    assert_eq!(serde_json::from_str::<Randomness>(&name).unwrap(), Randomness::InsecurePhilox);
    assert_eq!(Randomness::default(), Randomness::Aes128Ctr);
    assert_eq!(serde_json::to_string(&Randomness::Aes128Ctr).unwrap(), format!("\"{}\"", Randomness::Aes128Ctr));
    // What a process prints on standard error, seen from outside: this test again, in another role.
    const ROLE: &str = "PHILOX_TEST_ROLE";
    if let Ok(role) = std::env::var(ROLE) {
        let randomness = if role == "insecure" { Randomness::InsecurePhilox } else { Randomness::Aes128Ctr };
        let keys = Keys::alone(Key::from_bytes([1; 16]));
        for _ in 0..3 {
            let _ = Correlated::new(randomness, &keys);
        }
        return;
    }
    for (role, warnings) in [("insecure", 1), ("secure", 0)] {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "philox_properties::the_insecure_choice_says_so", "--nocapture"])
            .env(ROLE, role)
            .output()
            .unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(said.matches("warning: insecure randomness").count(), warnings, "{said}");
    }
}
