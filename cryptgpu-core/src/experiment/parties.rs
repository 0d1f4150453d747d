//! Where declarations of private inference run: a cluster, started when a declaration asks for one and kept while the next
//! asks for the same. What a party does is in `party`; what comes of it becomes a record in `measure`.

use std::time::Instant;

use super::inference::WEIGHTS_OWNER;
use super::party::{Evaluation, PartyReport, PartyState, evaluate, state};
use super::{ExperimentError, Inference};
use crate::cluster::{Cluster, ClusterBuilder, Network, Plain};
use crate::device::Devices;
use crate::mpc::Settings;
use crate::net::{Link, PartyId};
use crate::prg::Randomness;

/// What makes new parties necessary when it changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub link: Link,
    pub randomness: Randomness,
    pub devices: Devices,
    pub settings: Settings,
    /// Threads of each party, where a declaration names some.
    pub threads: Option<usize>,
}

/// Three parties for declarations, in processes or on threads of this one. They are started by the first run, and again
/// when a declaration asks for other links, randomness, devices or settings.
#[derive(Debug)]
pub struct Parties {
    builder: ClusterBuilder,
    cluster: Option<(Wanted, Cluster)>,
    place: &'static str,
}

impl Parties {
    /// Parties as `builder` says, but for what declarations name: [`Cluster::local`] or [`Cluster::in_memory`], with
    /// deadline, threads and program.
    pub fn new(builder: ClusterBuilder) -> Self {
        Self { builder, cluster: None, place: "not started" }
    }

    /// Those that run on this machine.
    pub(super) fn here(&self) -> &'static [PartyId] {
        self.builder.here()
    }

    /// Where they run, as records say it.
    pub(super) fn describe(&self) -> &'static str {
        self.place
    }

    /// Runs a declaration; `progress` gets the number of evaluations done, from 0 (the weights are shared) on,
    /// counting the one that is not timed.
    pub(super) fn run(
        &mut self,
        declaration: &Inference,
        progress: &mut dyn FnMut(usize),
    ) -> Result<[PartyReport; 3], ExperimentError> {
        let cluster = self.started(declaration.wanted()?)?;
        let network = Network::from(declaration.network.as_str()).owner(WEIGHTS_OWNER).lowering(declaration.lowering());
        let start = Instant::now();
        let model = cluster.load_model(network, declaration.weights.clone())?;
        let setup_seconds = start.elapsed().as_secs_f64();
        let states = cluster.run(state, ())?.outputs;
        progress(0);
        let (mut iterations, mut peaks) = ([vec![], vec![], vec![]], [0; 3]);
        for number in 0..=declaration.iterations {
            // The first one is not timed.
            let evaluation = Evaluation { declaration: declaration.clone(), number };
            let run = cluster.run(evaluate, (&model, Plain(evaluation)))?;
            // A process counts anew in each run.
            peaks.iter_mut().zip(&run.usage).for_each(|(peak, usage)| *peak = usage.peak_rss_bytes.max(*peak));
            if number > 0 {
                iterations.iter_mut().zip(run.outputs).for_each(|(iterations, report)| iterations.push(report));
            }
            progress(number + 1);
        }
        let parts = states.into_iter().zip(*model.usage()).zip(iterations.into_iter().zip(peaks));
        let mut parts = parts.map(|((state, setup), (iterations, peak_rss_bytes))| {
            let PartyState { threads, randomness, device } = state;
            PartyReport { setup_seconds, setup, iterations, peak_rss_bytes, threads, randomness, device }
        });
        match (parts.next(), parts.next(), parts.next()) {
            (Some(p0), Some(p1), Some(p2)) => Ok([p0, p1, p2]),
            _ => Err(ExperimentError::Reports("one is missing".to_owned())),
        }
    }

    /// The parties as they are wanted, started where they are not.
    pub(super) fn started(&mut self, wanted: Wanted) -> Result<&Cluster, ExperimentError> {
        // The old parties end before new ones start.
        self.cluster.take_if(|(running, _)| *running != wanted);
        let running = match self.cluster.take() {
            Some(running) => running,
            None => {
                let mut builder = self.builder.clone().link(wanted.link).randomness(wanted.randomness);
                if let Some(threads) = wanted.threads {
                    builder = builder.threads(threads);
                }
                let cluster = builder.device(wanted.devices).computing(wanted.settings).start()?;
                (wanted, cluster)
            }
        };
        self.place = running.1.place();
        Ok(&self.cluster.insert(running).1)
    }
}
