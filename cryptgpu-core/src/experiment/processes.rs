//! The three parties as processes of this machine: what a private inference is as a job of a
//! [`Cluster`], and the cluster as a place to run declarations.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::measure::Parties;
use super::party::{PartyReport, PartyRun};
use super::{ExperimentError, Inference};
use crate::cluster::{Cluster, Job, JobError, PartyContext};
use crate::device::Devices;
use crate::mpc::MpcError;
use crate::net::{Link, PartyId};
use crate::prg::Randomness;

/// A private inference as a job: each party gets the declaration, and finds what is its to bring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InferenceJob(pub Inference);

impl Job for InferenceJob {
    const NAME: &'static str = "inference";
    type Output = PartyReport;

    fn run(self, context: &mut PartyContext) -> Result<PartyReport, JobError> {
        let mut run = PartyRun::start(context.party(), &self.0).map_err(JobError::from)?;
        let all = run.evaluations();
        for number in 0..all {
            context.progress(number as f64 / all as f64, "private inference");
            run.evaluate(context.party(), number).map_err(JobError::from)?;
        }
        context.progress(1.0, "done");
        Ok(run.finish())
    }
}

impl From<ExperimentError> for JobError {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Mpc(MpcError::Net(error)) => JobError::Net(error),
            ExperimentError::Mpc(error) => JobError::Mpc(error),
            ExperimentError::Nn(error) => error.into(),
            other => JobError::Other(other.to_string()),
        }
    }
}

/// What makes new processes necessary when it changes.
type Wanted = (Link, Randomness, Devices);

/// Three party processes on this machine, linked by TLS over loopback. They are started by the first
/// run, and again when a declaration asks for other links, other randomness or other devices.
#[derive(Debug)]
pub struct Processes {
    deadline: Duration,
    threads: Option<usize>,
    program: Option<PathBuf>,
    cluster: Option<(Wanted, Cluster)>,
}

impl Processes {
    /// Processes that wait for each other no longer than `deadline`, each computing on `threads`
    /// threads, or on as many as the machine has cores.
    pub fn new(deadline: Duration, threads: Option<usize>) -> Self {
        Self { deadline, threads, program: None, cluster: None }
    }

    /// Processes that run `program`, a `cryptgpu`, in place of the one that is found.
    #[must_use]
    pub fn program(self, program: Option<PathBuf>) -> Self {
        Self { program, ..self }
    }

    fn cluster(&mut self, declaration: &Inference) -> Result<&Cluster, ExperimentError> {
        let wanted @ (link, randomness, device) = (declaration.link, declaration.randomness, declaration.device);
        // The old processes end before new ones start.
        self.cluster.take_if(|(running, _)| *running != wanted);
        let cluster = match self.cluster.take() {
            Some(running) => running,
            None => {
                let builder = Cluster::local().link(link).randomness(randomness).device(device).deadline(self.deadline);
                let builder = self.threads.into_iter().fold(builder, |builder, threads| builder.threads(threads));
                let builder = self.program.iter().fold(builder, |builder, program| builder.program(program));
                (wanted, builder.start()?)
            }
        };
        Ok(&self.cluster.insert(cluster).1)
    }
}

impl Parties for Processes {
    fn describe(&self) -> String {
        "local processes, TLS".to_owned()
    }

    fn on_this_machine(&self) -> u64 {
        3
    }

    fn run(
        &mut self,
        declaration: &Inference,
        progress: &mut dyn FnMut(usize),
    ) -> Result<[PartyReport; 3], ExperimentError> {
        let all = (declaration.iterations + 1) as f64;
        let jobs = PartyId::ALL.map(|_| InferenceJob(declaration.clone()));
        let run = self.cluster(declaration)?.run_job_with(jobs, |at| {
            if at.party == PartyId::P0 {
                progress((at.fraction * all).round() as usize);
            }
        })?;
        Ok(run.outputs)
    }
}
