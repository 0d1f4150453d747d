//! What the environment of a Slurm step says of one of its tasks.

use super::error::RendezvousError;
use crate::net::PartyId;

/// One of the three tasks of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// Its rank is its party.
    pub(super) party: PartyId,
    /// `JOB.STEP`, behind the name of the cluster where there is one: no two steps have the same.
    pub(super) step: String,
    /// Which of its node's tasks it is.
    pub(super) local_id: u32,
    /// Its node, for errors.
    pub(super) node: String,
}

impl Task {
    pub(super) fn of_environment() -> Result<Self, RendezvousError> {
        Task::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RendezvousError> {
        let missing = |name: &str| RendezvousError::NoTask { detail: format!("{name} is not set") };
        let text = |name: &str| variable(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name));
        let number = |name: &str| {
            let value = text(name)?;
            let wrong = || RendezvousError::NoTask { detail: format!("{name} is `{value}`, which is no number") };
            value.parse::<u32>().map_err(|_| wrong())
        };
        let (job, number_of_step, rank) = (number("SLURM_JOB_ID")?, number("SLURM_STEP_ID")?, number("SLURM_PROCID")?);
        let found = number("SLURM_STEP_NUM_TASKS").or_else(|_| number("SLURM_NTASKS"))?;
        let cluster: String = variable("SLURM_CLUSTER_NAME").unwrap_or_default();
        // It becomes part of a file's name.
        let cluster: String = cluster.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
        let step = match cluster.as_str() {
            "" => format!("{job}.{number_of_step}"),
            cluster => format!("{cluster}-{job}.{number_of_step}"),
        };
        match PartyId::ALL.get(rank as usize) {
            Some(&party) if found == 3 => {
                let node = variable("SLURMD_NODENAME").unwrap_or_else(|| "its node".to_owned());
                Ok(Task { party, step, local_id: number("SLURM_LOCALID").unwrap_or(0), node })
            }
            _ => Err(RendezvousError::Tasks { step, found: found.max(rank.saturating_add(1)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_what_slurm_says_and_three_are_needed() {
        let step = [
            ("SLURM_JOB_ID", "71"),
            ("SLURM_STEP_ID", "4"),
            ("SLURM_PROCID", "1"),
            ("SLURM_STEP_NUM_TASKS", "3"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURMD_NODENAME", "n7"),
        ];
        let task = |changed: &[(&str, &str)]| {
            Task::of(|name| {
                let found = changed.iter().chain(&step).find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let usual = task(&[]).unwrap();
        assert_eq!(
            usual,
            Task { party: PartyId::ALL[1], step: "71.4".into(), local_id: 1, node: "n7".into() },
            "the step's tasks count, not the allocation's"
        );
        assert_eq!(task(&[("SLURM_CLUSTER_NAME", "../big one")]).unwrap().step, "bigone-71.4");
        for (changed, words) in [
            (("SLURM_STEP_NUM_TASKS", "2"), "2 task(s), and there are three parties"),
            (("SLURM_STEP_NUM_TASKS", "4"), "4 task(s)"),
            (("SLURM_PROCID", "3"), "4 task(s)"),
            // In a batch script, before srun.
            (("SLURM_STEP_ID", ""), "SLURM_STEP_ID is not set. Start it with `srun --ntasks=3`"),
            (("SLURM_PROCID", "one"), "`one`, which is no number"),
        ] {
            let error = task(&[changed]).unwrap_err().to_string();
            assert!(error.contains(words), "{changed:?}: {error}");
        }
    }
}
