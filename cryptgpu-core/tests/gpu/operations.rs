//! Every operation of a device against the CPU's, bit for bit: on all shapes of the packing, at even and odd
//! places in memory, with what lies around the results left alone. Those that layers are made of are in `layers`.

use super::Body;
use super::data::{GENERATORS, SIZES, planes, streams, words, zero};
use cryptgpu_core::device::{
    self, Binary, BitTerm, Buffer, CloseTerms, Combined, Deal, Device, Draw, Masks, OpenTop, Placed, PoolGeometry,
    Results, SharedBits, SignWindow, Summed, Tensor, TermShare, TreeStep, Unary, View, ViewMut, kernels,
};
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::Ring;
use ndarray::{ArrayD, IxDyn};

pub const BODIES: &[(&str, Body)] = &[
    ("binary", |card| in_both(card, binary)),
    ("combinations", |card| in_both(card, combinations)),
    ("unary", |card| in_both(card, unary)),
    ("constants_and_copies", constants_and_copies),
    ("sum", |card| in_both(card, sum)),
    ("streams", stream_words),
    ("zero_shares", |card| in_both(card, zero_shares)),
    ("product_share_and_bias", |card| in_both(card, product_share_and_bias)),
    ("bits_of_words", |card| in_both(card, bits_of_words)),
    ("sign_bits", |card| in_both(card, sign_bits)),
    ("sign_carries", |card| in_both(card, sign_carries)),
    ("masks_made_at_once", masks_made_at_once),
    ("sign_tree", sign_tree),
    ("bit_product", |card| in_both(card, bit_product)),
    ("conversion", |card| in_both(card, conversion)),
    ("truncation_of_products", |card| in_both(card, truncation_of_products)),
    ("truncation_of_tensors", |card| in_both(card, truncation_of_tensors)),
    ("tensors", |card| in_both(card, tensors)),
    ("parts", parts),
    ("extension", extension),
];

/// A body in both rings. Sizes are of elements: n of 32 bits take `Ring::words` words and fill those.
pub fn in_both(card: Device, body: fn(Ring, Device)) {
    for ring in [Ring::Z64, Ring::Z32] {
        body(ring, card);
    }
}

/// A result: words that are written whole, or that are changed.
pub enum Out {
    New(usize),
    Changed(Vec<u64>),
}

/// What lies around operands that are parts of larger buffers.
const GUARD: u64 = 0xA5A5_5A5A_C3C3_3C3C;

/// Runs `op` on a device. With a shift, operands begin so many words into larger buffers, and the results
/// come with their surroundings.
fn run<const R: usize, const W: usize>(
    device: Device,
    shift: usize,
    inputs: &[Vec<u64>; R],
    outputs: &[Out; W],
    op: &impl Fn([View; R], [ViewMut; W]),
) -> [Vec<u64>; W] {
    let guarded = |words: &[u64]| {
        let end: &[u64] = if shift > 0 { &[GUARD; 2] } else { &[] };
        device.upload([&vec![GUARD; shift][..], words, end].concat())
    };
    let sources = inputs.each_ref().map(|words| (guarded(words), words.len()));
    let mut results = outputs.each_ref().map(|out| match out {
        // Memory that nothing was written to: the emulator reports what is read of it.
        Out::New(len) if shift == 0 => (device.alloc(*len), *len),
        Out::New(len) => (guarded(&vec![0; *len]), *len),
        Out::Changed(words) => (guarded(words), words.len()),
    });
    let reads = sources.each_ref().map(|(buffer, len)| buffer.slice(shift..shift + len));
    let writes = results.each_mut().map(|(buffer, len)| buffer.slice_mut(shift..shift + *len));
    op(reads, writes);
    results.map(|(buffer, _)| buffer.into_host().unwrap())
}

