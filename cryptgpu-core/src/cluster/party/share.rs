//! A party's halves of sharing and revealing: it takes its two components, gives a fresh summand to the caller, or opens to one party.

use super::context::PartyContext;
use super::gate::{Asks, Origin, To, What};
use super::job::Job;
use crate::cluster::marshal::store::Held;
use crate::cluster::marshal::words::Words;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::device::Tensor;
use crate::mpc::Rep;
use crate::net::PartyId;

/// Takes a share that the caller has dealt.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Share {
    pub(in crate::cluster) shape: Vec<usize>,
    /// This party's two.
    pub(in crate::cluster) components: [Words; 2],
}

impl Job for Share {
    const NAME: &'static str = "share";
    type Output = ();

    fn asks(&self, _: &PartyContext) -> Result<Asks, JobError> {
        Ok(Asks::default().same(&self.shape).leaving(Origin::new(What::Own, "the caller")))
    }

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let (device, ring) = (context.party().device(), context.party().ring());
        let tensor = |words: Words| Tensor::new_in(ring, device.upload(words.0), &self.shape);
        let [a, b] = self.components.map(tensor);
        let rep = a.and_then(|a| Rep::from_components(a, b?)).map_err(|error| JobError::Other(error.to_string()))?;
        context.hold(0, Held::Rep(rep))
    }
}

/// Opening what is held under that number. Rows of scores, one an image, count each.
fn opening(id: HeldId, to: To, context: &PartyContext) -> Result<Asks, JobError> {
    let (origin, held) = (context.origin(id), context.held(id)?);
    let rows = match (origin.what, &held) {
        (Some(What::Scores), Held::Rep(rep)) => rep.shape().first().copied().unwrap_or(1) as u64,
        _ => 1,
    };
    Ok(Asks::default().opens(&origin, to, rows))
}

/// Sends a summand to the caller, made anew: the sum of all three is the value, and no component leaves its parties.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Reveal {
    pub(in crate::cluster) id: HeldId,
}

impl Job for Reveal {
    const NAME: &'static str = "reveal";
    type Output = Words;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        Ok(opening(self.id, To::Caller, context)?.same(&self.id))
    }

    fn run(self, context: &mut PartyContext) -> Result<Words, JobError> {
        let held = context.held(self.id)?;
        let party = context.party();
        let (ring, expected) = (held.ring(), party.ring());
        if ring.is_some_and(|ring| ring != expected) {
            let what = held.label().describe();
            return Err(JobError::Other(format!(
                "{what} is not of the ring of {expected}, in which the caller reads it"
            )));
        }
        match &held {
            Held::Rep(rep) => {
                let summand = party.fresh_summand(rep)?;
                Ok(Words(party.to_host(summand.view())?))
            }
            Held::Bits(bits) => {
                let summand = party.fresh_summand_of_bits(bits)?;
                Ok(Words(party.to_host(summand.view())?))
            }
            Held::Private(_) | Held::Model(_) | Held::Examples(_) | Held::Training(_) => {
                Err(JobError::Other(format!("{} is not revealed", held.label().describe())))
            }
        }
    }
}

/// Opens a share to one party, which keeps what it sees.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct RevealTo {
    pub(in crate::cluster) id: HeldId,
    pub(in crate::cluster) party: PartyId,
}

impl Job for RevealTo {
    const NAME: &'static str = "reveal-to";
    type Output = ();

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        Ok(opening(self.id, To::Party(self.party), context)?.same(&self.id))
    }

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let Held::Rep(rep) = context.held(self.id)? else {
            return Err(JobError::Other("only shares of words are opened to a party".into()));
        };
        let opened = context.party().step("reveal", |p| p.open_to(self.party, &rep))?;
        context.hold(0, Held::Private(opened))
    }
}
