//! A party's half of serving a model: it listens to clients, tells party 0 which requests have come, and evaluates the batches
//! that party 0 makes of those that all three have. The scores are shared anew, so that the components that a client
//! gets tell it the scores and nothing else, and go to it alone.
//!
//! In each turn parties 1 and 2 send party 0 what has come since the last (kind `serving: requests that have come`), and it
//! sends both what becomes of what it has heard of (`serving: the next batch`): two messages each, at least one turn a
//! second. Before a batch all three compare its digest. Numbers of requests and of images are all that is in them. Then the two that
//! hold a component compare digests of it for each request (`serving: digests of shares`), and all tell each other which differ (`serving:
//! requests left out`): their clients have dealt no shares of anything, and get no scores.

use super::agenda::{self, Agenda, Heard, Next};
use super::checkpoint::serving_identity;
use super::context::{PartyContext, Voice};
use super::gate::Asks;
use super::job::Job;
use crate::cluster::marshal::store::Held;
use crate::cluster::serving::door::Door;
use crate::cluster::serving::message::{Offer, VERSION};
use crate::cluster::serving::queue::{Outcome, Queue, Waiting};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::device::Tensor;
use crate::mpc::{MessageKind, MpcError, Party, Rep};
use crate::net::{Fingerprint, Network, PartyId, Tag};
use crate::nn::range::InputRange;
use crate::nn::{NnError, SharedModel};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The next turn, where a request has come to some parties and not to all.
const SOON: Duration = Duration::from_millis(5);
/// Words of a digest of a component.
const DIGEST: usize = 2;
/// How often the caller hears what was served.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Serves a model until this session ends.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Serve {
    pub(in crate::cluster) model: HeldId,
    pub(in crate::cluster) input: InputRange,
    /// Where this party listens for clients.
    pub(in crate::cluster) listen: SocketAddr,
    pub(in crate::cluster) clients: Vec<Fingerprint>,
    pub(in crate::cluster) batch: u32,
    pub(in crate::cluster) linger: Duration,
    pub(in crate::cluster) queue: u32,
    pub(in crate::cluster) patience: Duration,
    /// The longest time between two turns, which is less than parties wait for each other.
    pub(in crate::cluster) turn: Duration,
    /// The number of this service.
    pub(in crate::cluster) service: [u8; 16],
}

/// What a party tells while it serves.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum ToldServing {
    /// It listens there, and is known by this.
    Open(SocketAddr, Fingerprint),
    /// What was served since it began: by party 0.
    Counts(Counts),
}

/// What was served. Nothing in it depends on images or scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Counts {
    pub(in crate::cluster) requests: u64,
    pub(in crate::cluster) images: u64,
    pub(in crate::cluster) batches: u64,
    pub(in crate::cluster) busy: u64,
    pub(in crate::cluster) given_up: u64,
    /// Seconds from the shares of a request to its answer, summed over requests.
    pub(in crate::cluster) waited: f64,
    /// Seconds that batches took.
    pub(in crate::cluster) computed: f64,
}

impl Job for Serve {
    const NAME: &'static str = "serve";
    type Output = ();

    fn asks(&self, _: &PartyContext) -> Result<Asks, JobError> {
        // Scores go to clients, whom no policy names yet.
        Err(JobError::Refused(
            "parties of three owners do not serve clients: their policies cannot say to whom".to_owned(),
        ))
    }

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let Held::Model(model) = context.held(self.model)? else {
            return Err(JobError::Other("only models are served".to_owned()));
        };
        let identity = serving_identity(context.id())?;
        let offer = Offer {
            version: VERSION.to_owned(),
            party: context.id(),
            service: self.service,
            network: model.graph().name().to_owned(),
            input_shape: model.graph().input_shape(),
            output_shape: model.graph().output_shape().to_vec(),
            codec: model.codec(),
            input: self.input,
            most_images: self.batch,
        };
        let queue = Queue::new(self.queue as usize);
        let door = Door::open(self.listen, &identity, &self.clients, offer, queue.clone()).map_err(JobError::Input)?;
        let voice = context.voice();
        voice.tell(&ToldServing::Open(door.address(), identity.fingerprint()))?;
        let (network, counts) = (context.network(), Counts::default());
        let told = (Instant::now(), counts);
        let heard = Heard::new(self.batch, self.patience);
        let mut turns = Turns { serve: self, model, queue, network, heard, voice, counts, told, next: Next::Idle };
        let ended = (0..).try_for_each(|turn| turns.turn(turn, context.party()));
        // Clients that wait hear of it before this party is gone.
        door.close();
        ended
    }
}

/// A service as it runs at one party.
struct Turns {
    serve: Serve,
    model: Arc<SharedModel>,
    queue: Arc<Queue>,
    network: Arc<dyn Network>,
    /// At party 0.
    heard: Heard,
    voice: Voice,
    counts: Counts,
    /// When the caller was told last, and what.
    told: (Instant, Counts),
    next: Next,
}