/// Checks that the card's results are the CPU's.
pub fn same<const R: usize, const W: usize>(
    what: &str,
    card: Device,
    inputs: [Vec<u64>; R],
    outputs: [Out; W],
    op: impl Fn([View; R], [ViewMut; W]),
) {
    for shift in [0, 1] {
        let expected = run(Device::Cpu, shift, &inputs, &outputs, &op);
        let found = run(card, shift, &inputs, &outputs, &op);
        for (which, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let differ = expected.iter().zip(found).position(|(e, f)| e != f);
            assert!(
                differ.is_none() && expected.len() == found.len(),
                "{what}, shifted by {shift}: word {} of result {which} differs",
                differ.unwrap_or(expected.len())
            );
        }
    }
}

fn binary(ring: Ring, card: Device) {
    for n in SIZES.map(|n| ring.words(n)) {
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Xor, Binary::And] {
            same(&format!("{op:?} of {n}"), card, [words(n, 1), words(n, 2)], [Out::New(n)], |[x, y], [out]| {
                kernels::binary(ring, op, x, y, out)
            });
        }
    }
}

fn combinations(ring: Ring, card: Device) {
    for n in SIZES.map(|n| ring.words(n)) {
        let inputs = [words(n, 1), words(n, 2), words(n, 3)];
        let outputs = [Out::New(n), Out::New(n), Out::New(n), Out::Changed(words(n, 4))];
        same(&format!("combinations of {n}"), card, inputs, outputs, |[x, y, z], [first, second, third, onto]| {
            kernels::combine(
                ring,
                vec![
                    Combined::xor([x, y, z, x, y], true, first),
                    Combined::sum([y, z], second),
                    Combined::sum([x], third),
                ],
            );
            kernels::add_to(ring, x, onto);
        });
    }
}

fn unary(ring: Ring, card: Device) {
    for n in SIZES.map(|n| ring.words(n)) {
        let c = words(3, 9)[1];
        let shifts = [0, 1, 20, 63, 64, 100].map(|k| [Unary::Shl(k), Unary::Shr(k), Unary::Sar(k)]);
        let constants = [Unary::Add(c), Unary::Mul(c), Unary::Xor(c), Unary::And(c), Unary::Mul(u64::MAX)];
        for op in shifts.into_iter().flatten().chain(constants) {
            same(&format!("{op:?} of {n}"), card, [words(n, 1)], [Out::New(n)], |[x], [out]| {
                kernels::unary(ring, op, x, out)
            });
        }
    }
}

fn constants_and_copies(card: Device) {
    for n in SIZES {
        assert_eq!(card.full(n, 7).into_host().unwrap(), vec![7; n]);
        assert_eq!(card.zeros(n).into_host().unwrap(), vec![0; n]);
        let host = words(n, 3);
        let buffer = card.upload(host.clone());
        assert_eq!(buffer.clone().into_host().unwrap(), host);
        assert_eq!(buffer.slice(n / 3..n).to_buffer().into_host().unwrap(), host[n / 3..]);
        same(&format!("copy of {n}"), card, [words(n, 4)], [Out::New(n)], |[x], [out]| out.copy_from(x));
    }
    assert!(card.upload(vec![]).into_host().unwrap().is_empty());
}

fn sum(ring: Ring, card: Device) {
    for n in SIZES.into_iter().chain([100_000]) {
        same(&format!("sum of {n}, {ring}"), card, [words(ring.words(n), 1)], [Out::New(1)], |[x], [out]| {
            kernels::sum(ring, n, x, out)
        });
    }
}

fn stream_words(card: Device) {
    for randomness in GENERATORS {
        for n in SIZES.into_iter().chain([70_001]) {
            let [stream] = streams(randomness, n as u64);
            same(&format!("{randomness}, {n}"), card, [], [Out::New(n)], |[], [out]| kernels::fill(&stream, out));
        }
    }
}

fn zero_shares(ring: Ring, card: Device) {
    for randomness in GENERATORS {
        for n in SIZES.map(|n| ring.words(n)) {
            let zero = zero(randomness, n as u64);
            let z = [Out::Changed(words(n, 5))];
            same(&format!("{randomness}, {n}"), card, [], z, |[], [z]| kernels::add_zero(ring, &zero, z));
        }
    }
}

