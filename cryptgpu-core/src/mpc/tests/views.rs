//! What a party sees is uniform, differs between seeds, and has a size that does not depend on
//! the secret. Each would fail if a mask were missing, reused or derived from a key that the
//! receiver knows.

use super::{array, mix};
use crate::device::{ConvGeometry, PoolGeometry, Tensor};
use crate::mpc::{Fidelity, MpcError, Operand, Party, Rep, World};
use crate::net::{PartyId, Recorded, Recorder};
use crate::prg::Randomness;
use ndarray::ArrayD;

type Protocol = fn(&mut Party, &Rep) -> Result<(), MpcError>;

/// Every protocol that sends messages.
const PROTOCOLS: [(&str, Protocol); 13] = [
    ("input", |p, x| {
        let (owner, value) = (PartyId::ALL[1], Tensor::full(p.device(), x.shape(), 7));
        p.input(owner, (p.id() == owner).then_some(&value), x.shape()).map(drop)
    }),
    ("clipped_relu", |p, x| p.clipped_relu(x, 6.0).map(drop)),
    ("mul", |p, x| p.mul(x, x).map(drop)),
    ("mul_integer", |p, x| p.mul_integer(x, x).map(drop)),
    ("matmul", |p, x| {
        let x = x.reshape(&[64, 64]).unwrap();
        p.matmul(&x, &x).map(drop)
    }),
    ("conv2d", |p, x| {
        let image = x.reshape(&[1, 4, 32, 32]).unwrap();
        let weight = x.narrow(0..16).and_then(|w| w.reshape(&[4, 4, 1, 1])).unwrap();
        let window = PoolGeometry::square(1, 1, 0);
        let geometry = ConvGeometry { batch: 1, in_channels: 4, input: [32, 32], out_channels: 4, window, groups: 1 };
        p.conv2d(&image, &Operand::new(weight).unwrap(), &geometry, None, 20).map(drop)
    }),
    ("truncate", |p, x| p.truncate(x, 20).map(drop)),
    ("sign", |p, x| p.sign(x).map(drop)),
    ("relu", |p, x| p.relu(x).map(drop)),
    ("maximum", |p, x| p.maximum(x, &x.neg()).map(drop)),
    ("bits_to_ring", |p, x| {
        let bits = p.sign(x)?;
        p.bits_to_ring(&bits).map(drop)
    }),
    ("max_pool", |p, x| p.max_pool(&x.reshape(&[1, 1, 64, 64]).unwrap(), &PoolGeometry::square(2, 2, 0)).map(drop)),
    ("avg_pool", |p, x| p.avg_pool(&x.reshape(&[1, 1, 64, 64]).unwrap(), &PoolGeometry::square(3, 1, 1)).map(drop)),
];

const N: usize = 4096;

fn record(seed: u64, fidelity: Fidelity, secret: &ArrayD<u64>, protocol: Protocol) -> Vec<Recorded> {
    record_with(Randomness::Aes128Ctr, seed, fidelity, secret, protocol)
}

fn record_with(
    randomness: Randomness,
    seed: u64,
    fidelity: Fidelity,
    secret: &ArrayD<u64>,
    protocol: Protocol,
) -> Vec<Recorded> {
    let recorder = Recorder::default();
    let mut world = World::seeded(seed);
    world.randomness = randomness;
    world.settings.fidelity = fidelity;
    world.interceptor = Some(recorder.interceptor());
    let shares = world.deal(secret).unwrap();
    for result in world.run(|p| protocol(p, &shares[p.id().index()])) {
        result.unwrap();
    }
    recorder.messages()
}

/// The messages of one kind on one link, in order.
fn by_link(messages: &[Recorded]) -> std::collections::BTreeMap<(usize, usize, u16), Vec<u64>> {
    let mut links = std::collections::BTreeMap::<_, Vec<u64>>::new();
    for m in messages {
        links.entry((m.from.index(), m.to.index(), m.tag.kind)).or_default().extend(&m.words);
    }
    links
}

