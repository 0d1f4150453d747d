//! `docs/protocols.md`'s tables are generated: this test runs every protocol, holds the declared
//! cost against the counted one, and compares the file. `UPDATE_DOCS=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{
    CheckRange, Cost, Fidelity, MpcError, Octaves, Operand, Party, Rep, Settings, SignWindow, SmoothFunction, World,
    cost,
};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{LowerOptions, fold, lower, zoo};
use cryptgpu_core::ring::Ring;
use cryptgpu_datasets::paper::{self, Table, quantity};
use std::fmt::Write;

type Protocol = fn(&mut Party, &Rep) -> Result<(), MpcError>;

const N: usize = 1 << 15;

fn settings(fidelity: Fidelity, window: SignWindow) -> Settings {
    Settings { fidelity, window, ..Settings::default() }
}

fn protocols() -> Vec<(&'static str, Settings, Protocol)> {
    let exact = settings(Fidelity::Exact, SignWindow::default());
    let paper = settings(Fidelity::Paper, SignWindow::default());
    let short = settings(Fidelity::Exact, SignWindow::new(0, 32).unwrap());
    let checking = Settings { check_range: CheckRange::Run, ..exact };
    vec![
        ("opening", exact, |p, x| p.open(x).map(drop)),
        ("product, no truncation", exact, |p, x| p.mul_no_trunc(x, x).map(drop)),
        ("product with truncation", exact, |p, x| p.mul(x, x).map(drop)),
        ("product with truncation, `Fidelity::Paper`", paper, |p, x| p.mul(x, x).map(drop)),
        ("fully connected layer (per output)", exact, |p, x| {
            let (x, w) = (x.reshape(&[N / 8, 8]).unwrap(), x.narrow(0..64).and_then(|w| w.reshape(&[8, 8])).unwrap());
            p.linear(&x, &Operand::new(p.id(), w), None).map(drop)
        }),
        ("truncation of a shared tensor", exact, |p, x| p.truncate(x, p.codec().fraction_bits()).map(drop)),
        ("the same and `CheckRange::Run`", checking, |p, x| {
            let _ = p.truncate(x, p.codec().fraction_bits())?;
            p.check_range()
        }),
        ("extension to the ring of 64 bits", exact, |p, x| p.extend(x).map(drop)),
        ("sign bit", exact, |p, x| p.sign(x).map(drop)),
        ("sign bit, 32-bit window", short, |p, x| p.sign(x).map(drop)),
        ("comparison as a ring element", exact, |p, x| {
            let difference = x.sub(&x.neg())?;
            p.sign_to_ring(&difference, false).map(drop)
        }),
        ("ReLU", exact, |p, x| p.relu(x).map(drop)),
        ("product with truncation, and ReLU behind it", exact, |p, x| {
            let product = p.begin_truncation(x.local_mul(x)?, p.codec().fraction_bits())?;
            p.relu_behind(product).map(drop)
        }),
        ("ReLU, 32-bit window", short, |p, x| p.relu(x).map(drop)),
        ("ReLU6", exact, |p, x| p.clipped_relu(x, 6.0).map(drop)),
        ("maximum", exact, |p, x| p.maximum(x, &x.neg()).map(drop)),
        ("max-pool 2×2 (per input)", exact, |p, x| {
            p.max_pool(&x.reshape(&[1, 2, 128, 128]).unwrap(), &PoolGeometry::square(2, 2, 0)).map(drop)
        }),
        ("max-pool 2×2 and its gradient (per input)", exact, |p, x| {
            let (maxima, kept) =
                p.max_pool_kept(&x.reshape(&[1, 2, 128, 128]).unwrap(), &PoolGeometry::square(2, 2, 0))?;
            p.max_pool_gradient(&kept, &maxima).map(drop)
        }),
        ("bit times tensor: the gradient of a ReLU", exact, |p, x| {
            let bits = x.component_bits(p.id(), PartyId::P0).bit(0)?;
            p.bit_product(&bits, x).map(drop)
        }),
        ("gradient of a layer's input (per input)", exact, |p, x| {
            let (dy, w) = (x.reshape(&[N / 8, 8]).unwrap(), x.narrow(0..64).and_then(|w| w.reshape(&[8, 8])).unwrap());
            p.linear_input_gradient(&dy, &Operand::new(p.id(), w)).map(drop)
        }),
        ("products of 16×16 matrices", exact, |p, x| {
            let x = x.reshape(&[N / 256, 16, 16]).unwrap();
            p.batched_matmul(&x, &x).map(drop)
        }),
        ("average pool 2×2 (per input)", exact, |p, x| {
            p.avg_pool(&x.reshape(&[1, 2, 128, 128]).unwrap(), &PoolGeometry::square(2, 2, 0)).map(drop)
        }),
    ]
}