fn product_share_and_bias(ring: Ring, card: Device) {
    for n in SIZES.map(|n| ring.words(n)) {
        let inputs = [1, 2, 3, 4].map(|seed| words(n, seed));
        same(&format!("product of {n}"), card, inputs, [Out::New(n)], |[a, b, c, e], [out]| {
            kernels::product_share(ring, [a, b], [c, e], out)
        });
    }
    for (channels, inner, batch) in [(1, 1, 1), (5, 1, 7), (3, 17, 2), (10, 144, 3)] {
        let z = [Out::Changed(words(ring.words(channels * inner * batch), 1))];
        let what = format!("bias of {batch} × {channels} × {inner}");
        same(&what, card, [words(ring.words(channels), 2)], z, |[bias], [z]| {
            kernels::add_bias(ring, [batch, channels, inner], bias, z)
        });
    }
}

fn bits_of_words(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        let all = [(0, 1), (3, 7), (0, 20), (8, 24), (0, 32), (31, 1), (40, 24), (0, 64), (63, 1)];
        for (low, width) in all.into_iter().filter(|(low, width)| low + width <= ring.bits()) {
            let (what, packed) = (format!("bits {low}, {width} of {n}"), width as usize * n.div_ceil(64));
            same(&what, card, [words(w, 1)], [Out::New(packed)], |[x], [out]| {
                kernels::to_planes(ring, low, width, x, out)
            });
            let bits = planes(n, width as usize, 2);
            same(&what, card, [bits], [Out::New(w)], |[bits], [out]| kernels::from_planes(ring, width, bits, out));
        }
    }
}

/// Windows of every width, at the bottom, in the middle and at the top.
fn windows(ring: Ring) -> impl Iterator<Item = SignWindow> {
    let all = [(0, 64), (0, 32), (32, 32), (7, 16), (16, 16), (48, 16), (5, 8), (24, 8)];
    all.into_iter()
        .filter(move |(low, width)| low + width <= ring.bits())
        .map(|(low, width)| SignWindow::new(low, width).unwrap())
}

/// Masks of so many words, not made yet, which a card makes as it comes to them.
fn masks<const N: usize>(randomness: Randomness, seed: u64, n: usize) -> [Draw; N] {
    streams(randomness, seed).map(|stream| Draw::of(stream, n))
}

/// Masks that are made before they are used have the words of their streams, and so have those that wait, and places.
fn masks_made_at_once(card: Device) {
    for randomness in GENERATORS {
        for n in SIZES {
            let run = |device: Device| {
                let mut draws: [Draw; 3] = masks(randomness, 21, n);
                let mut placed = streams(randomness, 22).map(Placed::of);
                let [first, second]: &mut [Placed; 2] = &mut placed;
                let (mut a, mut b) = (device.alloc(n), device.alloc(n));
                let placed_in = vec![(first, a.view_mut()), (second, b.view_mut())];
                let [one, two, _] = &mut draws;
                device::make(device, Masks { draws: vec![one, two], placed: placed_in });
                let [first, second] = placed;
                first.put(a.view_mut());
                second.put(b.view_mut());
                let drawn = draws.map(|draw| draw.into_buffer(device));
                drawn.into_iter().chain([a, b]).map(|words| words.into_host().unwrap()).collect::<Vec<_>>()
            };
            assert!(run(card) == run(Device::Cpu), "{randomness}, {n}");
        }
    }
}

fn sign_bits(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        for window in windows(ring) {
            let packed = n.div_ceil(64);
            let [mask] = masks(GENERATORS[0], 7, window.shared_planes() * packed);
            let outputs = [Out::New(window.shared_planes() * packed), Out::New(packed), Out::New(packed)];
            let inputs = [words(w, 1), words(w, 2)];
            same(&format!("{window:?} of {n}"), card, inputs, outputs, |x, [message, top, top_mask]| {
                kernels::sign_share_bits(ring, window, x, !u64::from(window.low()), &mask, message, [top, top_mask])
            });
        }
    }
}

