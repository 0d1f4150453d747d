//! What a party on a card asks of the driver for a protocol or a network: launches, copies, events. Each of these
//! costs microseconds whatever the size of the data, so they are a cost like rounds and bytes, and docs/gpu.md's table
//! of them is generated and held here. `UPDATE_DOCS=1` writes it anew. The emulator counts; on a real card nothing does.

use super::Body;
use super::emulator::{self, Calls};
use cryptgpu_core::device::{ConvGeometry, Device, PoolGeometry};
use cryptgpu_core::experiment::Inference;
use cryptgpu_core::mpc::{MpcError, Operand, Party, Rep, World};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{Graph, LowerOptions, SharedModel, Weights, private};
use cryptgpu_core::ring::{BLOCK, Ring};
use ndarray::{ArrayD, IxDyn};
use std::fmt::Write;
use std::sync::Barrier;

pub const BODIES: &[(&str, Body)] = &[("calls", calls)];

type Protocol = fn(&mut Party, &Rep) -> Result<(), MpcError>;

/// Elements of the protocols' operand: every party has every role on some of them.
const SIDE: usize = 64;
const ELEMENTS: usize = SIDE * SIDE;

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("opening", |p, x| p.open(x).map(drop)),
    ("product with truncation", |p, x| p.mul(x, x).map(drop)),
    ("matrix product", |p, x| p.linear(x, &Operand::new(p.id(), x.clone()), None).map(drop)),
    ("convolution", |p, x| {
        let window = PoolGeometry::square(3, 1, 1);
        let geometry = ConvGeometry { batch: 1, in_channels: 4, input: [32, 32], out_channels: 8, window, groups: 1 };
        let w = x.reshape(&[ELEMENTS])?.narrow(0..8 * 4 * 9)?.reshape(&[8, 4, 3, 3])?;
        p.conv2d(&x.reshape(&[1, 4, 32, 32])?, &Operand::new(p.id(), w), &geometry, None).map(drop)
    }),
    ("truncation of a shared tensor", |p, x| p.truncate(x, p.codec().fraction_bits()).map(drop)),
    ("sign bit", |p, x| p.sign(x).map(drop)),
    ("ReLU", |p, x| p.relu(x).map(drop)),
    ("product with truncation, and ReLU behind it", |p, x| {
        let product = p.begin_truncation(x.local_mul(x)?, p.codec().fraction_bits())?;
        p.relu_behind(product).map(drop)
    }),
    ("the same, with the bit that a gradient needs", |p, x| {
        let product = p.begin_truncation(x.local_mul(x)?, p.codec().fraction_bits())?;
        p.relu_kept_behind(product).map(drop)
    }),
    ("max-pool 2×2", |p, x| p.max_pool(&x.reshape(&[1, 4, 32, 32])?, &PoolGeometry::square(2, 2, 0)).map(drop)),
];

/// What party 0's card is asked for `work`, the second time that all three do it: memory and kernels are there by then. A party that is
/// not on the card fetches what it is sent from there, so nobody goes on before the calls are counted.
fn counted<T, E: std::fmt::Debug>(
    p: &mut Party,
    all: &Barrier,
    mut work: impl FnMut(&mut Party) -> Result<T, E>,
) -> Option<(Calls, u64)> {
    let mut once = |p: &mut Party| {
        let rounds = p.stats().rounds;
        all.wait();
        let before = emulator::calls();
        all.wait();
        let result = work(p);
        all.wait();
        let asked = emulator::calls().since(&before);
        all.wait();
        result.unwrap();
        (asked, p.stats().rounds - rounds)
    };
    once(p);
    let (asked, rounds) = once(p);
    (p.id() == PartyId::P0).then_some((asked, rounds))
}

fn of_protocol(card: Device, ring: Ring, protocol: Protocol) -> (Calls, u64) {
    let world = World { devices: [card, Device::Cpu, Device::Cpu], ..World::seeded(5).in_ring(ring) };
    let values = (0..ELEMENTS as u64).map(|i| i.wrapping_mul(0x9e37) % (1 << 22)).collect();
    let shares = world.deal(&ArrayD::from_shape_vec(IxDyn(&[SIDE, SIDE]), values).unwrap());
    let all = Barrier::new(3);
    let counted = world.run(|p| counted(p, &all, |p| protocol(p, &shares[p.id().index()])));
    counted.into_iter().flatten().next().unwrap()
}

fn of_network(card: Device, ring: Ring, net: &Graph, weights: &Weights, images: &ArrayD<f64>) -> (Calls, u64) {
    let world = World { devices: [card, Device::Cpu, Device::Cpu], ..World::seeded(3).in_ring(ring) };
    let all = Barrier::new(3);
    let counted = world.run(|p| {
        let [zero, one, _] = PartyId::ALL;
        let mine = (p.id() == one).then(|| weights.clone());
        let model = SharedModel::share(p, net, one, mine, LowerOptions::default()).unwrap();
        let x = (p.id() == zero).then(|| images.view());
        let x = private::share_images(p, net, zero, x, images.shape()[0]).unwrap();
        counted(p, &all, |p| model.infer(p, x.clone()))
    });
    counted.into_iter().flatten().next().unwrap()
}

fn calls(card: Device) {
    if !emulator::runs() {
        println!("calls of the driver are not counted: only the emulator counts them");
        return;
    }
    const { assert!(ELEMENTS >= 4 * BLOCK, "every party has every role") };
    let in_both = |of: &dyn Fn(Ring) -> (Calls, u64)| [Ring::Z64, Ring::Z32].map(of);
    let mut rows: Vec<_> =
        PROTOCOLS.iter().map(|&(name, protocol)| (name, in_both(&|ring| of_protocol(card, ring, protocol)))).collect();
    let declaration = Inference::of("lenet").unwrap();
    let net = declaration.graph().unwrap();
    let weights = declaration.load_weights(&net).unwrap();
    let digit = declaration.open_images(&net).unwrap().batch(0, 1).unwrap();
    rows.push(("**LeNet**", in_both(&|ring| of_network(card, ring, &net, &weights, &digit))));
    let mut table = String::from(
        "| | rounds | launches | copies to the card | from it | within it | points marked |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, both) in rows {
        let [long, short] = both.map(|(asked, rounds)| {
            // Events are used again. How many are in use at a time depends on when copies end, which no table can hold.
            let (made, marked) = (asked.events(), asked.columns()[4]);
            assert!(made <= 2 + marked / 8, "{name}: {made} events made for {marked} points in streams");
            std::iter::once(rounds).chain(asked.columns())
        });
        let cell = |(long, short)| if long == short { format!("{long}") } else { format!("{long} / {short}") };
        let columns = long.zip(short).map(cell).collect::<Vec<_>>().join(" | ");
        writeln!(table, "| {name} | {columns} |").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gpu.md");
    let file = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- calls: generated -->\n", "<!-- calls: end -->");
    let (from, to) = (file.find(begin).unwrap() + begin.len(), file.find(end).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, [&file[..from], &table, &file[to..]].concat()).unwrap();
    } else {
        let what = "docs/gpu.md is not what is counted: run this test with UPDATE_DOCS=1 and look at the difference";
        assert_eq!(&file[from..to], table, "{what}");
    }
}
