//! Every protocol, with one party on a card and two on the CPU and with all three on the card: each party's
//! components are those that it has when all compute on the CPU, bit for bit, at the same cost, in both rings.

use super::Body;
use super::data::{GENERATORS, mix, words};
use cryptgpu_core::device::{ConvGeometry, Device, PoolGeometry, Tensor};
use cryptgpu_core::mpc::{
    Additive, CheckRange, Fidelity, MpcError, Operand, Party, Rep, RepBits, RepXor, Side, SignWindow, World,
};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::{BLOCK, Ring};
use ndarray::{ArrayD, IxDyn};

pub const BODIES: &[(&str, Body)] = &[
    ("inputs_and_openings", inputs_and_openings),
    ("products", products),
    ("layers", layers),
    ("truncations", truncations),
    ("comparisons", comparisons),
    ("bits", bits),
    ("pooling", pooling),
    ("gradients", gradients),
    ("functions", functions),
    ("between_the_rings", between_the_rings),
    ("overflow_flag", overflow_flag),
    ("written_by_an_author", written_by_an_author),
];

/// What a party has at the end: words of all components.
type Words = Vec<Vec<u64>>;
type Protocol = fn(&mut Party, &Rep) -> Result<Words, MpcError>;

fn components(p: &Party, x: &Rep) -> Result<Words, MpcError> {
    let (a, b) = x.components();
    Ok(vec![p.to_host(a.view())?, p.to_host(b.view())?])
}

fn bit_components(p: &Party, x: &RepBits) -> Result<Words, MpcError> {
    let (a, b) = x.components();
    Ok(vec![p.to_host(a.view())?, p.to_host(b.view())?])
}

/// Where the three parties compute: all on the card, and each alone on it.
pub fn placements(card: Device) -> Vec<[Device; 3]> {
    let cpu = Device::Cpu;
    vec![[card; 3], [card, cpu, cpu], [cpu, cpu, card]]
}

/// Runs `protocol` on the CPU and on the card in both rings: of 64 bits with both generators and at every placement, of 32 bits with
/// one, and where all compute on the card and one does.
fn same_as_cpu(name: &str, card: Device, world: World, shape: &[usize], whole: bool, protocol: Protocol) {
    let (both, some) = (placements(card), &placements(card)[..2]);
    same_in_ring(name, Ring::Z64, (&GENERATORS, &both), &world, shape, whole, protocol);
    same_in_ring(name, Ring::Z32, (&GENERATORS[..1], some), &world, shape, whole, protocol);
}

/// Runs `protocol` on shares of values that may be squared (or of whole words) on the CPU and at some placements.
fn same_in_ring(
    name: &str,
    ring: Ring,
    (generators, placements): (&[Randomness], &[[Device; 3]]),
    world: &World,
    shape: &[usize],
    whole: bool,
    protocol: Protocol,
) {
    let n: usize = shape.iter().product();
    // ±2^23 of 64 bits, ±2^13 of 32.
    let cut = if ring == Ring::Z64 { 40 } else { 50 };
    let value =
        |i: usize, word: u64| if whole && i.is_multiple_of(3) { word } else { (mix(word) as i64 >> cut) as u64 };
    let values = words(n, 17).into_iter().enumerate().map(|(i, word)| value(i, word)).collect();
    let x = ArrayD::from_shape_vec(IxDyn(shape), values).unwrap();
    for &randomness in generators {
        let run = |devices: [Device; 3]| {
            let world = World { devices, randomness, ..world.clone().in_ring(ring) };
            let shares = world.deal(&x);
            let mine = |p: &Party| shares[p.id().index()].clone();
            world.run_counted(|p| {
                assert_eq!(mine(p).device(), p.device());
                let before = p.stats();
                let words = protocol(p, &mine(p)).unwrap();
                (words, p.stats().since(&before).payload_bytes())
            })
        };
        let expected = run([Device::Cpu; 3]);
        for &devices in placements {
            for (party, (found, expected)) in run(devices).iter().zip(&expected).enumerate() {
                let what = format!("{name} {shape:?}, {ring}, {randomness}, devices {devices:?}, party {party}");
                assert!(found.0.0 == expected.0.0, "{what}: other components than on the CPU");
                assert_eq!(found.0.1, expected.0.1, "{what}: bytes");
                assert_eq!(found.1.rounds, expected.1.rounds, "{what}: rounds");
            }
        }
    }
}

/// Elements that leave roles without any, and with whole blocks and a partial group.
const SIZES: [usize; 3] = [10, 700, 3 * BLOCK + 70];