fn sign_carries(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        for window in windows(ring) {
            for role in [1, 2] {
                let packed = n.div_ceil(64);
                let [shared, mask] = [(window.shared_planes(), 3), (window.carry_planes(), 4)]
                    .map(|(count, seed)| planes(n, count, seed));
                let [draw] = masks(GENERATORS[0], 8, shared.len());
                let outputs = [Out::New(mask.len()), Out::New(packed), Out::New(packed)];
                let (what, inputs) = (format!("{window:?} of {n}, role {role}"), [words(w, 1), shared, mask]);
                same(&what, card, inputs, outputs, |[b, shared, mask], [carry, top, top_a]| {
                    let shared = if role == 1 { SharedBits::Drawn(&draw) } else { SharedBits::Received(shared) };
                    kernels::sign_share_carries(ring, window, b, shared, mask, carry, [top, top_a])
                });
            }
        }
    }
}

fn sign_tree(card: Device) {
    for n in SIZES {
        for half in [1, 2, 4, 8] {
            let inputs = [planes(n, 4 * half - 1, 1), planes(n, 4 * half - 1, 2), planes(n, 2 * half - 1, 3)];
            let out = [Out::New((2 * half - 1) * n.div_ceil(64))];
            same(&format!("level {half} of {n}"), card, inputs, out, |[a, b, mask]: [View; 3], [out]| {
                let (x, mask) = ([Summed(a, None), Summed(b, None)], Summed(mask, None));
                kernels::sign_tree(vec![TreeStep { elements: n, half, x, mask, out }])
            });
        }
        // A component in two parts, behind two masks.
        let inputs = [planes(n, 7, 1), planes(n, 7, 2), planes(n, 7, 3), planes(n, 3, 4), planes(n, 3, 5)];
        same(&format!("level of sums of {n}"), card, inputs, [Out::New(3 * n.div_ceil(64))], |x: [View; 5], [out]| {
            let [a, b, c, mask, more] = x;
            let (x, mask) = ([Summed(a, Some(b)), Summed(c, None)], Summed(mask, Some(more)));
            kernels::sign_tree(vec![TreeStep { elements: n, half: 2, x, mask, out }])
        });
    }
}

fn bit_product(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        for randomness in GENERATORS {
            let [a, b, c, e, f] = masks(randomness, 11, w);
            let u = [planes(n, 1, 1), planes(n, 1, 2)];
            let outputs = [Out::New(w), Out::New(w), Out::New(w)];
            same(&format!("role 0, {n}"), card, u.clone(), outputs, |u, [message, y0, y1]| {
                kernels::bit_product_role0(ring, u, [&a, &b, &c, &e, &f], message, y0, y1)
            });
            // Both roles, first and last.
            let [u1, v] = u;
            for last in [false, true] {
                let inputs = [u1.clone(), v.clone(), words(w, 3), words(w, 4), words(w, 5)];
                let outputs = [Out::New(w), Out::New(w)];
                same(&format!("terms, last {last}, {n}"), card, inputs, outputs, |[u, v, x1, x2, e], [one, two]| {
                    let (bits, opened) = ([u, v], last.then_some(e));
                    kernels::bit_product_terms(
                        ring,
                        vec![
                            BitTerm { bits, x: Summed(x1, Some(x2)), opened, mask: &a, message: one },
                            BitTerm { bits, x: Summed(x2, None), opened, mask: &b, message: two },
                        ],
                    )
                });
            }
        }
    }
}

fn conversion(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        let [mask] = masks(GENERATORS[0], 12, w);
        same(&format!("role 0, {n}"), card, [planes(n, 1, 1)], [Out::New(w)], |[u], [message]| {
            kernels::convert_role0(ring, u, &mask, message)
        });
        for with_v in [false, true] {
            let inputs = [planes(n, 1, 1), words(w, 2)];
            same(&format!("term, {n}, {with_v}"), card, inputs, [Out::New(w)], |[v, share], [message]| {
                kernels::convert_term(ring, v, share, &mask, with_v, message)
            });
        }
    }
}

