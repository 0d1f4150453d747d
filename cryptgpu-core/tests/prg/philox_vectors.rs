//! Philox against vectors made with NumPy and published with Random123. `PHILOX_VECTORS=file`
//! checks another file of the same form, plain or gzipped JSON. Prints how many cases of each
//! kind passed.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::prg::philox::{
    Entropy, Generator, Int256, Integer, Philox, PhiloxState, SeedSequence, philox2x32, philox2x64, philox4x32,
    philox4x64,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

fn load() -> Value {
    let bytes = match std::env::var_os("PHILOX_VECTORS") {
        Some(path) => std::fs::read(&path).unwrap_or_else(|e| panic!("PHILOX_VECTORS={}: {e}", path.display())),
        None => include_bytes!("../data/philox_vectors.json.gz").to_vec(),
    };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut json).unwrap();
        return serde_json::from_slice(&json).unwrap();
    }
    serde_json::from_slice(&bytes).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn hex(value: &Value) -> u64 {
    u64::from_str_radix(text(value), 16).unwrap()
}

fn hexes(value: &Value) -> Vec<u64> {
    list(value).iter().map(hex).collect()
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("not a count: {value}"))).unwrap()
}

/// A decimal integer, or a list of them.
fn entropy(value: &Value) -> Entropy {
    match value {
        Value::Array(list) => list.iter().map(entropy).collect(),
        one => text(one).parse().unwrap(),
    }
}

fn int256(value: &Value) -> Int256 {
    text(value).parse().unwrap()
}

fn state(value: &Value) -> PhiloxState {
    PhiloxState {
        counter: hexes(&value["counter"]).try_into().unwrap(),
        key: hexes(&value["key"]).try_into().unwrap(),
        buffer: hexes(&value["buffer"]).try_into().unwrap(),
        buffer_pos: count(&value["buffer_pos"]),
        has_uint32: count(&value["has_uint32"]) == 1,
        uinteger: hex(&value["uinteger"]) as u32,
    }
}

fn raw(philox: &mut Philox, n: usize) -> Vec<u64> {
    (0..n).map(|_| philox.random_raw()).collect()
}

fn u32s(philox: &mut Philox, n: usize) -> Vec<u64> {
    (0..n).map(|_| u64::from(philox.random_u32())).collect()
}

fn from_key_and_counter(case: &Value) -> Philox {
    let [low, high, 0, 0] = int256(&case["key_int"]).words() else { panic!("key of more than 128 bits") };
    let key = u128::from(low) | (u128::from(high) << 64);
    Philox::builder().key(key).counter(int256(&case["counter_int"]).words()).build().unwrap()
}

/// Runs `check` on all cases of a kind, says how many passed, and returns that.
fn all(vectors: &Value, kind: &str, check: impl Fn(&Value)) -> usize {
    let cases = vectors[kind].as_array().map_or(&[][..], Vec::as_slice);
    for (i, case) in cases.iter().enumerate() {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(case)));
        assert!(run.is_ok(), "{kind}, case {i}");
    }
    // Not println!, which the test harness hides when all is well.
    let mut out = std::io::stdout();
    writeln!(out, "philox vectors, {kind}: {} cases passed", cases.len()).unwrap();
    cases.len()
}

