//! Correlated randomness: three parties agree, zero-shares cancel, streams differ and look uniform,
//! and nothing that is printed shows a key or a counter.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::prg::{Correlated, Key, Keys, Prg, Randomness, Stream};
use std::collections::HashSet;

const ALL: &[Randomness] = &[Randomness::Aes128Ctr, Randomness::InsecurePhilox];

fn key(i: u8) -> Key {
    Key::from_bytes(std::array::from_fn(|j| i.wrapping_mul(37).wrapping_add(j as u8)))
}

fn keys(with_prev: u8, with_next: u8, common: u8, own: u8) -> Keys {
    Keys { with_prev: key(with_prev), with_next: key(with_next), common: key(common), own: key(own) }
}

/// Three parties: party i holds keys i and i + 1, one that all have, and one of its own.
fn parties(randomness: Randomness) -> [Correlated; 3] {
    [0, 1, 2].map(|i| Correlated::new(randomness, &keys(i, (i + 1) % 3, 9, 10 + i)))
}

fn words(stream: &Stream, n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    stream.fill(0, &mut out);
    out
}

#[test]
fn neighbours_see_the_same_words_and_nobody_else_does() {
    for &randomness in ALL {
        let mut parties = parties(randomness);
        for step in 0..5 {
            let next = parties.each_mut().map(|p| {
                let nonce = p.nonce();
                words(&p.with_next(nonce), 33)
            });
            // Drawn with another nonce: position 2 step + 1 at all three.
            let unrelated = parties.each_mut().map(|p| {
                let nonce = p.nonce();
                words(&p.with_prev(nonce), 33)
            });
            assert_eq!(parties.each_ref().map(Correlated::position), [2 * (step + 1); 3]);
            for i in 0..3 {
                assert_ne!(next[i], unrelated[(i + 1) % 3], "nonces give different words");
                assert_ne!(next[i], next[(i + 1) % 3], "keys give different words");
            }
        }
        // The same nonce at both holders of a key.
        let mut fresh = self::parties(randomness);
        let nonces = fresh.each_mut().map(Correlated::nonce);
        let [n0, n1, n2] = nonces;
        let (of_0, of_1, of_2) = (fresh[0].with_next(n0), fresh[1].with_prev(n1), fresh[2].with_prev(n2));
        assert_eq!(words(&of_0, 500), words(&of_1, 500));
        assert_ne!(words(&of_0, 500), words(&of_2, 500));
    }
}

#[test]
fn all_three_see_the_same_common_words() {
    for &randomness in ALL {
        let [a, b, c] = parties(randomness).map(|mut p| {
            let nonces = [p.nonce(), p.nonce()];
            let [first, second] = nonces.map(|nonce| words(&p.common(nonce), 77));
            assert_ne!(first, second);
            first
        });
        assert!(a == b && b == c);
    }
}

#[test]
fn zero_shares_sum_to_zero_at_any_offset() {
    for &randomness in ALL {
        let mut parties = parties(randomness);
        for (offset, n) in [(0, 1), (0, 1000), (1, 64), (77, 129), (1 << 40, 300)] {
            let mut sum = vec![0u64; n];
            let mut shares = HashSet::new();
            for party in &mut parties {
                let nonce = party.nonce();
                let zero = party.zero(nonce);
                let (mut plus, mut minus) = (vec![0; n], vec![0; n]);
                zero.plus.fill(offset, &mut plus);
                zero.minus.fill(offset, &mut minus);
                let share: Vec<u64> = plus.iter().zip(&minus).map(|(p, m)| p.wrapping_sub(*m)).collect();
                sum.iter_mut().zip(&share).for_each(|(s, x)| *s = s.wrapping_add(*x));
                shares.insert(share);
            }
            assert!(sum.iter().all(|&s| s == 0));
            assert_eq!(shares.len(), 3, "the shares themselves differ");
        }
    }
}

