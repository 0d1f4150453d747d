//! A protocol run many times in front of one party. Everything that this party has stays as it is from run to run: its
//! components of the inputs, its keys, the coins of all three. Only what it lacks changes: the key that the other two
//! have in common, and their own keys. What it is sent in each run is kept; what that says is for `views`.

use super::inputs::Source;
use super::{CheckError, Protocol};
use crate::device::{Device, DeviceError, Tensor};
use crate::mpc::{MpcError, Party, PartyView, Rep, World};
use crate::net::{Interceptor, MemoryNetwork, PartyId, Tag, Verdict, memory};
use crate::prg::{Correlated, Key, Keys};
use ndarray::ArrayD;
use std::sync::{Arc, Mutex, PoisonError};

/// A message that was sent to the party that is looked at, whether it was waited for or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub from: PartyId,
    pub tag: Tag,
    /// How many words.
    pub len: usize,
}

/// What the party saw of one run.
#[derive(Default)]
pub(super) struct Run {
    /// Sender by sender, in the order in which each sent them.
    pub messages: Vec<Sent>,
    /// The words of all messages, in that order.
    pub words: Vec<u64>,
    /// Whether the protocol failed at this party.
    pub failed: bool,
}

impl Run {
    /// What a run is besides words: how many messages there are, from whom, of what kind, how long, and how it ended.
    pub fn same_shape(&self, other: &Run) -> bool {
        self.failed == other.failed && self.messages == other.messages
    }

    /// The messages with their words.
    pub fn each(&self) -> impl Iterator<Item = (&Sent, &[u64])> {
        let mut rest = &self.words[..];
        self.messages.iter().map(move |message| {
            let (words, others) = rest.split_at(message.len);
            rest = others;
            (message, words)
        })
    }

    /// Drops the messages for which a flag is set; more than there are flags stay.
    pub fn leave_out(&mut self, hidden: &[bool]) {
        if hidden.contains(&true) {
            let hidden = hidden.iter().chain(std::iter::repeat(&false));
            let seen = self.each().zip(hidden).filter(|(_, hidden)| !**hidden);
            let (messages, words): (Vec<Sent>, Vec<&[u64]>) = seen.map(|((sent, words), _)| (*sent, words)).unzip();
            (self.words, self.messages) = (words.concat(), messages);
        }
    }
}

/// Runs in which one side of everything is fixed.
pub(super) struct Bench<'w> {
    pub world: &'w World,
    /// The party that is looked at.
    pub observer: PartyId,
}

/// Room for what a party keeps itself, in words.
const MAX_WORDS: u64 = 1 << 26;
/// Runs that are linked up at a time.
const BATCH: usize = 64;