fn narrow<const N: usize>(value: &Value) -> [u32; N] {
    hexes(value).iter().map(|&x| u32::try_from(x).unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

fn wide<const N: usize>(value: &Value) -> [u64; N] {
    hexes(value).try_into().unwrap()
}

fn known_answer(case: &Value) {
    let (ctr, key) = (&case["ctr"], &case["key"]);
    let of32 = |words: &[u32]| words.iter().map(|&w| u64::from(w)).collect::<Vec<_>>();
    let out = match (text(&case["name"]), count(&case["rounds"])) {
        ("philox2x32", 7) => of32(&philox2x32::<7>(narrow(ctr), narrow(key))),
        ("philox2x32", 10) => of32(&philox2x32::<10>(narrow(ctr), narrow(key))),
        ("philox4x32", 7) => of32(&philox4x32::<7>(narrow(ctr), narrow(key))),
        ("philox4x32", 10) => of32(&philox4x32::<10>(narrow(ctr), narrow(key))),
        ("philox2x64", 7) => philox2x64::<7>(wide(ctr), wide(key)).to_vec(),
        ("philox2x64", 10) => philox2x64::<10>(wide(ctr), wide(key)).to_vec(),
        ("philox4x64", 7) => philox4x64::<7>(wide(ctr), wide(key)).to_vec(),
        ("philox4x64", 10) => philox4x64::<10>(wide(ctr), wide(key)).to_vec(),
        other => panic!("unknown bijection {other:?}"),
    };
    assert_eq!(out, hexes(&case["out"]));
}

fn raw_case(case: &Value) {
    let mut philox = from_key_and_counter(case);
    assert_eq!(philox.state(), state(&case["initial"]));
    let (mut bulk, mut filled) = (philox.clone(), [0; 16]);
    assert_eq!(raw(&mut philox, 16), hexes(&case["raw16"]));
    assert_eq!(philox.state(), state(&case["final"]));
    bulk.fill_raw(&mut filled);
    assert_eq!(filled.to_vec(), hexes(&case["raw16"]));
    assert_eq!(bulk.state(), state(&case["final"]));
}

fn check_seeds(seeds: &SeedSequence, case: &Value) {
    let narrow = |words: &[u32]| words.iter().map(|&w| u64::from(w)).collect::<Vec<_>>();
    assert_eq!(seeds.spawn_key(), entropy(&case["spawn_key"]).words());
    assert_eq!(narrow(seeds.pool()), hexes(&case["pool"]));
    assert_eq!(seeds.pool().len(), count(&case["pool_size"]));
    assert_eq!(narrow(&seeds.generate_u32(10)), hexes(&case["generate_state_u32_10"]));
    assert_eq!(seeds.generate_u64(5), hexes(&case["generate_state_u64_5"]));
    let mut philox = Philox::from_seed_sequence(seeds.clone());
    assert_eq!(philox.state().key.to_vec(), hexes(&case["philox_key"]));
    assert_eq!(philox.state().counter.to_vec(), hexes(&case["philox_counter"]));
    assert_eq!(raw(&mut philox, 16), hexes(&case["raw16"]));
}

fn seed_case(case: &Value) {
    let seeds = SeedSequence::new(entropy(&case["entropy"]))
        .with_spawn_key(entropy(&case["spawn_key"]))
        .with_pool_size(count(&case["pool_size"]))
        .unwrap();
    check_seeds(&seeds, case);
}

fn spawn_case(case: &Value) {
    let mut root = SeedSequence::new(entropy(&case["entropy"]));
    for node in list(&case["nodes"]) {
        // A path of steps like `spawn(3)[1].spawn(2)[0]`: what counts is the place in the tree,
        // which the spawn key says, one number a level.
        let mut seeds = root.clone();
        for child in list(&node["spawn_key"]) {
            let child: usize = text(child).parse().unwrap();
            seeds = seeds.spawn(child + 1).remove(child);
        }
        check_seeds(&seeds, node);
    }
    // As the vectors were made: three children, two more later, and two of the second one.
    let mut children = root.spawn(3);
    children.extend(root.spawn(2));
    let grandchildren = children[1].spawn(2);
    assert_eq!(root.children_spawned(), case["n_children_spawned"].as_u64().unwrap());
    children.extend(grandchildren);
    let nodes = list(&case["nodes"]);
    assert_eq!(nodes.len(), children.len());
    children.iter().zip(nodes).for_each(|(seeds, node)| check_seeds(seeds, node));
}

/// Draws what the case draws before it moves, and compares the state.
fn drawn_before(case: &Value) -> Philox {
    let mut philox = from_key_and_counter(case);
    raw(&mut philox, count(&case["pre_u64"]));
    u32s(&mut philox, count(&case["pre_u32"]));
    assert_eq!(philox.state(), state(&case["before"]));
    assert!(case["error"].is_null(), "NumPy refused this: {}", case["error"]);
    philox
}

fn advance_case(case: &Value) {
    let mut philox = drawn_before(case);
    philox.advance(int256(&case["delta"]));
    assert_eq!(philox.state(), state(&case["after"]));
    assert_eq!(raw(&mut philox, 8), hexes(&case["raw8"]));
    assert_eq!(philox.state(), state(&case["final"]));
}

fn jumped_case(case: &Value) {
    let mut philox = drawn_before(case).jumped(int256(&case["jumps"]));
    assert_eq!(philox.state(), state(&case["after"]));
    assert_eq!(raw(&mut philox, 8), hexes(&case["raw8"]));
}

fn u32_case(case: &Value) {
    let mut philox = Philox::seeded(entropy(&case["seed"]));
    assert_eq!(u32s(&mut philox, count(&case["n_u32"])), hexes(&case["u32"]));
    assert_eq!(philox.state(), state(&case["state"]));
    assert_eq!(raw(&mut philox, 16), hexes(&case["raw16"]));
    let then = hexes(&case["then_u32"]);
    assert_eq!(u32s(&mut philox, then.len()), then);
    assert_eq!(philox.state(), state(&case["final"]));
}

fn integers<T: Integer + TryFrom<i128> + ToString>(rng: &mut Generator, op: &Value, bounds: (i128, i128)) {
    let bound = |value| T::try_from(value).unwrap_or_else(|_| panic!("{value} is out of range"));
    let range = bound(bounds.0)..=bound(bounds.1);
    compare_integers(rng, op, range);
}

fn compare_integers<T: Integer + ToString>(rng: &mut Generator, op: &Value, range: std::ops::RangeInclusive<T>) {
    let n = count(&op["n"]);
    let drawn: Vec<T> = match op["scalar_calls"].as_bool() {
        Some(true) => (0..n).map(|_| rng.integer(range.clone()).unwrap()).collect(),
        _ => rng.integers(range, n).unwrap().to_vec(),
    };
    let drawn: Vec<String> = drawn.iter().map(T::to_string).collect();
    assert_eq!(drawn, list(&op["out"]).iter().map(|v| text(v).to_owned()).collect::<Vec<_>>());
}

fn integers_op(rng: &mut Generator, op: &Value) {
    let bounds: (i128, i128) =
        (text(&op["low"]).parse().unwrap(), text(&op["high_exclusive"]).parse::<i128>().unwrap() - 1);
    match text(&op["dtype"]) {
        "uint8" => integers::<u8>(rng, op, bounds),
        "uint16" => integers::<u16>(rng, op, bounds),
        "uint32" => integers::<u32>(rng, op, bounds),
        "uint64" => integers::<u64>(rng, op, bounds),
        "int8" => integers::<i8>(rng, op, bounds),
        "int16" => integers::<i16>(rng, op, bounds),
        "int32" => integers::<i32>(rng, op, bounds),
        "int64" => integers::<i64>(rng, op, bounds),
        "bool" => {
            // As ranges of bool, and NumPy prints them as 0 and 1.
            let n = count(&op["n"]);
            let range = bounds.0 == 1..=bounds.1 == 1;
            let drawn: Vec<bool> = match op["scalar_calls"].as_bool() {
                Some(true) => (0..n).map(|_| rng.integer(range.clone()).unwrap()).collect(),
                _ => rng.integers(range, n).unwrap().to_vec(),
            };
            let expected: Vec<bool> = list(&op["out"]).iter().map(|v| matches!(text(v), "1" | "True")).collect();
            assert_eq!(drawn, expected);
        }
        other => panic!("unknown type {other}"),
    }
}

fn script_op(rng: &mut Generator, op: &Value) {
    let n = || count(&op["n"]);
    match text(&op["op"]) {
        "integers" => integers_op(rng, op),
        "u64" => assert_eq!(raw(rng.bit_generator_mut(), n()), hexes(&op["out"])),
        "u32" => assert_eq!(u32s(rng.bit_generator_mut(), n()), hexes(&op["out"])),
        "random" => assert_eq!(rng.random(n()).mapv(f64::to_bits).to_vec(), hexes(&op["out"])),
        "random_f32" => {
            assert_eq!(rng.random_f32(n()).mapv(|x| u64::from(x.to_bits())).to_vec(), hexes(&op["out"]));
        }
        "standard_normal" => assert_eq!(rng.standard_normal(n()).mapv(f64::to_bits).to_vec(), hexes(&op["out"])),
        "permutation" => {
            assert_eq!(rng.permutation(n()).to_vec(), list(&op["out"]).iter().map(count).collect::<Vec<_>>());
        }
        "bytes" => {
            let out: String = rng.bytes(n()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(out, text(&op["out"]));
        }
        other => panic!("unknown operation {other}"),
    }
    assert_eq!(rng.bit_generator().state(), state(&op["state"]));
}

fn script_case(case: &Value) {
    let mut rng = Generator::seeded(entropy(&case["entropy"]));
    assert_eq!(rng.bit_generator().state(), state(&case["initial"]));
    for (i, op) in list(&case["ops"]).iter().enumerate() {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script_op(&mut rng, op)));
        assert!(run.is_ok(), "operation {i}, {}", op["op"]);
    }
}

fn digest_case(case: &Value) {
    let (n, mut rng) = (count(&case["n"]), Generator::seeded(entropy(&case["seed"])));
    let bytes: Vec<u8> = match text(&case["what"]) {
        "u64" => {
            let mut words = vec![0; n];
            rng.bit_generator_mut().fill_raw(&mut words);
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        }
        "standard_normal" => rng.standard_normal(n).iter().flat_map(|x| x.to_le_bytes()).collect(),
        "integers_0_6_uint8" => rng.integers(0u8..6, n).unwrap().to_vec(),
        other => panic!("unknown digest {other}"),
    };
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, text(&case["sha256_le"]));
    assert_eq!(rng.bit_generator().state(), state(&case["final"]));
}

#[test]
fn all_vectors_pass() {
    let vectors = load();
    let passed = [
        all(&vectors, "random123_kat", known_answer),
        all(&vectors, "raw", raw_case),
        all(&vectors, "seed", seed_case),
        all(&vectors, "seed_spawn_key", seed_case),
        all(&vectors, "spawn", spawn_case),
        all(&vectors, "advance", advance_case),
        all(&vectors, "jumped", jumped_case),
        all(&vectors, "u32_then_raw", u32_case),
        all(&vectors, "scripts", script_case),
        all(&vectors, "digests", digest_case),
    ];
    // Another file may lack a kind; our own has these.
    match std::env::var_os("PHILOX_VECTORS") {
        Some(path) => assert!(passed.iter().sum::<usize>() > 0, "no known cases in {}", path.display()),
        None => assert_eq!(passed, [24, 35, 43, 16, 6, 21, 13, 10, 75, 12]),
    }
}