/// Pearson's chi-square of the bytes against the uniform distribution, as standard deviations
/// from its mean (255 degrees of freedom).
fn chi_square_deviation(words: &[u64]) -> f64 {
    let mut counts = [0f64; 256];
    for byte in words.iter().flat_map(|w| w.to_le_bytes()) {
        counts[usize::from(byte)] += 1.0;
    }
    let expected = words.len() as f64 * 8.0 / 256.0;
    let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    (chi - 255.0) / (2.0f64 * 255.0).sqrt()
}

fn secrets() -> [ArrayD<u64>; 3] {
    let random = (0..N as u64).map(|i| (mix(i) as i64 >> 38) as u64).collect();
    [array(&[N], vec![0; N]), array(&[N], vec![(1u64 << 30).wrapping_neg(); N]), array(&[N], random)]
}

#[test]
fn every_message_is_uniform_whatever_the_secret() {
    let kinds = [
        (Randomness::Aes128Ctr, Fidelity::Exact),
        (Randomness::Aes128Ctr, Fidelity::Paper),
        (Randomness::InsecurePhilox, Fidelity::Exact),
    ];
    for (randomness, fidelity) in kinds {
        for (name, protocol) in PROTOCOLS {
            for (which, secret) in secrets().iter().enumerate() {
                let links = by_link(&record_with(randomness, 5, fidelity, secret, protocol));
                assert!(!links.is_empty());
                for (link, words) in links {
                    if words.len() < 16 {
                        continue;
                    }
                    let deviation = chi_square_deviation(&words);
                    // Over a thousand tests: six standard deviations leave a chance below 10^−5.
                    assert!(
                        deviation.abs() < 6.5,
                        "{name}, secret {which}, message {link:?} of {} words: {deviation:.1} deviations from uniform",
                        words.len()
                    );
                }
            }
        }
    }
}

#[test]
fn two_seeds_give_different_messages_of_equal_size() {
    for (name, protocol) in PROTOCOLS {
        let [zeros, negative, random] = secrets();
        let first = by_link(&record(1, Fidelity::Exact, &zeros, protocol));
        for (seed, secret) in [(2, &zeros), (1, &negative), (2, &random)] {
            let second = by_link(&record(seed, Fidelity::Exact, secret, protocol));
            let sizes = |links: &std::collections::BTreeMap<(usize, usize, u16), Vec<u64>>| {
                links.iter().map(|(k, w)| (*k, w.len())).collect::<Vec<_>>()
            };
            assert_eq!(sizes(&first), sizes(&second), "{name}: sizes depend on seed or secret");
            if seed == 1 {
                continue;
            }
            for (link, words) in &first {
                let equal = words.iter().zip(&second[link]).filter(|(a, b)| a == b).count();
                assert!(equal <= words.len() / 100, "{name}, message {link:?}: {equal} words are equal for two seeds");
            }
        }
    }
}

/// A message and the words that its receiver can derive by itself (its own components) are
/// uncorrelated: their difference is as uniform as the message.
#[test]
fn messages_are_not_the_receivers_own_shares() {
    let secret = array(&[N], vec![3 << 20; N]);
    for (name, protocol) in PROTOCOLS {
        let recorder = Recorder::default();
        let mut world = World::seeded(9);
        world.interceptor = Some(recorder.interceptor());
        let shares = world.deal(&secret).unwrap();
        world.run(|p| protocol(p, &shares[p.id().index()]).unwrap());
        for message in recorder.messages() {
            let receiver = &shares[message.to.index()];
            for component in [receiver.components().0, receiver.components().1] {
                let own = component.to_array().unwrap();
                let difference: Vec<u64> =
                    message.words.iter().zip(own.iter()).map(|(m, x)| m.wrapping_sub(*x)).collect();
                if difference.len() < 64 {
                    continue;
                }
                let deviation = chi_square_deviation(&difference);
                assert!(deviation.abs() < 7.0, "{name}, kind {}: {deviation:.1}", message.tag.kind);
            }
        }
    }
}

#[test]
fn the_test_of_uniformity_finds_a_missing_mask() {
    let words: Vec<u64> = (0..4096u64).map(|i| mix(i) >> 20).collect();
    assert!(chi_square_deviation(&words) > 100.0);
    let masked: Vec<u64> = (0..4096u64).map(mix).collect();
    assert!(chi_square_deviation(&masked).abs() < 5.0);
}