impl Bench<'_> {
    /// Shares of the inputs: both components of the observer depend on the world alone, so two secrets differ in the
    /// component that it lacks and in nothing else.
    pub fn deal(&self, inputs: &[ArrayD<u64>]) -> Result<Vec<[Rep; 3]>, CheckError> {
        let mut source = Source::new(self.world.seed ^ 0x7368_6172_6573 ^ (self.observer.index() as u64) << 56);
        let mut one = |value: &ArrayD<u64>| -> Result<[Rep; 3], DeviceError> {
            let (ring, n) = (self.world.settings.codec.ring(), value.len());
            let (value, shape) = (Tensor::from_array_in(ring, Device::Cpu, value), value.shape());
            let mut uniform = || Tensor::new_in(ring, Device::Cpu.upload(source.words(ring.words(n))), shape);
            let (a, b) = (uniform()?, uniform()?);
            let third = value.sub(&a)?.sub(&b)?;
            let mut components = [a, b, third];
            // Component k of the three belongs at index observer + k.
            components.rotate_right(self.observer.index());
            let rep = |party: PartyId| {
                let device = self.device(party);
                let tensor = |k: PartyId| components[k.index()].to_device(device);
                Rep::from_components(tensor(party)?, tensor(party.next())?)
            };
            Ok([rep(PartyId::P0)?, rep(PartyId::P1)?, rep(PartyId::P2)?])
        };
        inputs.iter().map(&mut one).collect::<Result<_, _>>().map_err(|error| MpcError::from(error).into())
    }

    fn device(&self, party: PartyId) -> Device {
        self.world.devices[party.index()]
    }

    /// A party's keys in run `run`.
    fn keys(&self, party: PartyId, run: u64) -> Keys {
        let lacking = self.observer.prev();
        let key = |purpose: u64, varies: bool| {
            let run = if varies { run + 1 } else { 0 };
            Key::from_bytes(bytemuck::cast([self.world.seed ^ run << 24, purpose << 8 | self.observer.index() as u64]))
        };
        let pair = |k: PartyId| key(k.index() as u64, k == lacking);
        Keys {
            with_prev: pair(party),
            with_next: pair(party.next()),
            common: key(3, false),
            own: key(10 + party.index() as u64, party != self.observer),
        }
    }

    /// One party of one run.
    pub fn party(&self, net: MemoryNetwork, run: u64) -> Party {
        use crate::net::Network;
        let id = net.id();
        let prg = Correlated::new(self.world.randomness, &self.keys(id, run));
        Party::new(Arc::new(net), prg, self.world.settings, self.device(id))
    }

    /// What the observer is sent in runs `from .. from + count`, each with another key that it lacks.
    pub fn runs<R, E, F: Protocol<R, E>>(
        &self,
        shares: &[[Rep; 3]],
        from: u64,
        count: usize,
        protocol: &F,
    ) -> Vec<Run> {
        let mut runs = vec![];
        while runs.len() < count {
            let (start, batch) = (from + runs.len() as u64, BATCH.min(count - runs.len()));
            runs.extend(self.batch(shares, start, batch, protocol));
        }
        runs
    }

    /// What the observer itself keeps of a run, when the protocol does not fail at it.
    pub fn observe<R, E, F: Protocol<R, E>>(&self, shares: &[[Rep; 3]], protocol: &F) -> Option<PartyView> {
        let nets = memory::trio(self.world.options.clone());
        std::thread::scope(|scope| {
            let handles = nets.map(|net| {
                scope.spawn(move || {
                    let mut party = self.party(net, 0);
                    let mine: Vec<Rep> = shares.iter().map(|share| share[party.id().index()].clone()).collect();
                    if party.id() == self.observer {
                        party.insecure_record(MAX_WORDS);
                    }
                    let _ = protocol(&mut party, &mine);
                    party.take_view().ok()
                })
            });
            let join = |handle: std::thread::ScopedJoinHandle<'_, Option<PartyView>>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            handles.map(join).into_iter().flatten().next()
        })
    }

    fn batch<R, E, F: Protocol<R, E>>(&self, shares: &[[Rep; 3]], from: u64, count: usize, protocol: &F) -> Vec<Run> {
        let kept: Vec<Kept> = (0..count).map(|_| Arc::default()).collect();
        let mut nets = [const { vec![] }; 3];
        for kept in &kept {
            let trio = memory::trio_with(self.world.options.clone(), Some(keep(self.observer, kept.clone())));
            nets.iter_mut().zip(trio).for_each(|(nets, net)| nets.push(net));
        }
        let failed: Vec<Vec<bool>> = std::thread::scope(|scope| {
            let all = |(party, nets): (usize, Vec<MemoryNetwork>)| {
                let mine: Vec<Rep> = shares.iter().map(|share| share[party].clone()).collect();
                let one = move |(run, net)| protocol(&mut self.party(net, run), &mine).is_err();
                scope.spawn(move || (from..).zip(nets).map(one).collect())
            };
            let handles: Vec<_> = nets.into_iter().enumerate().map(all).collect();
            let join = |handle: std::thread::ScopedJoinHandle<'_, Vec<bool>>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            handles.into_iter().map(join).collect()
        });
        let run = |(kept, &failed): (&Kept, &bool)| {
            let mut messages = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
            messages.sort_by_key(|(message, _)| message.from);
            let mut run = Run { messages: vec![], words: vec![], failed };
            for (message, words) in messages {
                run.messages.push(message);
                run.words.extend(words);
            }
            run
        };
        kept.iter().zip(&failed[self.observer.index()]).map(run).collect()
    }
}

/// What was sent in a run, in the order in which it was.
type Kept = Arc<Mutex<Vec<(Sent, Vec<u64>)>>>;

/// Copies what goes to `observer`.
fn keep(observer: PartyId, kept: Kept) -> Interceptor {
    Interceptor::new(move |message| {
        if message.to == observer {
            let sent = Sent { from: message.from, tag: message.tag, len: message.words.len() };
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((sent, message.words.clone()));
        }
        Verdict::Pass
    })
}