fn for_sizes(card: Device, name: &str, whole: bool, protocol: Protocol) {
    for n in SIZES {
        same_as_cpu(name, card, World::seeded(n as u64), &[n], whole, protocol);
    }
}

fn inputs_and_openings(card: Device) {
    for_sizes(card, "input", true, |p, x| {
        let mut all = vec![];
        for owner in PartyId::ALL {
            let value = (p.id() == owner).then(|| x.components().0.clone());
            let shared = p.input(owner, value.as_ref(), x.shape())?;
            all.extend(components(p, &shared)?);
        }
        Ok(all)
    });
    for_sizes(card, "open", true, |p, x| {
        let opened = p.open(x)?;
        let mut all = vec![p.to_host(opened.view())?];
        for to in PartyId::ALL {
            if let Some(opened) = p.open_to(to, x)? {
                all.push(p.to_host(opened.view())?);
            }
        }
        Ok(all)
    });
}

fn products(card: Device) {
    for_sizes(card, "mul", false, |p, x| p.mul(x, x).and_then(|y| components(p, &y)));
    for_sizes(card, "mul_no_trunc", true, |p, x| p.mul_no_trunc(x, x).and_then(|y| components(p, &y)));
    for_sizes(card, "mul_scalar", false, |p, x| p.mul_scalar(x, -1.37).and_then(|y| components(p, &y)));
    for_sizes(card, "local", true, |p, x| {
        let public = Tensor::from_array_in(p.ring(), p.device(), &ArrayD::from_elem(IxDyn(x.shape()), 3));
        let y = x.neg().add(x)?.sub(&x.mul_word(5))?;
        let y = y.add_public(p.id(), &public)?.mul_public(&public)?;
        let sum = p.add_scalar(&y, 77.0)?.sum();
        Ok([components(p, &y)?, components(p, &sum)?].concat())
    });
}

fn layers(card: Device) {
    same_as_cpu("matmul", card, World::seeded(1), &[24, 24], false, |p, x| {
        p.matmul(x, x).and_then(|y| components(p, &y))
    });
    same_as_cpu("batched matmul", card, World::seeded(2), &[5, 12, 12], false, |p, x| {
        let y = x.permute(&[0, 2, 1])?;
        p.batched_matmul(x, &y).and_then(|y| components(p, &y))
    });
    same_as_cpu("linear", card, World::seeded(2), &[20, 33], false, |p, x| {
        let w = x.narrow(0..7).map(|w| Operand::new(p.id(), w))?;
        let bias = x.reshape(&[660]).and_then(|x| x.narrow(3..10))?;
        p.linear(x, &w, Some(&bias)).and_then(|y| components(p, &y))
    });
    same_as_cpu("conv2d", card, World::seeded(3), &[2, 8, 9, 9], false, |p, x| {
        let window = PoolGeometry::square(3, 2, 1);
        let geometry = ConvGeometry { batch: 2, in_channels: 8, input: [9, 9], out_channels: 12, window, groups: 2 };
        let flat = x.reshape(&[1296])?;
        let w = flat.narrow(0..12 * 4 * 9).and_then(|w| w.reshape(&[12, 4, 3, 3])).map(|w| Operand::new(p.id(), w))?;
        let bias = flat.narrow(9..21)?;
        p.conv2d(x, &w.with_cut(23), &geometry, Some(&bias)).and_then(|y| components(p, &y))
    });
}

fn truncations(card: Device) {
    for_sizes(card, "truncate", false, |p, x| {
        let mut all = vec![];
        for d in [0, 1, 20, p.ring().bits() - 3] {
            all.extend(p.truncate(x, d).and_then(|y| components(p, &y))?);
        }
        Ok(all)
    });
    for n in SIZES {
        let mut world = World::seeded(n as u64);
        world.settings.fidelity = Fidelity::Paper;
        same_as_cpu("paper", card, world, &[n], false, |p, x| {
            let y = p.mul(x, x)?;
            Ok([components(p, &y)?, p.truncate(&y, 9).and_then(|y| components(p, &y))?].concat())
        });
    }
}

fn comparisons(card: Device) {
    for_sizes(card, "relu", true, |p, x| p.relu(x).and_then(|y| components(p, &y)));
    for_sizes(card, "clipped_relu", false, |p, x| p.clipped_relu(x, 0.5).and_then(|y| components(p, &y)));
    for_sizes(card, "maximum", false, |p, x| p.maximum(x, &x.neg()).and_then(|y| components(p, &y)));
    for (low, width) in [(0, 32), (4, 16), (8, 8)] {
        let mut world = World::seeded(5);
        world.settings.window = SignWindow::new(low, width).unwrap();
        same_as_cpu("sign in a window", card, world, &[700], false, |p, x| {
            p.sign(x).and_then(|y| bit_components(p, &y))
        });
    }
}

