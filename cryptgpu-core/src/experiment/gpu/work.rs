//! What is measured: every operation of a device, with words to work on. Each reads its inputs once and writes its
//! results once, which is what its bytes count; masks that a kernel keeps in results come on top and are its own fault.

use crate::device::{
    Binary, BitTerm, Buffer, CloseTerms, ConvGeometry, Deal, Device, DeviceError, Draw, MatmulGeometry, OpenTop,
    PlaneWindows, PoolGeometry, Results, SharedBits, SignWindow, Summed, TermShare, TreeStep, Unary, View, ViewMut,
    kernels,
};
use crate::mpc::cost::window_in;
use crate::prg::{Correlated, Key, Keys, Randomness, Stream, Zero};
use crate::ring::Ring;

/// An operation with its operands.
pub(super) struct Work {
    pub operation: &'static str,
    /// As people read it.
    pub size: String,
    /// Read and written, at least.
    pub bytes: usize,
    /// In the ring.
    pub multiply_adds: f64,
    pub body: Box<dyn Body>,
}

/// What can be asked of a card again and again.
pub(super) trait Body {
    /// Asks for it once; nothing waits.
    fn ask(&mut self) -> Result<(), DeviceError>;
    /// Waits, and says what went wrong in a kernel.
    fn check(&self) -> Result<(), DeviceError>;
}

struct Operands<const R: usize, const W: usize, F> {
    inputs: [Buffer; R],
    outputs: [Buffer; W],
    ask: F,
}

impl<const R: usize, const W: usize, F> Body for Operands<R, W, F>
where
    F: Fn([View; R], [ViewMut; W]) -> Result<(), DeviceError>,
{
    fn ask(&mut self) -> Result<(), DeviceError> {
        let (inputs, outputs) =
            (self.inputs.each_ref().map(Buffer::view), self.outputs.each_mut().map(Buffer::view_mut));
        (self.ask)(inputs, outputs)
    }

    fn check(&self) -> Result<(), DeviceError> {
        let first = |buffer: &Buffer| buffer.slice(0..buffer.len().min(1)).to_host().map(drop);
        self.outputs.iter().try_for_each(first)
    }
}

/// On which device, in which ring and on about how many elements operations are.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub device: Device,
    pub ring: Ring,
    pub elements: usize,
}

impl At {
    /// Words of memory of all elements.
    fn words(self) -> usize {
        self.ring.words(self.elements)
    }

    /// Words of a bit for each element.
    fn packed(self) -> usize {
        self.elements.div_ceil(64)
    }

    /// How many bits are cut off by a truncation that is measured: those of a fixed-point product.
    fn cut(self) -> u32 {
        self.ring.default_fraction_bits()
    }
}

/// A family of operations.
pub(super) type Family = fn(At) -> Vec<Work>;

/// All of them.
pub(super) const FAMILIES: [Family; 7] = [elementwise, streams, sign, bit_product, truncation, pooling, products];

fn work<const R: usize, const W: usize>(
    at: At,
    operation: &'static str,
    inputs: [usize; R],
    outputs: [usize; W],
    ask: impl Fn([View; R], [ViewMut; W]) + 'static,
) -> Work {
    let ask = move |inputs: [View; R], outputs: [ViewMut; W]| {
        ask(inputs, outputs);
        Ok(())
    };
    product(at.device, operation, format!("{} elements", at.elements), 0.0, (inputs, outputs), ask)
}

/// As [`work`], of something that may be refused.
fn product<const R: usize, const W: usize>(
    device: Device,
    operation: &'static str,
    size: String,
    multiply_adds: f64,
    (inputs, outputs): ([usize; R], [usize; W]),
    ask: impl Fn([View; R], [ViewMut; W]) -> Result<(), DeviceError> + 'static,
) -> Work {
    let bytes = 8 * (inputs.iter().sum::<usize>() + outputs.iter().sum::<usize>());
    // Products of zeros take no other time than others; bits of zeros likewise.
    let (inputs, outputs) = (inputs.map(|len| device.full(len, 3)), outputs.map(|len| device.zeros(len)));
    Work { operation, size, bytes, multiply_adds, body: Box::new(Operands { inputs, outputs, ask }) }
}

fn correlated(randomness: Randomness) -> Correlated {
    // A key that hides nothing: there is nothing to hide.
    Correlated::new(randomness, &Keys::alone(Key::from_bytes([1; 16])))
}

fn draw<const K: usize>(randomness: Randomness) -> [Stream; K] {
    let mut correlated = correlated(randomness);
    std::array::from_fn(|_| {
        let nonce = correlated.nonce();
        correlated.own(nonce)
    })
}

fn zero() -> Zero {
    let mut correlated = correlated(Randomness::Aes128Ctr);
    let nonce = correlated.nonce();
    correlated.zero(nonce)
}

