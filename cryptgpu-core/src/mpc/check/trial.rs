//! One run of a protocol by three parties in one process: what it gave, what it cost, and, when
//! asked for, what each party saw and could derive.

use super::{CheckError, Protocol};
use crate::mpc::view::{Parts, RecordedShare, combine};
use crate::mpc::{CheckedClaim, Claim, Cost, MpcError, Party, PartyView, Recordable, Rep, World};
use crate::net::PartyId;
use crate::ring::Layout;
use ndarray::ArrayD;

/// What came of a run.
pub(in crate::mpc) struct Trial {
    /// The value that the three parties share.
    pub value: ArrayD<u64>,
    /// Bytes and rounds, as the transport counted them.
    pub counted: Cost,
    /// What the built-in protocols in it say that they cost.
    pub charged: Cost,
    /// What the author claimed, of steps and of the whole.
    pub claims: Vec<CheckedClaim>,
    /// By party, when observed.
    pub views: Option<[View; 3]>,
}

/// What a party saw, and what it can derive by itself.
pub(in crate::mpc) struct View {
    pub observed: PartyView,
    pub known: Vec<Known>,
}

/// Words that a party knows without a message, and how a message might hide behind them.
pub(in crate::mpc) struct Known {
    pub name: String,
    pub words: Vec<u64>,
    pub undo: &'static [Undo],
}

/// In what way words may be a mask, and come off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mpc) enum Undo {
    Sub,
    Add,
    Xor,
}

impl Undo {
    pub const ALL: &[Undo] = &[Undo::Sub, Undo::Add, Undo::Xor];

    pub fn apply(self, message: u64, mask: u64) -> u64 {
        match self {
            Undo::Sub => message.wrapping_sub(mask),
            Undo::Add => message.wrapping_add(mask),
            Undo::Xor => message ^ mask,
        }
    }
}

impl std::fmt::Display for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Undo::Sub => "−",
            Undo::Add => "+",
            Undo::Xor => "⊕",
        })
    }
}

/// How a trial is run.
#[derive(Clone, Copy)]
pub(in crate::mpc) enum Observe {
    No,
    Yes,
}

/// Words of each stream that are compared with messages.
pub(super) const KNOWN_WORDS: usize = 4096;
/// Nonces whose streams are compared with messages: the first ones.
pub(super) const KNOWN_NONCES: usize = 100;
/// Room for what a party observes, in words.
const MAX_WORDS: u64 = 1 << 26;

/// What one party comes back with.
struct Part {
    output: Parts,
    sent: u64,
    rounds: u64,
    charged: Cost,
    claims: Vec<Claim>,
    view: Option<View>,
}

/// Runs `protocol` on shares of `inputs`.
pub(in crate::mpc) fn run<R, E, F>(
    world: &World,
    inputs: &[ArrayD<u64>],
    protocol: &F,
    observe: Observe,
) -> Result<Trial, CheckError>
where
    F: Protocol<R, E>,
    R: Recordable,
    E: std::fmt::Display,
{
    let deal = |(i, x): (u64, &ArrayD<u64>)| World { seed: world.seed.wrapping_add(1000 + i), ..world.clone() }.deal(x);
    let shares: Vec<[Rep; 3]> = (0..).zip(inputs).map(deal).collect::<Result<_, _>>().map_err(MpcError::from)?;
    let parts = world.run(|p| {
        let mine: Vec<Rep> = shares.iter().map(|share| share[p.id().index()].clone()).collect();
        one_party(p, &mine, protocol, observe)
    });
    let failures: Vec<String> = PartyId::ALL
        .iter()
        .zip(&parts)
        .filter_map(|(party, part)| Some(format!("party {party}: {}", part.as_ref().err()?)))
        .collect();
    let [Ok(a), Ok(b), Ok(c)] = parts else { return Err(CheckError::Protocol(failures.join("; "))) };
    merge([a, b, c])
}

fn one_party<R, E, F>(p: &mut Party, inputs: &[Rep], protocol: &F, observe: Observe) -> Result<Part, String>
where
    F: Protocol<R, E>,
    R: Recordable,
    E: std::fmt::Display,
{
    if matches!(observe, Observe::Yes) {
        p.insecure_record(MAX_WORDS);
    }
    let output = protocol(p, inputs).map_err(|error| error.to_string())?;
    let stats = p.stats();
    let view = match observe {
        Observe::No => None,
        Observe::Yes => {
            let observed = p.take_view().map_err(|error| error.to_string())?;
            Some(View { observed, known: known(p, inputs).map_err(|error| error.to_string())? })
        }
    };
    let output = output.parts_at(p.id()).map_err(|error| error.to_string())?;
    let (sent, rounds) = (stats.payload_bytes(), stats.rounds);
    Ok(Part { output, sent, rounds, charged: p.declared(), claims: p.take_claims(), view })
}

/// The two components of an input that a party holds: their sum, in the ring and by exclusive or.
struct Sum {
    input: usize,
    ring: Vec<u64>,
    xor: Vec<u64>,
}