fn bits(card: Device) {
    for_sizes(card, "sign", true, |p, x| {
        let sign = p.sign(x)?.not(p.id());
        let ring = p.bits_to_ring(&sign)?;
        let product = p.bit_product(&sign, x)?;
        let opened = p.open_bits(&sign)?.into_iter().map(u64::from).collect();
        let mut all = bit_components(p, &sign)?;
        all.extend([components(p, &ring)?, components(p, &product)?].concat());
        all.push(opened);
        Ok(all)
    });
    for_sizes(card, "less_than", false, |p, x| p.less_than(x, &x.mul_word(3)).and_then(|y| bit_components(p, &y)));
}

fn pooling(card: Device) {
    same_as_cpu("max_pool", card, World::seeded(6), &[2, 3, 9, 9], false, |p, x| {
        p.max_pool(x, &PoolGeometry::square(3, 2, 1)).and_then(|y| components(p, &y))
    });
    same_as_cpu("avg_pool", card, World::seeded(7), &[2, 3, 8, 8], false, |p, x| {
        let halves = p.avg_pool(x, &PoolGeometry::square(2, 2, 0))?;
        let ninths = p.avg_pool(x, &PoolGeometry::square(3, 1, 1))?;
        Ok([components(p, &halves)?, components(p, &ninths)?].concat())
    });
}

/// What is kept for gradients, gradients of layers and windows, and several of them in one truncation.
fn gradients(card: Device) {
    for_sizes(card, "kept bits", false, |p, x| {
        let ((y, positive), (z, within)) = (p.relu_kept(x)?, p.clipped_relu_kept(x, 0.5)?);
        let mut all = [components(p, &y)?, components(p, &z)?].concat();
        all.extend([bit_components(p, &positive)?, bit_components(p, &within)?].concat());
        Ok(all)
    });
    same_as_cpu("windows", card, World::seeded(10), &[2, 3, 9, 9], false, |p, x| {
        let mut all = vec![];
        for window in [PoolGeometry::square(3, 2, 1), PoolGeometry::square(2, 2, 0)] {
            let (maxima, kept) = p.max_pool_kept(x, &window)?;
            let sums = x.sum_pool(&window)?.sum_pool_gradient(&window, [9, 9])?;
            let gradient = p.max_pool_gradient(&kept, &maxima.neg())?;
            all.extend(components(p, &gradient)?);
            all.extend(components(p, &sums)?);
        }
        Ok(all)
    });
    same_as_cpu("channels", card, World::seeded(11), &[3, 5, 7, 6], false, |p, x| {
        let each = x.channel_sums()?;
        let scaled = x.scale_channels(&each)?.add_channels(&each)?;
        let scaled = p.truncate_additive(scaled, 20)?.add_channels(&each)?;
        let squares = p.truncate_additive(x.local_mul(x)?.channel_sums()?, p.ring().bits() / 2 - 2)?;
        Ok([components(p, &scaled)?, components(p, &squares)?].concat())
    });
    same_as_cpu("layers", card, World::seeded(12), &[2, 8, 9, 9], false, |p, x| {
        let window = PoolGeometry::square(3, 2, 1);
        let geometry = ConvGeometry { batch: 2, in_channels: 8, input: [9, 9], out_channels: 12, window, groups: 2 };
        let flat = x.reshape(&[1296])?;
        let w = flat.narrow(0..12 * 4 * 9).and_then(|w| w.reshape(&[12, 4, 3, 3])).map(|w| Operand::new(p.id(), w))?;
        let dy = flat.narrow(9..9 + 2 * 12 * 25).and_then(|dy| dy.reshape(&[2, 12, 5, 5]))?;
        let dx = p.conv2d_input_gradient(&dy, &w.with_cut(23), &geometry)?;
        let (rows, matrix) =
            (flat.reshape(&[36, 36])?, Operand::new(p.id(), flat.narrow(0..36 * 20)?.reshape(&[36, 20])?));
        let inputs = p.linear_input_gradient(&rows, &matrix)?;
        let gradients = [dy.conv2d_weight_gradient(p.id(), x, &geometry)?, rows.linear_weight_gradient(p.id(), &rows)?];
        let [first, second] = gradients.map(|gradient| gradient.reshape(&[gradient.len()]));
        let weights = p.truncate_additive(Additive::concat(&[first?, second?])?, 22)?;
        Ok([components(p, &dx)?, components(p, &inputs)?, components(p, &weights)?].concat())
    });
}

