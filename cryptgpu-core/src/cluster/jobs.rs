//! The table of all jobs. A party runs what is in it and nothing else.

use super::job::{Job, JobError, PartyContext};
use super::self_test::SelfTest;

/// A job by name: decodes its value from bytes, runs it, and appends its encoded output to a buffer.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) run: fn(&[u8], &mut PartyContext, &mut Vec<u8>) -> Result<(), JobError>,
}

/// Every job there is.
const JOBS: &[Entry] = &[entry::<SelfTest>()];

/// The job called `name`.
pub(super) fn find(name: &str) -> Result<&'static Entry, JobError> {
    JOBS.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known: Vec<&str> = JOBS.iter().map(|entry| entry.name).collect();
        JobError::Other(format!(
            "no job is called `{name}` (there are: {}): is the `cryptgpu` program of the same version as the caller?",
            known.join(", ")
        ))
    })
}

const fn entry<J: Job>() -> Entry {
    Entry { name: J::NAME, run: run::<J> }
}

fn run<J: Job>(body: &[u8], context: &mut PartyContext, output: &mut Vec<u8>) -> Result<(), JobError> {
    let job: J = postcard::from_bytes(body)
        .map_err(|error| JobError::Other(format!("cannot decode the job `{}`: {error}", J::NAME)))?;
    let value = job.run(context)?;
    *output = postcard::to_extend(&value, std::mem::take(output))
        .map_err(|error| JobError::Other(format!("cannot encode the output of `{}`: {error}", J::NAME)))?;
    Ok(())
}
