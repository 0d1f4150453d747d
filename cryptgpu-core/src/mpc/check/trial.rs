//! One run of a protocol by three parties in one process: what it gave and what it cost.

use super::{CheckError, Protocol};
use crate::mpc::view::{Parts, RecordedShare, combine};
use crate::mpc::{CheckedClaim, Claim, Cost, Party, Recordable, Rep, World};
use crate::net::PartyId;
use ndarray::ArrayD;

/// What came of a run.
pub(in crate::mpc) struct Trial {
    /// The value that the three parties share.
    pub value: ArrayD<u64>,
    /// Bytes and rounds, as the transport counted them.
    pub counted: Cost,
    /// What is declared of it in sum ([`Party::declared`]); none where the parties' authors declare different costs.
    pub declared: Option<Cost>,
    /// What the author claimed, of steps and of the whole.
    pub claims: Vec<CheckedClaim>,
}

/// What one party comes back with.
struct Part {
    output: Parts,
    sent: u64,
    rounds: u64,
    declared: Cost,
    claims: Vec<Claim>,
}

/// Runs `protocol` on shares of `inputs`.
pub(in crate::mpc) fn run<R, E, F>(world: &World, inputs: &[ArrayD<u64>], protocol: &F) -> Result<Trial, CheckError>
where
    F: Protocol<R, E>,
    R: Recordable,
    E: std::fmt::Display,
{
    let deal = |(i, x): (u64, &ArrayD<u64>)| World { seed: world.seed.wrapping_add(1000 + i), ..world.clone() }.deal(x);
    let shares: Vec<[Rep; 3]> = (0..).zip(inputs).map(deal).collect();
    let parts = world.run(|p| {
        let mine: Vec<Rep> = shares.iter().map(|share| share[p.id().index()].clone()).collect();
        one_party(p, &mine, protocol)
    });
    let failures: Vec<String> = PartyId::ALL
        .iter()
        .zip(&parts)
        .filter_map(|(party, part)| Some(format!("party {party}: {}", part.as_ref().err()?)))
        .collect();
    let [Ok(a), Ok(b), Ok(c)] = parts else { return Err(CheckError::Protocol(failures.join("; "))) };
    merge([a, b, c])
}

fn one_party<R, E, F>(p: &mut Party, inputs: &[Rep], protocol: &F) -> Result<Part, String>
where
    F: Protocol<R, E>,
    R: Recordable,
    E: std::fmt::Display,
{
    let output = protocol(p, inputs).map_err(|error| error.to_string())?;
    let stats = p.stats();
    let output = output.parts_at(p.id()).map_err(|error| error.to_string())?;
    let (sent, rounds) = (stats.payload_bytes(), stats.rounds);
    Ok(Part { output, sent, rounds, declared: p.declared(), claims: p.take_claims() })
}

fn merge(parts: [Part; 3]) -> Result<Trial, CheckError> {
    let claims = Claim::check(parts.each_ref().map(|part| part.claims.as_slice()));
    let declared = parts.iter().all(|part| part.declared == parts[0].declared).then_some(parts[0].declared);
    if declared.is_none() && claims.iter().all(CheckedClaim::agreed) {
        return Err(CheckError::Protocol("the parties ran different built-in protocols".into()));
    }
    let bytes = parts.iter().map(|part| part.sent).sum();
    let rounds = parts.iter().map(|part| part.rounds).max().unwrap_or(0);
    let outputs = parts.map(|Part { output, .. }| {
        let (step, name) = (String::new(), String::new());
        let Parts { sharing, ring, shape, components } = output;
        RecordedShare { step, name, sharing, ring, shape, components }
    });
    consistent(&outputs)?;
    let value = combine(outputs.each_ref())
        .ok_or_else(|| CheckError::Output("the parties returned shares of different kinds or shapes".into()))?;
    Ok(Trial { value, counted: Cost { bytes, rounds }, declared, claims })
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
