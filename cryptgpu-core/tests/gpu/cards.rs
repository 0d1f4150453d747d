//! Messages from card to card: three processes with shared links and three threads on one card give the components and the
//! counts that links in memory give on the CPU, nothing of them passes through main memory, and a process that dies in the
//! middle is the error that it is without cards.

use super::Body;
use super::emulator::{self, Calls};
use cryptgpu_core::device::Device;
use cryptgpu_core::experiment::Inference;
use cryptgpu_core::mpc::{Party, World};
use cryptgpu_core::net::{Options, PartyId, SharedNetwork, Stats, shared};
use cryptgpu_core::nn::{LowerOptions, SharedModel, private};
use cryptgpu_core::prg::{Correlated, Key, Keys};
use cryptgpu_core::ring::Ring;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub const BODIES: &[(&str, Body)] = &[
    ("party", party),
    ("processes_hand_messages_from_card_to_card", processes_hand_messages_from_card_to_card),
    (
        "without_memory_for_it_messages_pass_through_main_memory",
        without_memory_for_it_messages_pass_through_main_memory,
    ),
    ("a_process_that_dies_is_the_error_that_it_is", a_process_that_dies_is_the_error_that_it_is),
];

const SEED: u64 = 3;
const ROLE: &str = "CRYPTGPU_TEST_CARDS";

/// What a party has at the end of an inference, and what it took.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Outcome {
    components: [Vec<u64>; 2],
    stats: Stats,
    /// The peers to which messages go from card to card.
    mailed: Vec<PartyId>,
    /// What a second inference asked of the driver: nothing where it is not this process's alone, or not counted.
    calls: Calls,
}

/// LeNet on a digit, `times` times; what the last one asked of the driver.
fn infer(p: &mut Party, times: usize) -> ([Vec<u64>; 2], Calls) {
    let declaration = Inference::of("lenet").unwrap();
    let net = declaration.graph().unwrap();
    let [zero, one, _] = PartyId::ALL;
    let weights = (p.id() == one).then(|| declaration.load_weights(&net).unwrap());
    let model = SharedModel::share(p, &net, one, weights, LowerOptions::default()).unwrap();
    let image = (p.id() == zero).then(|| declaration.open_images(&net).unwrap().batch(0, 1).unwrap());
    let x = private::share_images(p, &net, zero, image.as_ref().map(|image| image.view()), 1).unwrap();
    let (mut y, mut calls) = (None, Calls::default());
    for _ in 0..times {
        let before = emulator::calls();
        y = Some(model.infer(p, x.clone()).unwrap());
        calls = emulator::calls().since(&before);
    }
    let y = y.unwrap();
    let (a, b) = y.components();
    ([p.to_host(a.view()).unwrap(), p.to_host(b.view()).unwrap()], calls)
}

/// The keys of a party of `World::seeded`.
fn keys(id: PartyId) -> Keys {
    let key = |purpose: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&SEED.to_le_bytes());
        bytes[8..].copy_from_slice(&(purpose as u64).to_le_bytes());
        Key::from_bytes(bytes)
    };
    let (own, next) = (id.index(), id.next().index());
    Keys { with_prev: key(own), with_next: key(next), common: key(3), own: key(10 + own) }
}

/// Not a test of its own: one party in a process. `ROLE` is its number, the ring's bits, the session and what it does.
fn party(card: Device) {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role: Vec<&str> = role.split(' ').collect();
    let id = PartyId::new(role[0].parse().unwrap()).unwrap();
    let ring = if role[1] == "32" { Ring::Z32 } else { Ring::Z64 };
    let session = session(role[2].parse().unwrap(), role[3].parse().unwrap());
    let options = Options { deadline: Duration::from_secs(100), ..Options::default() };
    let connect_within = Duration::from_secs(60);
    let config = shared::Config { id, session, device: card, connect_within, options };
    let net = Arc::new(SharedNetwork::connect(config).unwrap());
    let world = World::seeded(SEED).in_ring(ring);
    let prg = Correlated::new(world.randomness, &keys(id));
    let mut p = Party::new(net.clone(), prg, world.settings, card);
    if role[4] == "dies" {
        println!("\nlinked");
        let values = ndarray::ArrayD::from_elem(ndarray::IxDyn(&[64, 64]), 1 << 20);
        let shares = World { devices: [card; 3], ..world }.deal(&values)[id.index()].clone();
        loop {
            if let Err(error) = p.mul(&shares, &shares) {
                println!("failed: {error}");
                break;
            }
        }
    } else {
        let (components, calls) = infer(&mut p, 2);
        let outcome = Outcome { components, stats: p.stats(), mailed: net.mailed(), calls };
        println!("\noutcome: {}", serde_json::to_string(&outcome).unwrap());
    }
}