fn elementwise(d: At) -> Vec<Work> {
    let (ring, n, cut) = (d.ring, d.words(), d.cut());
    let planes = cut as usize * d.packed();
    vec![
        work(d, "add", [n, n], [n], move |[x, y], [out]| kernels::binary(ring, Binary::Add, x, y, out)),
        work(d, "multiply by a constant", [n], [n], move |[x], [out]| kernels::unary(ring, Unary::Mul(3), x, out)),
        work(d, "product share", [n; 4], [n], move |[a, b, c, e], [out]| {
            kernels::product_share(ring, [a, b], [c, e], out)
        }),
        work(d, "add a bias", [n, 64], [n], move |[_, bias], [z]| {
            kernels::add_bias(ring, [d.elements / (64 * 4096), 64, 4096], bias, z);
        }),
        work(d, "sum", [n], [1], move |[x], [out]| kernels::sum(ring, d.elements, x, out)),
        work(d, "copy", [n], [n], move |[x], [out]| out.copy_from(x)),
        work(d, "words to planes", [n], [planes], move |[x], [out]| kernels::to_planes(ring, 0, cut, x, out)),
        work(d, "planes to words", [planes], [n], move |[x], [out]| kernels::from_planes(ring, cut, x, out)),
    ]
}

fn streams(d: At) -> Vec<Work> {
    let (ring, n) = (d.ring, d.words());
    let ([aes], [philox], zero) = (draw(Randomness::Aes128Ctr), draw(Randomness::InsecurePhilox), zero());
    vec![
        work(d, "AES-128-CTR", [], [n], move |[], [out]| kernels::fill(&aes, out)),
        work(d, "Philox", [], [n], move |[], [out]| kernels::fill(&philox, out)),
        // What it adds to is read as well as written.
        work(d, "zero-share", [n], [n], move |[_], [z]| kernels::add_zero(ring, &zero, z)),
    ]
}

/// Masks of so many words, which an operation makes as it runs.
fn masks<const K: usize>(words: usize) -> [Draw; K] {
    draw(Randomness::Aes128Ctr).map(|stream| Draw::of(stream, words))
}

fn sign(d: At) -> Vec<Work> {
    let (ring, n, packed) = (d.ring, d.words(), d.packed());
    let window = window_in(ring, SignWindow::default());
    let half = window.groups() / 2;
    let level = (2 * half - 1) * packed;
    let (shared, carries) = (window.shared_planes() * packed, window.carry_planes() * packed);
    let [mask] = masks(shared);
    vec![
        work(d, "sign bit, role 0", [n, n], [shared, packed, packed], move |x, [message, top, top_mask]| {
            kernels::sign_share_bits(ring, window, x, 0, &mask, message, [top, top_mask]);
        }),
        work(
            d,
            "sign bit, roles 1 and 2",
            [n, shared, carries],
            [carries, packed, packed],
            move |[b, shared, mask], [carry, top, top_a]| {
                let shared = SharedBits::Received(shared);
                kernels::sign_share_carries(ring, window, b, shared, mask, carry, [top, top_a]);
            },
        ),
        work(d, "sign bit, a level of the tree", [carries, carries, level], [level], move |[a, b, mask], [out]| {
            let (x, mask) = ([Summed(a, None), Summed(b, None)], Summed(mask, None));
            kernels::sign_tree(vec![TreeStep { elements: d.elements, half, x, mask, out }]);
        }),
    ]
}

fn bit_product(d: At) -> Vec<Work> {
    let (ring, n, packed) = (d.ring, d.words(), d.packed());
    let ([a, b, c, e, f], [g, k, l, m]) = (masks(n), masks(n));
    vec![
        work(d, "bit product, role 0", [packed; 2], [n; 3], move |u, [message, y0, y1]| {
            kernels::bit_product_role0(ring, u, [&a, &b, &c, &e, &f], message, y0, y1);
        }),
        work(d, "bit product, opening", [packed, packed, n, n], [n], move |[u, v, x1, x2], [message]| {
            let (bits, x) = ([u, v], Summed(x1, Some(x2)));
            kernels::bit_product_terms(ring, vec![BitTerm { bits, x, opened: None, mask: &g, message }]);
        }),
        work(d, "bit product, closing", [packed, packed, n, n, n], [n], move |[u, v, x1, x2, e], [message]| {
            let (bits, x) = ([u, v], Summed(x1, Some(x2)));
            kernels::bit_product_terms(ring, vec![BitTerm { bits, x, opened: Some(e), mask: &k, message }]);
        }),
        work(d, "bits to words, role 0", [packed], [n], move |[u], [message]| {
            kernels::convert_role0(ring, u, &m, message)
        }),
        work(d, "bits to words, a term", [packed, n], [n], move |[v, share], [message]| {
            kernels::convert_term(ring, v, share, &l, true, message);
        }),
    ]
}