/// Bits that are cut off.
fn cuts(ring: Ring) -> impl Iterator<Item = u32> {
    [1, 13, 20, 30, 40, 61].into_iter().filter(move |cut| cut + 2 <= ring.bits())
}

fn truncation_of_products(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        let packed = n.div_ceil(64);
        let [a, b] = masks(GENERATORS[0], 13, w);
        for cut in cuts(ring) {
            let (what, planar) = (format!("{cut} bits of {n}"), cut as usize * packed);
            let inputs = [words(w, 1), planes(n, 1, 1), planes(n, 1, 2), words(w, 2), planes(n, 1, 3)];
            let outputs = [Out::New(w + planar), Out::New(packed)];
            same(&what, card, inputs, outputs, |[z, alpha, beta, own, pad], [dealt, opened]| {
                let deal = Deal { z, halves: [alpha, beta], gamma: &a, message: dealt };
                kernels::truncation_first(ring, cut, deal, OpenTop { z: own, alpha: pad, message: opened })
            });
            let dealt = [words(w, 2), planes(n, cut as usize, 5)].concat();
            let inputs = [words(w, 1), dealt, planes(n, 1, 2), planes(n, 1, 3)];
            let outputs = [Out::New(w + packed), Out::New(w), Out::New(w)];
            same(&what, card, inputs, outputs, |[z, dealt, e, beta], [message, y1, y2]| {
                let results = Results { message, a: y1, b: y2 };
                kernels::truncation_role1(ring, cut, [z, dealt], [e, beta], &b, results)
            });
            let received = [words(w, 3), planes(n, 1, 4)].concat();
            let inputs = [words(w, 1), received, planes(n, 1, 2), planes(n, 1, 3)];
            let outputs = [Out::New(w), Out::New(w), Out::New(w)];
            same(&what, card, inputs, outputs, |[z, received, e, alpha], [message, y0, y1]| {
                let results = Results { message, a: y0, b: y1 };
                kernels::truncation_role0(ring, cut, [z, received], [e, alpha], [&a, &b], results)
            });
        }
    }
}

fn truncation_of_tensors(ring: Ring, card: Device) {
    for (n, w) in SIZES.map(|n| (ring.filled(n), ring.words(n))) {
        let packed = n.div_ceil(64);
        let [a, b, c, e] = masks(GENERATORS[0], 14, w);
        for cut in cuts(ring) {
            let (what, count) = (format!("{cut} bits of {n}"), cut as usize);
            let outputs = [Out::New(w + count * packed), Out::New(w), Out::New(w)];
            same(&what, card, [words(w, 1), words(w, 2)], outputs, |x, [message, y0, y1]| {
                let results = Results { message, a: y0, b: y1 };
                kernels::truncation_shared_role0(ring, cut, x, [&a, &b, &c, &e], results)
            });
            let outputs = || [Out::New(count * packed), Out::New(w)];
            same(&what, card, [words(w, 1)], outputs(), |[v], [out, kept]| {
                kernels::truncation_shared_term(ring, cut, v, TermShare::Drawn { share: &a, y1: &c }, &b, out, kept)
            });
            let inputs = [words(w, 1), [words(w, 2), planes(n, count, 3)].concat()];
            same(&what, card, inputs, outputs(), |[v, received], [out, kept]| {
                kernels::truncation_shared_term(ring, cut, v, TermShare::Received(received), &b, out, kept)
            });
            let inputs = [words(w, 1), planes(n, count, 3), planes(n, count, 4)];
            same(&what, card, inputs, [Out::New(w), Out::New(w)], |[v, first, second], [one, two]| {
                kernels::truncation_shared_close(
                    ring,
                    cut,
                    vec![
                        CloseTerms { v, terms: [first, second], y2: one },
                        CloseTerms { v, terms: [second, second], y2: two },
                    ],
                )
            });
        }
    }
}