fn session(process: u32, number: u64) -> [u8; 16] {
    let mut session = [0x5c; 16];
    session[..4].copy_from_slice(&process.to_le_bytes());
    session[8..].copy_from_slice(&number.to_le_bytes());
    session
}

/// Three parties in processes of their own, and the session that they are in.
fn start(ring: Ring, what: &str, ipc: &str) -> ([Child; 3], [u8; 16]) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let child = |id: PartyId| {
        let role = format!("{id} {} {process} {number} {what}", ring.bits());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "cards::party"]).env(ROLE, role).env("CRYPTGPU_CUDA_IPC", ipc);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (PartyId::ALL.map(child), session(process, number))
}

/// What three processes come to, which report nothing wrong.
fn outcomes(ring: Ring, ipc: &str) -> ([Outcome; 3], String) {
    let outputs = start(ring, "infers", ipc).0.map(|child| child.wait_with_output().unwrap());
    let said: String = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr)).collect();
    let outcomes = outputs.map(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{said}");
        serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("outcome: ")).unwrap()).unwrap()
    });
    (outcomes, said)
}

/// The same on the CPU with links in memory.
fn check(ring: Ring, outcomes: &[Outcome; 3]) {
    let expected = World::seeded(SEED).in_ring(ring).run(|p| (infer(p, 2).0, p.stats()));
    for (outcome, (components, stats)) in outcomes.iter().zip(expected) {
        assert!(outcome.components == components, "{ring}: other components than on the CPU");
        assert_eq!((outcome.stats.to, outcome.stats.rounds), (stats.to, stats.rounds), "{ring}");
    }
}

fn processes_hand_messages_from_card_to_card(_: Device) {
    for ring in [Ring::Z64, Ring::Z32] {
        let (outcomes, said) = outcomes(ring, "on");
        check(ring, &outcomes);
        for (outcome, id) in outcomes.iter().zip(PartyId::ALL) {
            let mut others = [id.next(), id.prev()];
            others.sort();
            assert_eq!(outcome.mailed, others, "{said}");
            let [_, to_card, from_card, within, _] = outcome.calls.columns();
            assert!(!emulator::runs() || (to_card, from_card) == (0, 0) && within > 0, "{ring}: {:?}", outcome.calls);
        }
    }
}

fn without_memory_for_it_messages_pass_through_main_memory(_: Device) {
    let (outcomes, said) = outcomes(Ring::Z64, "off");
    check(Ring::Z64, &outcomes);
    assert!(outcomes.iter().all(|outcome| outcome.mailed.is_empty()));
    assert!(said.contains("pass through main memory") && said.contains("CRYPTGPU_CUDA_IPC=off"), "{said}");
}

fn a_process_that_dies_is_the_error_that_it_is(_: Device) {
    let (mut children, session) = start(Ring::Z64, "dies", "on");
    let mut outputs = children.each_mut().map(|child| BufReader::new(child.stdout.take().unwrap()));
    for output in &mut outputs {
        assert!(output.lines().any(|line| line.unwrap() == "linked"));
    }
    // In the middle of whatever they send.
    std::thread::sleep(Duration::from_millis(300));
    children[2].kill().unwrap();
    let begin = Instant::now();
    for (child, output) in children.iter_mut().zip(&mut outputs).take(2) {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(text.contains("failed: ") && text.contains("the link to party"), "{text}{said}");
        assert!(text.contains("has died") || text.contains("has ended"), "{text}{said}");
        child.wait().unwrap();
    }
    children[2].wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    let digest = Sha256::new().chain_update(b"cryptgpu shared links").chain_update(session).finalize();
    let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!std::fs::read_to_string("/proc/net/unix").unwrap().contains(&name), "a socket is left");
}