impl Turns {
    /// One turn: what has come, what becomes of it, and a batch if there is one.
    fn turn(&mut self, turn: u64, p: &mut Party) -> Result<(), JobError> {
        self.network.endpoint().set_step("requests");
        let agenda = self.agree(turn, p.id())?;
        for (id, missing) in &agenda.given_up {
            self.counts.given_up += 1;
            if let Some(waiting) = self.queue.take(id) {
                waiting.answer(Outcome::Missing(agenda::parties(*missing)));
            }
        }
        if !agenda.batch.is_empty() {
            self.compare(turn, p.id(), &agenda)?;
            let waiting = self.take(p.id(), &agenda)?;
            let waiting = self.consistent(turn, p.id(), waiting)?;
            if !waiting.is_empty() {
                self.evaluate(p, waiting)?;
            }
        }
        self.next = agenda.next;
        // A service may last for weeks: what was recorded of a turn is not kept.
        drop(self.network.endpoint().take_timeline());
        drop(p.take_claims());
        self.tell(p.id())
    }

    /// What becomes of requests, as party 0 says.
    fn agree(&mut self, turn: u64, id: PartyId) -> Result<Agenda, JobError> {
        let most = self.serve.queue as usize;
        let wait = match self.next {
            Next::Idle => self.serve.turn,
            Next::Soon => SOON,
            Next::Now => Duration::ZERO,
        };
        let [news, decision] = [MessageKind::SERVING_NEWS, MessageKind::SERVING_AGENDA].map(|kind| tag(turn, kind));
        let unreadable = || JobError::Other("a party sent no list of requests that can be read".to_owned());
        if id != PartyId::P0 {
            let come = self.queue.news(wait, self.serve.linger, self.serve.batch);
            self.network.send(PartyId::P0, news, agenda::encode_news(&come, most))?;
            let words = self.network.recv(PartyId::P0, decision, Agenda::words(most))?;
            return Agenda::decode(&words).ok_or_else(unreadable);
        }
        let others = [PartyId::P1, PartyId::P2];
        for from in others {
            let words = self.network.recv(from, news, agenda::news_words(most))?;
            let come = agenda::decode_news(&words).ok_or_else(unreadable)?;
            come.into_iter().for_each(|entry| self.heard.note(from, entry, Instant::now()));
        }
        // Of this party last, so that as much as can be is here.
        for (id, images) in self.queue.news(Duration::ZERO, Duration::ZERO, 0) {
            self.heard.note(PartyId::P0, (id, u64::from(images)), Instant::now());
        }
        let agenda = self.heard.decide(Instant::now());
        for to in others {
            self.network.send(to, decision, agenda.encode(most))?;
        }
        Ok(agenda)
    }

    /// Compares the batch with the others': one word to each.
    fn compare(&self, turn: u64, id: PartyId, agenda: &Agenda) -> Result<(), JobError> {
        let digest = Sha256::digest(bytemuck::cast_slice::<u64, u8>(&agenda.encode(self.serve.queue as usize)));
        let word = digest.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
        let (peers, tag) = ([id.next(), id.prev()], tag(turn, MessageKind::SERVING_AGREED));
        for peer in peers {
            self.network.send(peer, tag, vec![word])?;
        }
        for peer in peers {
            if self.network.recv(peer, tag, 1)? != [word] {
                return Err(JobError::Other(format!("party {id} and party {peer} were told of different batches")));
            }
        }
        Ok(())
    }

    /// The requests of a batch, out of the queue.
    fn take(&self, id: PartyId, agenda: &Agenda) -> Result<Vec<Waiting>, JobError> {
        let lost = || JobError::Other(format!("party {id} has no request that it has told of"));
        let one = |(request, images): &agenda::Entry| {
            let found = self.queue.take(request).filter(|waiting| u64::from(waiting.images) == *images);
            found.ok_or_else(lost)
        };
        agenda.batch.iter().map(one).collect()
    }

