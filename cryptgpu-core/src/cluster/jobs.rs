//! The table of all jobs. A party runs what is in it and nothing else.

use super::job::{Job, JobError, PartyContext};
use super::self_test::SelfTest;

/// Decodes a job from bytes, runs it, and appends its encoded output to a buffer.
type Runner = fn(&[u8], &mut PartyContext, &mut Vec<u8>) -> Result<(), JobError>;

/// A job by name.
#[derive(Debug)]
pub(super) struct Entry {
    name: &'static str,
    pub(super) run: Runner,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_an_unknown_one_is_named() {
        for (at, entry) in JOBS.iter().enumerate() {
            assert!(JOBS[..at].iter().all(|other| other.name != entry.name), "{}", entry.name);
            assert_eq!(find(entry.name).unwrap().name, entry.name);
        }
        let error = find("make-tea").unwrap_err().to_string();
        assert!(error.contains("make-tea") && error.contains(SelfTest::NAME), "{error}");
    }
}