/// Functions of secret numbers: name, range of the argument and error at 20 fraction bits (shown, and held by
/// `mpc::tests::functions`), and what is run on 16,000 elements.
fn functions() -> Vec<(&'static str, &'static str, &'static str, Protocol)> {
    let all = "2^−20 ≤ x < 2^11; smaller counts as 2^−20";
    vec![
        ("1/x", all, "2^−20 + 2^−25/x", |p, x| p.reciprocal(x).map(drop)),
        ("x/y", "as 1/x for y; \\|x/y\\| < 2^18", "2^−20 + 2^−24·\\|x\\| + 2^−25·\\|x/y\\|", |p, x| {
            p.div(x, x).map(drop)
        }),
        ("x/y, y of either sign", "as 1/x for \\|y\\|; \\|x/y\\| < 2^18", "as x/y", |p, x| p.quotient(x, x).map(drop)),
        ("1/√x", all, "2^−20 + 2^−21/√x", |p, x| p.rsqrt(x).map(drop)),
        ("√x", "x < 2^11; zero and negative give 0", "2^−20 + 2^−21·√x", |p, x| p.sqrt(x).map(drop)),
        ("ln x", all, "2^−20 + 2^−25", |p, x| p.log(x).map(drop)),
        ("eˣ", "all x; from 14 ln 2 on it is 2^14", "2^−20 + 2^−23·eˣ", |p, x| p.exp(x).map(drop)),
        ("1/(1 + e⁻ˣ)", "all x", "2·2^−20", |p, x| p.sigmoid(x).map(drop)),
        ("1/(1 + e⁻ˣ) of activations", "all x", "2^−20 + 2^−20", |p, x| {
            p.smooth(x, SmoothFunction::Sigmoid).map(drop)
        }),
        ("erf x", "all x", "2^−20 + 2^−20", |p, x| p.smooth(x, SmoothFunction::Erf).map(drop)),
        ("e^min(x, 0)", "all x", "2^−20 + 2^−20", |p, x| p.smooth(x, SmoothFunction::ExpBelowZero).map(drop)),
        ("ln(1 + e^min(x, 0))", "all x", "2^−20 + 2^−20", |p, x| {
            p.smooth(x, SmoothFunction::SoftplusBelowZero).map(drop)
        }),
        ("tanh ln(1 + eˣ)", "all x", "2^−20 + 2^−20", |p, x| p.smooth(x, SmoothFunction::MishFactor).map(drop)),
        ("approximate Gelu, over x", "all x", "2^−20 + 2^−20", |p, x| {
            p.smooth(x, SmoothFunction::GeluTanhFactor).map(drop)
        }),
        ("1/x, 2^0 ≤ x < 2^4", "as named; smaller counts as 1", "2^−20 + 2^−25/x", |p, x| {
            p.reciprocal_in(x, Octaves::new(0, 4)).map(drop)
        }),
        ("maximum of rows of 10", "differences below 2^41", "none", |p, x| {
            p.max_last_axis(&x.reshape(&[ELEMENTS / 10, 10])?).map(drop)
        }),
        ("softmax of rows of 10", "as the maximum", "3.25·2^−20", |p, x| {
            p.softmax(&x.reshape(&[ELEMENTS / 10, 10])?).map(drop)
        }),
        ("its logarithm", "as the maximum", "3.25·2^−20", |p, x| {
            p.log_softmax(&x.reshape(&[ELEMENTS / 10, 10])?).map(drop)
        }),
        (
            "rows of 10 with mean 0, variance 1",
            "√Σ(x − μ)² < 2^11",
            "2^−20·(2 + 2/σ) + 2^−19·\\|y\\|",
            |p, x| p.layer_norm(&x.reshape(&[ELEMENTS / 10, 10])?, 1e-5).map(drop),
        ),
        ("rows of 10 with squares of mean 1", "√Σx² < 2^11", "the same with √mean(x²) for σ", |p, x| {
            p.rms_norm(&x.reshape(&[ELEMENTS / 10, 10])?, 1e-5).map(drop)
        }),
        ("cross-entropy and its gradient", "as the maximum", "4·2^−20", |p, x| {
            let x = x.reshape(&[ELEMENTS / 10, 10])?;
            p.cross_entropy(&x, &x).map(drop)
        }),
    ]
}

