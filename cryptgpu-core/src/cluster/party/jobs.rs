//! The table of all jobs. A party runs what is in it and nothing else.

use super::call::run_call;
use super::context::PartyContext;
use super::dataset::{MeasureAccuracy, OpenDataset};
use super::job::Job;
use super::keeper::FindCheckpoints;
use super::model::{Infer, LoadModel};
use super::saved::{DeleteSaved, FindSaved, LoadSaved, Save};
use super::self_test::SelfTest;
use super::serving::Serve;
use super::share::{Reveal, RevealTo, Share};
use super::training::{ExportModel, TrainModel};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::CALL;

/// Decodes a job from bytes, runs it, and appends its encoded output to a buffer.
type Runner = fn(&[u8], &mut PartyContext, &mut Vec<u8>) -> Result<(), JobError>;

/// A job by name.
#[derive(Debug)]
pub(in crate::cluster) struct Entry {
    name: &'static str,
    pub(in crate::cluster) run: Runner,
}

/// The jobs that a party runs: those of this layer, and what the program adds. Layers above this one bring their own, so
/// this one names none of them.
///
/// ```
/// use cryptgpu_core::cluster::Jobs;
/// assert_eq!(Jobs::default().names().first(), Some(&"call"));
/// ```
#[derive(Debug)]
pub struct Jobs(Vec<Entry>);

impl Default for Jobs {
    fn default() -> Self {
        let call = Jobs(vec![Entry { name: CALL, run: run_call }]);
        let handles = call.with::<Share>().with::<Reveal>().with::<RevealTo>();
        let models = handles.with::<SelfTest>().with::<LoadModel>().with::<Infer>();
        let data = models.with::<OpenDataset>().with::<MeasureAccuracy>();
        let training = data.with::<TrainModel>().with::<ExportModel>().with::<FindCheckpoints>();
        training.with::<Save>().with::<LoadSaved>().with::<FindSaved>().with::<DeleteSaved>().with::<Serve>()
    }
}

impl Jobs {
    /// These and `J`.
    #[must_use]
    pub fn with<J: Job>(mut self) -> Self {
        self.0.push(Entry { name: J::NAME, run: run::<J> });
        self
    }

    /// What they are called.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|entry| entry.name).collect()
    }

    /// The job called `name`.
    pub(in crate::cluster) fn find(&self, name: &str) -> Result<&Entry, JobError> {
        self.0.iter().find(|entry| entry.name == name).ok_or_else(|| {
            JobError::Other(format!(
                "no job is called `{name}` (there are: {}): is the `cryptgpu` program of the same version as the caller?",
                self.names().join(", ")
            ))
        })
    }
}

fn run<J: Job>(body: &[u8], context: &mut PartyContext, output: &mut Vec<u8>) -> Result<(), JobError> {
    let job: J = postcard::from_bytes(body)
        .map_err(|error| JobError::Arguments(format!("cannot decode the job `{}`: {error}", J::NAME)))?;
    if context.is_guarded() {
        let asks = job.asks(context)?;
        context.admit(J::NAME, asks)?;
    }
    let value = job.run(context)?;
    *output = postcard::to_extend(&value, std::mem::take(output))
        .map_err(|error| JobError::Other(format!("cannot encode the output of `{}`: {error}", J::NAME)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_by_name_and_an_unknown_one_is_named() {
        let jobs = Jobs::default();
        assert_eq!(jobs.find(SelfTest::NAME).unwrap().name, SelfTest::NAME);
        let error = jobs.find("make-tea").unwrap_err().to_string();
        assert!(error.contains("make-tea") && error.contains(SelfTest::NAME), "{error}");
    }
}