/// Softmax, its loss and gradient, whose parts are those of the other functions too.
fn functions(card: Device) {
    same_as_cpu("layer_norm", card, World::seeded(10), &[70, 24], false, |p, x| {
        p.layer_norm(x, 1e-5).and_then(|y| components(p, &y))
    });
    same_as_cpu("cross_entropy", card, World::seeded(8), &[70, 10], false, |p, x| {
        let entropy = p.cross_entropy(x, &x.neg())?;
        Ok([components(p, &entropy.losses)?, components(p, &entropy.gradient)?].concat())
    });
}

/// From the ring of 32 bits to that of 64 and back.
fn between_the_rings(card: Device) {
    for n in SIZES.into_iter().chain([701]) {
        same_as_cpu("extension", card, World::seeded(n as u64), &[n], true, |p, x| {
            let extended = p.extend(x)?;
            Ok([components(p, &extended)?, components(p, &extended.reduce())?].concat())
        });
    }
}

/// The check of ranges on squares that are within the range, and on some that are not.
fn overflow_flag(card: Device) {
    let mut world = World::seeded(9);
    world.settings.check_range = CheckRange::Run;
    same_as_cpu("check_range, within", card, world.clone(), &[577], false, checked_square::<false>);
    same_as_cpu("check_range, beyond", card, world, &[577], true, checked_square::<true>);
}

fn checked_square<const BEYOND: bool>(p: &mut Party, x: &Rep) -> Result<Words, MpcError> {
    let y = p.mul(x, x)?;
    let beyond = match p.check_range() {
        Ok(()) => false,
        Err(MpcError::Range { .. }) => true,
        Err(error) => return Err(error),
    };
    assert_eq!(beyond, BEYOND);
    components(p, &y)
}

fn xor_components(p: &Party, x: &RepXor) -> Result<Words, MpcError> {
    let (a, b) = x.components();
    Ok(vec![p.to_host(a.view())?, p.to_host(b.view())?])
}

/// What the API for protocols of one's own offers: draws, zero-shares, shared words, sends, rounds of several things.
fn written_by_an_author(card: Device) {
    for_sizes(card, "draws and zero-shares", true, |p, x| {
        let [prev, next, all, own] = p.nonces();
        let drawn = [
            p.with_prev(prev, x.shape(), p.ring().bits())?,
            p.with_next(next, x.shape(), 7)?,
            p.with_all(all, x.shape(), p.ring().bits() / 2 + 1)?,
            p.with_nobody(own, x.shape(), 1)?,
            p.zero_share(x.shape()).mine().clone(),
            p.zero_share_xor(x.shape(), 20)?.mine().clone(),
        ];
        drawn.iter().map(|tensor| p.to_host(tensor.view())).collect()
    });
    for_sizes(card, "shared words", true, |p, x| {
        let (id, owner) = (p.id(), PartyId::P1);
        let value = (id == owner).then(|| x.components().0.clone());
        let a = p.input_xor(owner, value.as_ref(), x.shape(), p.ring().bits())?;
        let b = x.component_bits(id, PartyId::P2).xor_word(id, 77).shr(3);
        let (and, product) = (a.local_and(&b.shl(5))?, x.local_mul(x)?);
        let (and, product, opened) = p.round(|r| Ok((r.reshare(and)?, r.reshare(product)?, r.open_xor(&b)?)))?;
        let mut words = xor_components(p, &and.field(10, 20)?)?;
        words.extend(xor_components(p, &and.not(id).xor(&a)?)?);
        words.extend(components(p, &product)?);
        words.extend(bit_components(p, &and.bit(p.ring().bits() - 1)?)?);
        words.push(p.to_host(opened.view())?);
        Ok(words)
    });
    for_sizes(card, "sends", true, |p, x| {
        let (mine, _) = x.components();
        let bits = p.ring().bits();
        let (whole, some, bytes) = p.round(|r| {
            r.send(Side::Next, mine, bits)?;
            r.send(Side::Prev, mine, 13)?;
            r.send_integers(Side::Next, &[1u8, 2, 3]);
            Ok((
                r.receive(Side::Prev, x.shape(), bits)?,
                r.receive(Side::Next, x.shape(), 13)?,
                r.receive_integers::<u8>(Side::Prev, 3),
            ))
        })?;
        assert_eq!(bytes, [1, 2, 3]);
        Ok(vec![p.to_host(whole.view())?, p.to_host(some.view())?])
    });
}