/// Elements on which functions are measured: enough rows of ten for every role of every protocol to have some.
const ELEMENTS: usize = 16_000;

fn function_table() -> String {
    let mut table = String::from(
        "| function | argument | error, at most | bytes an element, all parties | rounds | in the ring of 32 bits | rounds |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, range, error, protocol) in functions() {
        let columns = [Ring::Z64, Ring::Z32].map(|ring| {
            let cost = measure(ELEMENTS, Settings { codec: ring.into(), ..Settings::default() }, protocol);
            format!("{:.1} | {}", cost.bytes as f64 / ELEMENTS as f64, cost.rounds)
        });
        writeln!(table, "| {name} | {range} | {error} | {} |", columns.join(" | ")).unwrap();
    }
    table
}

fn measure(n: usize, settings: Settings, protocol: Protocol) -> Cost {
    let mut world = World::seeded(1);
    world.settings = settings;
    let x = ndarray::Array1::from_iter((0..n as u64).map(|i| i << 8));
    let shares = world.deal(&x);
    let counted = world.run_counted(|p| {
        protocol(p, &shares[p.id().index()]).unwrap();
        p.declared()
    });
    let bytes = counted.iter().map(|(_, stats)| stats.payload_bytes()).sum();
    let rounds = counted.iter().map(|(_, stats)| stats.rounds).max().unwrap();
    let measured = Cost { bytes, rounds };
    assert_eq!(measured, counted[0].0);
    measured
}

fn protocol_table() -> String {
    let mut table = String::from(
        "| protocol | bytes an element, all parties | rounds | in the ring of 32 bits | rounds |\n|---|---|---|---|---|\n",
    );
    for (name, settings, protocol) in protocols() {
        let columns = [Ring::Z64, Ring::Z32].map(|ring| {
            // All bits of that ring are no narrow window, and what is of 64 bits stays as it is.
            let fits = settings.window == SignWindow::default() || ring == Ring::Z64;
            let cost = fits.then(|| measure(N, Settings { codec: ring.into(), ..settings }, protocol));
            cost.filter(|cost| *cost != Cost::FREE).map_or_else(
                || "– | –".to_owned(),
                |cost| format!("{:.2} | {}", cost.bytes as f64 / N as f64, cost.rounds),
            )
        });
        writeln!(table, "| {name} | {} |", columns.join(" | ")).unwrap();
    }
    table
}

fn network_table() -> String {
    let mut table = String::from(
        "| network | ours, all parties | rounds | the paper's code, really sent | ratio | with a 32-bit window |\n|---|---|---|---|---|---|\n",
    );
    for name in zoo::PAPER {
        let graph = fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap();
        let plan = lower::lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
        let image: usize = graph.input_shape().iter().product();
        let total = |settings| cost::input(Ring::Z64, image) + cryptgpu_core::nn::cost::infer(&plan, 1, &settings);
        let ours = total(Settings::default());
        let short = total(settings(Fidelity::Exact, SignWindow::new(0, 32).unwrap()));
        let sent = paper::find(Table::Inference, name, 1, "CryptGPU", quantity::BYTES_SENT).unwrap().unwrap();
        let sent = sent.value
            * if sent.unit == "GB" {
                1e9
            } else if sent.unit == "MB" {
                1e6
            } else {
                1.0
            };
        let ratio = ours.bytes as f64 / sent;
        let limit = if name.starts_with("resnet") { 0.30 } else { 0.42 };
        assert!(ratio <= limit, "{name} sends {:.1} % of what the paper's code sends", 100.0 * ratio);
        let mb = |bytes: f64| format!("{:.3} MB", bytes / 1e6);
        let (bytes, paper, percent) = (mb(ours.bytes as f64), mb(sent), 100.0 * ratio);
        writeln!(
            table,
            "| {name} | {bytes} | {} | {paper} | {percent:.1} % | {} |",
            ours.rounds,
            mb(short.bytes as f64)
        )
        .unwrap();
    }
    table
}

#[test]
fn the_tables_of_the_documentation_are_what_is_measured() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocols.md");
    let file = std::fs::read_to_string(path).unwrap();
    let mut updated = file.clone();
    for (name, table) in
        [("protocols", protocol_table()), ("functions", function_table()), ("networks", network_table())]
    {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
        let from = updated.find(&begin).unwrap() + begin.len();
        let to = updated.find(&end).unwrap();
        updated.replace_range(from..to, &table);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &updated).unwrap();
    }
    assert!(
        file == updated || std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/protocols.md is not what is measured: run this test with UPDATE_DOCS=1 and look at the difference"
    );
}