#[test]
fn streams_of_different_keys_and_nonces_differ_everywhere() {
    for &randomness in ALL {
        let mut seen = HashSet::new();
        for k in 0..8 {
            let mut correlated = Correlated::new(randomness, &keys(20 + k, 40 + k, 80 + k, 60 + k));
            for _ in 0..8 {
                let [a, b, c, d] = std::array::from_fn(|_| correlated.nonce());
                let streams =
                    [correlated.with_prev(a), correlated.with_next(b), correlated.own(c), correlated.common(d)];
                for stream in streams {
                    seen.extend(words(&stream, 64));
                }
            }
        }
        // A repeat among 16,384 honest 64-bit words has a probability below 10⁻¹¹.
        assert_eq!(seen.len(), 8 * 8 * 4 * 64);
    }
}

#[test]
fn parallel_fills_give_the_same_words_whatever_the_threads() {
    for &randomness in ALL {
        let mut correlated = Correlated::new(randomness, &keys(1, 2, 4, 3));
        let nonce = correlated.nonce();
        let stream = correlated.own(nonce);
        let mut expected = vec![0; 300_001];
        stream.fill(5, &mut expected);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0; expected.len()];
            pool.install(|| stream.fill_parallel(5, &mut out));
            assert!(out == expected, "{threads} threads");
        }
    }
}

#[test]
fn bytes_of_a_stream_look_uniform() {
    for &randomness in ALL {
        let mut correlated = Correlated::new(randomness, &keys(1, 2, 4, 3));
        let nonce = correlated.nonce();
        let words = words(&correlated.own(nonce), 1 << 17);
        for byte in 0..8 {
            let mut counts = [0f64; 256];
            words.iter().for_each(|w| counts[usize::from(w.to_le_bytes()[byte])] += 1.0);
            let expected = words.len() as f64 / 256.0;
            let chi2: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
            // 255 degrees of freedom: mean 255, standard deviation 22.6; six of them either side.
            assert!((120.0..390.0).contains(&chi2), "{randomness:?}, byte {byte}: chi-square {chi2}");
        }
        let ones: u32 = words.iter().map(|w| w.count_ones()).sum();
        let (n, ones) = (words.len() as f64 * 64.0, f64::from(ones));
        assert!((ones - n / 2.0).abs() < 6.0 * (n / 4.0).sqrt(), "{randomness:?}: {ones} ones in {n} bits");
    }
}

#[test]
fn debug_shows_neither_keys_nor_counters() {
    for &randomness in ALL {
        let mut correlated = parties(randomness).into_iter().next().unwrap();
        for _ in 0..1234 {
            let _unused = correlated.nonce();
        }
        let (a, b) = (correlated.nonce(), correlated.nonce());
        let shown = [
            format!("{:?}", key(1)),
            format!("{:?}", Prg::new(randomness, &key(1))),
            format!("{a:?}"),
            format!("{correlated:?}"),
            format!("{:?}", correlated.own(a)),
            format!("{:?}", correlated.zero(b)),
        ];
        for text in shown {
            // Names of generators hold digits, so look for the position and for the key's bytes.
            let plain = text.replace("Aes128Ctr", "").replace("InsecurePhilox", "");
            assert!(!plain.contains(|c: char| c.is_ascii_digit()), "{text}");
        }
    }
}

/// What can be used once is no type that can be copied, and nothing here is shown or compared by its words.
#[test]
fn nonces_streams_and_keys_are_neither_copied_nor_shown() {
    use cryptgpu_core::prg::{Nonce, Zero};
    use static_assertions::assert_not_impl_any;
    assert_not_impl_any!(Nonce: Clone, Copy, Default, From<u64>);
    assert_not_impl_any!(Stream: Clone, Copy, Default);
    assert_not_impl_any!(Zero: Clone, Copy, Default);
    assert_not_impl_any!(Correlated: Clone, Copy, Default);
    assert_not_impl_any!(Key: Copy, std::fmt::Display);
}