fn tensors(ring: Ring, card: Device) {
    let array = ArrayD::from_shape_vec(IxDyn(&[6, 5, 3]), words(90, 1)).unwrap();
    let array = array.mapv(|x| ring.residue(x));
    let on = |device| Tensor::from_array_in(ring, device, &array);
    let both = |f: &dyn Fn(&Tensor) -> Tensor| {
        let (expected, found) = (f(&on(Device::Cpu)), f(&on(card)));
        assert_eq!((found.device(), found.shape()), (card, expected.shape()));
        assert_eq!(found.to_array().unwrap(), expected.to_array().unwrap());
    };
    both(&Tensor::clone);
    both(&|x| x.swap_axes01().unwrap());
    let windows = PoolGeometry::square(2, 1, 0);
    both(&|x| x.reshape(&[1, 3, 6, 5]).unwrap().sum_pool_gradient(&windows, [7, 6]).unwrap());
    both(&|x| x.narrow(0..4).unwrap().pool_tap_gradient(&windows, [1, 3, 6, 2]).unwrap());
    both(&|x| x.narrow(1..4).unwrap());
    both(&|x| x.narrow(2..2).unwrap());
    both(&|x| Tensor::concat(&[x, &x.narrow(0..2).unwrap(), x]).unwrap());
    both(&|x| x.reshape(&[15, 6]).unwrap().sum());
    both(&|x| Tensor::full(x.device(), &[3, 4], 9).unary(Unary::Add(1)));
    let moved = on(Device::Cpu).to_device(card).unwrap();
    assert_eq!(moved.device(), card);
    assert_eq!(moved.to_device(Device::Cpu).unwrap().into_host().unwrap(), array.iter().copied().collect::<Vec<_>>());
    let buffer: Buffer = on(card).into_buffer();
    assert_eq!(format!("{buffer:?}"), format!("Buffer({} words, {card})", ring.words(90)), "no word is shown");
}

/// Parts that begin and end in the middle of words; what lies around them stays.
fn parts(card: Device) {
    for (n, first, at) in [(1, 0, 0), (1, 1, 0), (7, 3, 4), (700, 1, 2), (701, 2, 1), (0, 5, 5)] {
        let out = [Out::Changed(words(400, 2))];
        same(&format!("{n} from {first} to {at}"), card, [words(400, 1)], out, |[x], [out]| {
            kernels::copy_part(Ring::Z32, n, first, x, at, out)
        });
    }
}

/// The way between the rings.
fn extension(card: Device) {
    for (n, w) in SIZES.map(|n| (Ring::Z32.filled(n), Ring::Z32.words(n))) {
        let ([a, b, c], [y]) = (masks(GENERATORS[0], 15, w), masks(GENERATORS[0], 16, n));
        let outputs = [Out::New(n + w), Out::New(n), Out::New(n)];
        same(&format!("role 0, {n}"), card, [words(w, 1), words(w, 2)], outputs, |x, [message, y0, y1]| {
            kernels::extension_role0(x, [&a, &b, &c, &y], Results { message, a: y0, b: y1 })
        });
        let outputs = || [Out::New(w), Out::New(n)];
        same(&format!("role 1, {n}"), card, [words(w, 1)], outputs(), |[v], [message, kept]| {
            kernels::extension_term(v, TermShare::Drawn { share: &a, y1: &y }, &b, message, kept)
        });
        same(
            &format!("role 2, {n}"),
            card,
            [words(w, 1), words(n + w, 2)],
            outputs(),
            |[v, received], [message, kept]| {
                kernels::extension_term(v, TermShare::Received(received), &b, message, kept)
            },
        );
        let inputs = [words(w, 1), words(w, 2), words(w, 3)];
        same(&format!("last, {n}"), card, inputs, [Out::New(n)], |[v, first, second], [y2]| {
            kernels::extension_close(CloseTerms { v, terms: [first, second], y2 })
        });
        for n in [n, n - 1] {
            same(&format!("reduction of {n}"), card, [words(n, 1)], [Out::New(n.div_ceil(2))], |[x], [out]| {
                kernels::reduce(x, out)
            });
        }
    }
}
