//! Three parties in one process, on three threads with in-memory links: for tests, for examples,
//! and for a first try of a protocol before it runs in three processes.

use super::{Party, Rep, Settings};
use crate::device::{Device, Tensor, kernels};
use crate::net::{Interceptor, Network, Options, PartyId, Stats, Trace, memory};
use crate::prg::{Correlated, Key, Keys, Randomness};
use crate::ring::Ring;
use ndarray::{ArrayBase, Data, Dimension};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A world of three parties. Keys come from its seed, so a run can be repeated: **not for
/// secrets**; real parties draw their keys from the operating system.
///
/// ```
/// use cryptgpu_core::mpc::World;
/// use ndarray::array;
///
/// let world = World::seeded(1);
/// let codec = world.settings.codec;
/// let x = world.deal(&codec.encode_array(&array![1.5, -2.0])?);
/// let opened = world.run(|p| {
///     let mine = &x[p.id().index()];
///     let y = p.relu(mine)?;
///     p.open(&y)
/// });
/// let [result, _, _] = opened;
/// assert_eq!(codec.decode_array(&result?.to_array()?), array![1.5, 0.0].into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct World {
    /// What all keys are derived from.
    pub seed: u64,
    /// How the parties compute.
    pub settings: Settings,
    /// Where each computes.
    pub devices: [Device; 3],
    /// Which generator they draw from.
    pub randomness: Randomness,
    /// Their links.
    pub options: Options,
    /// Who looks into the links, if anyone does.
    pub interceptor: Option<Interceptor>,
    /// How often it has dealt.
    pub dealt: Deals,
}

/// How often a [`World`] has dealt: each call draws other components. A clone goes on from where the original is.
#[derive(Debug, Default)]
pub struct Deals(AtomicU64);

impl Clone for Deals {
    fn clone(&self) -> Self {
        Deals(AtomicU64::new(self.0.load(Relaxed)))
    }
}

impl World {
    /// A world with default settings and links.
    pub fn seeded(seed: u64) -> Self {
        World {
            seed,
            settings: Settings::default(),
            devices: [Device::Cpu; 3],
            randomness: Randomness::default(),
            options: Options::default(),
            interceptor: None,
            dealt: Deals::default(),
        }
    }

    /// The same world in a ring, with as many fraction bits as are usual there.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use cryptgpu_core::ring::Ring;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1).in_ring(Ring::Z32);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![1.5, -2.0, 0.25])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.relu(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// assert_eq!(codec.decode_array(&y?.to_array()?), array![1.5, 0.0, 0.25].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_ring(mut self, ring: Ring) -> Self {
        self.settings.codec = ring.into();
        self
    }

    fn key(&self, purpose: u64) -> Key {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..].copy_from_slice(&purpose.to_le_bytes());
        Key::from_bytes(bytes)
    }

    /// Replicated shares of ring elements, by party, each on its party's device, in the ring of the settings' codec. Each call draws
    /// other components, the same ones in the same order for the same seed.
    pub fn deal<S, D>(&self, value: &ArrayBase<S, D>) -> [Rep; 3]
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        let key = self.key(99 | self.dealt.0.fetch_add(1, Relaxed) << 8);
        let ring = self.settings.codec.ring();
        let value = Tensor::of_ring(ring, Device::Cpu.upload(ring.pack(value.iter().copied())), value.shape());
        let [p0, p1, p2] = deal(&value, &mut Correlated::new(self.randomness, &Keys::alone(key)));
        let at = |party: usize, rep: Rep| rep.uploaded(self.devices[party]);
        [at(0, p0), at(1, p1), at(2, p2)]
    }

    /// Runs `body` as all three parties at once, each on a thread of its own, and returns what
    /// each came back with. A party that returns closes its links, so the others never hang.
    ///
    /// # Panics
    /// When `body` panics: the panic goes on in the caller.
    pub fn run<R: Send>(&self, body: impl Fn(&mut Party) -> R + Sync) -> [R; 3] {
        self.run_counted(body).map(|(result, _)| result)
    }

    /// As [`World::run`], with the trace of the run.
    ///
    /// # Panics
    /// When `body` panics: the panic goes on in the caller.
    pub fn run_traced<R: Send>(&self, body: impl Fn(&mut Party) -> R + Sync) -> ([R; 3], Trace) {
        let [a, b, c] = self.run(|party| (body(party), party.take_timeline()));
        ([a.0, b.0, c.0], Trace::new([a.1, b.1, c.1]))
    }

    /// As [`World::run`], with what each party's transport counted.
    ///
    /// # Panics
    /// When `body` panics: the panic goes on in the caller.
    pub fn run_counted<R: Send>(&self, body: impl Fn(&mut Party) -> R + Sync) -> [(R, Stats); 3] {
        let nets = memory::trio_with(self.options.clone(), self.interceptor.clone());
        let body = &body;
        std::thread::scope(|scope| {
            let handles = nets.map(|net| {
                let id = net.id();
                let keys = Keys {
                    with_prev: self.key(id.index() as u64),
                    with_next: self.key(id.next().index() as u64),
                    common: self.key(3),
                    own: self.key(10 + id.index() as u64),
                };
                let prg = Correlated::new(self.randomness, &keys);
                scope.spawn(move || {
                    let mut party = Party::new(Arc::new(net), prg, self.settings, self.devices[id.index()]);
                    let result = body(&mut party);
                    (result, party.stats())
                })
            });
            handles.map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

/// Replicated shares of a tensor, by party, from a generator that only the dealer has: how the
/// owner of a value outside the three parties (a notebook) shares it.
///
/// Components 0 and 1 are uniform (the dealer's own streams), component 2 makes the sum right.
pub fn deal(value: &Tensor, prg: &mut Correlated) -> [Rep; 3] {
    use crate::device::Binary::Sub;
    let (device, ring, shape) = (value.device(), value.ring(), value.shape());
    let mut uniform = || {
        let mut words = device.alloc(ring.words(value.len()));
        let nonce = prg.nonce();
        kernels::fill(&prg.own(nonce), words.view_mut());
        Tensor::of_ring(ring, words, shape)
    };
    let (first, second) = (uniform(), uniform());
    let third = value.binary_alike(Sub, &first).binary_alike(Sub, &second);
    let components = [first, second, third];
    PartyId::ALL.map(|party| Rep { a: components[party.index()].clone(), b: components[party.next().index()].clone() })
}