/// All that a party knows without a message, in words that a message might be hidden behind.
fn known(p: &Party, inputs: &[Rep]) -> Result<Vec<Known>, MpcError> {
    let mut known = vec![];
    let mut sums = vec![];
    for (input, share) in inputs.iter().enumerate() {
        sums.push(components(p.id(), input, share, &mut known)?);
    }
    for (position, &address) in p.prg.addresses().iter().take(KNOWN_NONCES).enumerate() {
        streams(p, position, address, &sums, &mut known);
    }
    Ok(known)
}

/// Its components of an input and their sum (a message that is the third component gives the secret
/// away with that), from the start of each role's part on.
fn components(id: PartyId, input: usize, share: &Rep, known: &mut Vec<Known>) -> Result<Sum, MpcError> {
    let (a, b) = share.components();
    let (a, b) = (a.view().to_host()?, b.view().to_host()?);
    let (ring, xor) = (zip(&a, &b, u64::wrapping_add), zip(&a, &b, |a, b| a ^ b));
    let own = [id, id.next()].map(|k| format!("its component {k} of input {input}"));
    let both = format!("the sum of its components of input {input}");
    let names = own.into_iter().chain([both.clone(), both]);
    let undo = [Undo::ALL, Undo::ALL, &[Undo::Add], &[Undo::Xor]];
    for ((name, words), undo) in names.zip([&a, &b, &ring, &xor]).zip(undo) {
        let mut starts = [0, 1, 2].map(|part| Layout::new(words.len()).third(part).start).to_vec();
        starts.dedup();
        for start in starts.into_iter().filter(|&start| start < words.len()) {
            let words = words[start..].iter().take(KNOWN_WORDS).copied().collect();
            known.push(Known { name: name.clone(), words, undo });
        }
    }
    Ok(Sum { input, ring, xor })
}

/// The streams of a nonce that it has the keys of, its zero-shares, and each of them on top of each
/// sum of components.
fn streams(p: &Party, position: usize, address: u64, sums: &[Sum], known: &mut Vec<Known>) {
    let streams = p.prg.replay(address).map(|stream| {
        let mut words = vec![0; KNOWN_WORDS];
        stream.fill(0, &mut words);
        words
    });
    let zero = [
        ("its zero-share", zip(&streams[0], &streams[1], u64::wrapping_sub)),
        ("its binary zero-share", zip(&streams[0], &streams[1], |a, b| a ^ b)),
    ];
    let names = [
        "the stream it shares with the previous party",
        "the stream it shares with the next party",
        "the stream that all three share",
    ];
    for (name, stream) in names.into_iter().zip(streams).chain(zero) {
        let name = format!("{name}, nonce {position}");
        for Sum { input, ring, xor } in sums {
            let on_top: [(Vec<u64>, &'static [Undo]); 3] = [
                (zip(&stream, ring, u64::wrapping_sub), &[Undo::Sub]),
                (zip(&stream, ring, u64::wrapping_add), &[Undo::Add]),
                (zip(&stream, xor, |a, b| a ^ b), &[Undo::Xor]),
            ];
            let name = || format!("{name}, on top of the sum of its components of input {input}");
            known.extend(on_top.map(|(words, undo)| Known { name: name(), words, undo }));
        }
        known.push(Known { name, words: stream, undo: Undo::ALL });
    }
}

fn zip(a: &[u64], b: &[u64], f: fn(u64, u64) -> u64) -> Vec<u64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

fn merge(parts: [Part; 3]) -> Result<Trial, CheckError> {
    let charged = parts[0].charged;
    if parts.iter().any(|part| part.charged != charged) {
        return Err(CheckError::Protocol("the parties ran different built-in protocols".into()));
    }
    let bytes = parts.iter().map(|part| part.sent).sum();
    let rounds = parts.iter().map(|part| part.rounds).max().unwrap_or(0);
    let claims = Claim::check(parts.each_ref().map(|part| part.claims.as_slice()));
    let mut views = vec![];
    let outputs = parts.map(|Part { output, view, .. }| {
        views.extend(view);
        let (step, name) = (String::new(), String::new());
        RecordedShare { step, name, sharing: output.sharing, shape: output.shape, components: output.components }
    });
    consistent(&outputs)?;
    let value = combine(outputs.each_ref())
        .ok_or_else(|| CheckError::Output("the parties returned shares of different kinds or shapes".into()))?;
    Ok(Trial { value, counted: Cost { bytes, rounds }, charged, claims, views: views.try_into().ok() })
}

/// Whoever holds a component holds the same.
fn consistent(outputs: &[RecordedShare; 3]) -> Result<(), CheckError> {
    for (party, output) in outputs.iter().enumerate() {
        let next = &outputs[(party + 1) % 3];
        let pairs = output.components.iter().flat_map(|mine| next.components.iter().map(move |theirs| (mine, theirs)));
        for ((index, mine), (_, theirs)) in pairs.filter(|((mine, _), (theirs, _))| mine == theirs) {
            if let Some(at) = mine.iter().zip(theirs).position(|(a, b)| a != b) {
                let other = (party + 1) % 3;
                let detail = format!("parties {party} and {other} hold different components {index} at element {at}");
                return Err(CheckError::Output(detail));
            }
        }
    }
    Ok(())
}