    /// The requests whose clients have dealt the same words to both parties that hold a component; the others are answered. A digest
    /// goes to the one party that holds the component too: for a third, which knows the other two components, it would tell images apart
    /// that it can guess.
    fn consistent(&mut self, turn: u64, id: PartyId, waiting: Vec<Waiting>) -> Result<Vec<Waiting>, JobError> {
        let digests =
            |which: usize| waiting.iter().flat_map(|request| digest(&request.components[which])).collect::<Vec<u64>>();
        let (own, next) = (digests(0), digests(1));
        let tag = |kind| tag(turn, kind);
        self.network.send(id.prev(), tag(MessageKind::SERVING_DIGESTS), own.clone())?;
        self.network.send(id.next(), tag(MessageKind::SERVING_DIGESTS), next.clone())?;
        let [before, behind] = [id.prev(), id.next()]
            .map(|peer| self.network.recv(peer, tag(MessageKind::SERVING_DIGESTS), DIGEST * waiting.len()));
        let (before, behind) = (before?, behind?);
        let mut differ = vec![0u64; waiting.len().div_ceil(64)];
        for request in 0..waiting.len() {
            let place = DIGEST * request..DIGEST * (request + 1);
            if own[place.clone()] != before[place.clone()] || next[place.clone()] != behind[place] {
                differ[request / 64] |= 1 << (request % 64);
            }
        }
        let found = differ.clone();
        for peer in [id.prev(), id.next()] {
            self.network.send(peer, tag(MessageKind::SERVING_LEFT_OUT), found.clone())?;
        }
        for peer in [id.prev(), id.next()] {
            let theirs = self.network.recv(peer, tag(MessageKind::SERVING_LEFT_OUT), differ.len())?;
            differ.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours |= theirs);
        }
        let mut whole = vec![];
        for (request, waiting) in waiting.into_iter().enumerate() {
            match differ[request / 64] >> (request % 64) & 1 {
                0 => whole.push(waiting),
                _ => {
                    self.counts.given_up += 1;
                    waiting.answer(Outcome::Inconsistent);
                }
            }
        }
        Ok(whole)
    }

    /// Evaluates a batch and answers its requests. Where a value has left the range, each request is evaluated alone: who is beside
    /// one that cannot be answered gets scores.
    fn evaluate(&mut self, p: &mut Party, mut waiting: Vec<Waiting>) -> Result<(), JobError> {
        let begun = Instant::now();
        let x = self.images(p, &mut waiting)?;
        let together = self.scores(p, x.clone())?;
        let (alone, mut first) = (waiting.len() == 1, 0);
        for request in waiting {
            let own = first..first + request.images as usize;
            first = own.end;
            let y = match &together {
                Some(y) => Some(y.narrow(own).map_err(MpcError::from)?),
                None if alone => None,
                None => self.scores(p, x.narrow(own).map_err(MpcError::from)?)?,
            };
            self.answer(p, request, y)?;
        }
        self.counts.batches += 1;
        self.counts.computed += begun.elapsed().as_secs_f64();
        Ok(())
    }

    /// The scores of images; none where a value has left the range, which all three parties learn alike.
    fn scores(&self, p: &mut Party, x: Rep) -> Result<Option<Rep>, JobError> {
        match self.model.infer(p, x) {
            // Anew: what the components were made of stays here.
            Ok(y) => Ok(Some(p.step("answer", |p| p.reshare(y.to_additive()))?)),
            Err(NnError::Mpc(MpcError::Range { .. })) => {
                p.forget_range();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Answers a request with its scores, if there are any.
    fn answer(&mut self, p: &Party, request: Waiting, y: Option<Rep>) -> Result<(), JobError> {
        let Some(y) = y else {
            self.counts.given_up += 1;
            request.answer(Outcome::LeftRange);
            return Ok(());
        };
        let scores = own_scores(p, &y)?;
        self.counts.requests += 1;
        self.counts.images += u64::from(request.images);
        self.counts.waited += request.came.elapsed().as_secs_f64();
        request.answer(Outcome::Scores(scores));
        Ok(())
    }

    /// The images of all requests, one after the other.
    fn images(&self, p: &Party, waiting: &mut [Waiting]) -> Result<Rep, JobError> {
        let (ring, device, image) = (p.ring(), p.device(), self.model.graph().input_shape());
        let share = |waiting: &mut Waiting| -> Result<Rep, MpcError> {
            let shape = [&[waiting.images as usize][..], &image].concat();
            let [a, b] = std::mem::take(&mut waiting.components);
            let tensor = |words: Vec<u64>| Tensor::new_in(ring, device.upload(words), &shape);
            Ok(Rep::from_components(tensor(a)?, tensor(b)?)?)
        };
        let parts = waiting.iter_mut().map(share).collect::<Result<Vec<_>, _>>()?;
        Ok(match <[Rep; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => Rep::concat(&parts).map_err(MpcError::from)?,
        })
    }

    /// Tells the caller what was served, now and then, if it has changed.
    fn tell(&mut self, id: PartyId) -> Result<(), JobError> {
        if id != PartyId::P0 || self.told.0.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.counts.busy += self.queue.take_busy();
        if self.counts == self.told.1 {
            return Ok(());
        }
        self.told = (Instant::now(), self.counts);
        self.voice.tell(&ToldServing::Counts(self.counts))
    }
}

fn tag(turn: u64, kind: MessageKind) -> Tag {
    Tag { position: turn, kind: kind.0 }
}

/// The first half of the SHA-256 of a component: nobody finds two components with one.
fn digest(component: &[u64]) -> [u64; DIGEST] {
    let digest = Sha256::digest(bytemuck::cast_slice::<u64, u8>(component));
    let word = |at: usize| digest[8 * at..8 * (at + 1)].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    [word(0), word(1)]
}

/// This party's components of scores, for the client.
fn own_scores(p: &Party, y: &Rep) -> Result<[Vec<u64>; 2], JobError> {
    let (a, b) = y.components();
    let words = |x: &Tensor| -> Result<Vec<u64>, JobError> {
        let ring = x.ring();
        // What fills the last word is nobody's.
        Ok(ring.pack(ring.unpack(p.to_host(x.view())?, x.len()).into_iter()))
    };
    Ok([words(a)?, words(b)?])
}
