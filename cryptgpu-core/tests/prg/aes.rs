//! AES-128 in counter mode against published vectors, OpenSSL's key streams and the `ctr` crate.

#![allow(clippy::unwrap_used)]

use aes::cipher::{KeyIvInit, StreamCipher};
use cryptgpu_core::prg::{Aes128Ctr, Key};
use proptest::prelude::*;

#[derive(serde::Deserialize)]
struct Vectors {
    published: Vec<Published>,
    openssl_keystream: Vec<KeyStream>,
}

#[derive(serde::Deserialize)]
struct Published {
    source: String,
    key: String,
    counter_be128: String,
    plaintext: String,
    ciphertext: String,
}

#[derive(serde::Deserialize)]
struct KeyStream {
    key: String,
    counter_be128: String,
    keystream: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn keystream(key: &str, counter: &str, len: usize) -> Vec<u8> {
    let key = Key::from_bytes(bytes(key).try_into().unwrap());
    let mut words = vec![0; len.div_ceil(8)];
    Aes128Ctr::new(&key).keystream(u128::from_str_radix(counter, 16).unwrap(), &mut words);
    words.iter().flat_map(|word| word.to_le_bytes()).take(len).collect()
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../data/aes_ctr_vectors.json")).unwrap()
}

#[test]
fn nist_and_rfc_3686_vectors() {
    let published = vectors().published;
    assert_eq!(published.len(), 4);
    for case in published {
        let plaintext = bytes(&case.plaintext);
        let stream = keystream(&case.key, &case.counter_be128, plaintext.len());
        let ciphertext: Vec<u8> = plaintext.iter().zip(&stream).map(|(p, k)| p ^ k).collect();
        assert_eq!(ciphertext, bytes(&case.ciphertext), "{}", case.source);
    }
}

#[test]
fn openssl_key_streams_carries_included() {
    let cases = vectors().openssl_keystream;
    assert_eq!(cases.len(), 40);
    for case in cases {
        let expected = bytes(&case.keystream);
        let stream = keystream(&case.key, &case.counter_be128, expected.len());
        assert_eq!(stream, expected, "counter {}", case.counter_be128);
    }
}

fn oracle(key: [u8; 16], counter: u128, skip: usize, words: usize) -> Vec<u64> {
    let mut bytes = vec![0u8; (skip + words) * 8];
    ctr::Ctr128BE::<aes::Aes128>::new(&key.into(), &counter.to_be_bytes().into()).apply_keystream(&mut bytes);
    bytes.chunks_exact(8).skip(skip).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// Counters of every kind, those about to carry out of 8, 32, 64 and 128 bits among them.
fn counters() -> impl Strategy<Value = u128> {
    let width = prop_oneof![Just(8), Just(16), Just(32), Just(64), Just(128)];
    prop_oneof![
        any::<u128>(),
        (width, any::<u128>(), 0u128..300).prop_map(|(width, high, below)| {
            let ones = u128::MAX >> (128 - width);
            (high | ones).wrapping_sub(below)
        })
    ]
}

proptest! {
    #[test]
    fn long_key_streams_equal_those_of_ctr(key: [u8; 16], counter in counters(), words in 0usize..1200) {
        let mut out = vec![1; words];
        Aes128Ctr::new(&Key::from_bytes(key)).keystream(counter, &mut out);
        prop_assert_eq!(out, oracle(key, counter, 0, words));
    }

    #[test]
    fn fills_of_any_range_equal_those_of_ctr(
        key: [u8; 16], nonce: u64, start in 0u64..1 << 62, skip in 0usize..300, words in 0usize..700,
    ) {
        let counter = (u128::from(nonce) << 64) | u128::from(start);
        let mut out = vec![1; words];
        Aes128Ctr::new(&Key::from_bytes(key)).fill(nonce, 2 * start + skip as u64, &mut out);
        prop_assert_eq!(out, oracle(key, counter, skip, words));
    }
}

#[test]
fn the_last_words_of_a_stream_do_not_reach_into_the_next() {
    let key = [3; 16];
    let aes = Aes128Ctr::new(&Key::from_bytes(key));
    let mut last = [0; 3];
    aes.fill(7, u64::MAX - 2, &mut last);
    assert_eq!(last.to_vec(), oracle(key, (7 << 64) | u128::from(u64::MAX / 2 - 1), 1, 3));
}