fn truncation(d: At) -> Vec<Work> {
    let (ring, n, packed, cut) = (d.ring, d.words(), d.packed(), d.cut());
    let planes = cut as usize * packed;
    let ([a, b, c, e], [f, g, h, i, j]) = (masks(n), masks(n));
    let first = move |[z, alpha, beta, own, pad]: [View; 5], [dealt, opened]: [ViewMut; 2]| {
        let deal = Deal { z, halves: [alpha, beta], gamma: &a, message: dealt };
        kernels::truncation_first(ring, cut, deal, OpenTop { z: own, alpha: pad, message: opened });
    };
    vec![
        work(d, "truncation, roles 2 and 0", [n, packed, packed, n, packed], [n + planes, packed], first),
        work(
            d,
            "truncation, role 1",
            [n, n + planes, packed, packed],
            [n + packed, n, n],
            move |[z, dealt, e, beta], [message, y1, y2]| {
                let results = Results { message, a: y1, b: y2 };
                kernels::truncation_role1(ring, cut, [z, dealt], [e, beta], &b, results);
            },
        ),
        work(
            d,
            "truncation, role 0",
            [n, n + packed, packed, packed],
            [n, n, n],
            move |[z, received, o, alpha], [message, y0, y1]| {
                let results = Results { message, a: y0, b: y1 };
                kernels::truncation_role0(ring, cut, [z, received], [o, alpha], [&c, &e], results);
            },
        ),
        work(d, "truncation of a tensor, role 0", [n, n], [n + planes, n, n], move |x, [message, y0, y1]| {
            let results = Results { message, a: y0, b: y1 };
            kernels::truncation_shared_role0(ring, cut, x, [&g, &h, &i, &j], results);
        }),
        work(d, "truncation of a tensor, a term", [n, n + planes], [planes, n], move |[v, share], [out, kept]| {
            kernels::truncation_shared_term(ring, cut, v, TermShare::Received(share), &f, out, kept);
        }),
        work(d, "truncation of a tensor, last", [n, planes, planes], [n], move |[v, first, second], [y2]| {
            kernels::truncation_shared_close(ring, cut, vec![CloseTerms { v, terms: [first, second], y2 }]);
        }),
    ]
}

fn pooling(d: At) -> Vec<Work> {
    let ring = d.ring;
    // Images of 32 × 32, as many as there are words for.
    let (window, side) = (PoolGeometry::square(2, 2, 0), 32);
    let (planes, half) = (d.elements.div_ceil(side * side), side / 2);
    let whole = ring.words(planes * side * side);
    let windows = PlaneWindows { window, input: [side; 2], output: [half; 2] };
    vec![
        work(d, "sums of windows", [whole], [whole / 4], move |[x], [out]| {
            kernels::sum_pool(ring, &windows, planes, x, out)
        }),
        work(d, "a tap of windows", [whole], [whole / 4], move |[x], [out]| {
            kernels::pool_tap(ring, &windows, planes, [1, 0], 0, x, out);
        }),
        work(d, "spreading over windows", [whole / 4], [whole], move |[g], [out]| {
            kernels::spread(ring, &windows, planes, false, g, out);
        }),
    ]
}

fn products(At { device: d, ring, elements: n }: At) -> Vec<Work> {
    let mut all: Vec<Work> = [64usize, 256, 1024, 2048]
        .into_iter()
        .filter(|side| side * side <= n)
        .map(|side| {
            let size = format!("two products {side} × {side} × {side}");
            let words = ring.words(side * side);
            let words = ([words; 4], [words]);
            let multiply_adds = 2.0 * (side as f64).powi(3);
            product(d, "matmul", size, multiply_adds, words, move |[x0, y0, x1, y1], [out]| {
                let geometry = MatmulGeometry { size: [side; 2], depths: [side; 2], transposed: [false; 2] };
                kernels::matmul_sum(ring, &geometry, vec![(x0, y0), (x1, y1)], out)
            })
        })
        .collect();
    let window = PoolGeometry::square(3, 1, 1);
    for (channels, side, groups) in [(64, 32, 1), (256, 16, 1), (64, 32, 64)] {
        let input = [side; 2];
        let geometry = ConvGeometry { batch: 1, in_channels: channels, input, out_channels: channels, window, groups };
        let (image, weight) = (channels * side * side, channels * channels / groups * 9);
        if image.max(weight) > n {
            continue;
        }
        let size = format!("two of {channels} channels {side} × {side}, 3 × 3, {groups} group(s)");
        let multiply_adds = 2.0 * (weight * side * side) as f64;
        let (image, weight) = (ring.words(image), ring.words(weight));
        let words = ([image, weight, image, weight], [image]);
        all.push(product(d, "convolution", size.clone(), multiply_adds, words, move |[x0, w0, x1, w1], [out]| {
            kernels::conv2d_sum(ring, &geometry, vec![(x0, w0), (x1, w1)], out)
        }));
        let (name, words) = ("gradient of weights", ([image; 4], [weight]));
        all.push(product(d, name, size.clone(), multiply_adds, words, move |[dy0, x0, dy1, x1], [out]| {
            kernels::conv2d_weight_gradient_sum(ring, &geometry, vec![(dy0, x0), (dy1, x1)], out)
        }));
        let (name, words) = ("gradient of images", ([image, weight, image, weight], [image]));
        all.push(product(d, name, size, multiply_adds, words, move |[dy0, w0, dy1, w1], [out]| {
            kernels::conv2d_input_gradient_sum(ring, &geometry, vec![(dy0, w0), (dy1, w1)], out)
        }));
    }
    all
}
