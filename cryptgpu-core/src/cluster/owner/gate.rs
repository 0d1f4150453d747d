//! The gate of a party that somebody owns: decides by the policy, and writes into the audit log what was allowed, refused
//! and revealed before anything is done.

use super::audit::{AuditEvent, AuditLine, AuditLog, Revelation, now};
use super::error::OwnerError;
use super::policy::{Caller, Covered, Policy};
use crate::cluster::party::gate::{Asks, Disclosure, Gate, Refusal, To, What};
use crate::cluster::wire::message::CALL;
use crate::net::PartyId;
use std::path::Path;

/// How long what was revealed counts against `per_day`.
const DAY: u64 = 24 * 60 * 60;

/// What each library counts beyond its content.
const LIBRARY_BYTES: u64 = 64 << 10;

/// Decides for the owner in one session.
#[derive(Debug)]
pub(in crate::cluster) struct PolicyGate {
    policy: Policy,
    caller: Caller,
    audit: AuditLog,
    session: String,
    agreed: [u8; 32],
    /// How much code of the caller's is kept, and why some was not.
    code: u64,
    unkept: Option<Refusal>,
    /// What was revealed, and when.
    revealed: Vec<(u64, Disclosure)>,
    /// The run that goes on, and its job.
    begun: Option<(u64, String)>,
    /// The run that was refused last.
    refused: Option<u64>,
}

impl PolicyGate {
    /// The gate of a session; `agreed` is a digest of what the session is about.
    pub(super) fn open(
        policy: Policy,
        caller: Caller,
        audit: &Path,
        session: String,
        agreed: [u8; 32],
    ) -> Result<Self, OwnerError> {
        let (mut revealed, since) = (vec![], now().saturating_sub(DAY));
        let audit = AuditLog::open(audit, |line| revealed.extend(disclosures(line, since)))?;
        let (code, unkept, begun, refused) = (0, None, None, None);
        Ok(PolicyGate { policy, caller, audit, session, agreed, code, unkept, revealed, begun, refused })
    }

    /// The refusal, when it is in the log.
    fn refuse(&mut self, run: u64, job: &str, refusal: Refusal) -> Refusal {
        self.refused = Some(run);
        let (session, caller) = (Some(self.session.clone()), self.caller.name.clone());
        let (run, job, why) = (Some(run), Some(job.to_owned()), refusal.0.clone());
        let added = self.audit.add(AuditEvent::Refused { session, caller, run, job, why });
        added.err().map_or(refusal, |error| unwritten(&error))
    }

    /// How often something was revealed in the last 24 hours.
    fn spent(revealed: &[(u64, Disclosure)], covered: &Covered<'_>) -> u64 {
        let since = now().saturating_sub(DAY);
        revealed.iter().filter(|(at, reveal)| *at >= since && covered(reveal)).map(|(_, reveal)| reveal.times).sum()
    }
}

/// The reason is for the owner; the caller learns that there is one.
fn unwritten(error: &OwnerError) -> Refusal {
    eprintln!("{error}");
    Refusal("its audit log cannot be written: its owner finds the reason in the party's log".to_owned())
}

impl Gate for PolicyGate {
    fn admit_name(&mut self, run: u64, job: &str) -> Result<(), Refusal> {
        self.policy.admit_name(job).map_err(|refusal| self.refuse(run, job, refusal))
    }

    fn admit(&mut self, run: u64, job: &str, asks: &Asks) -> Result<(), Refusal> {
        if asks.function.is_some()
            && let Some(refusal) = self.unkept.take()
        {
            return Err(self.refuse(run, job, refusal));
        }
        let spent = |covered: &Covered<'_>| Self::spent(&self.revealed, covered);
        let admitted = self.policy.admit(&self.caller.name, asks, &spent);
        admitted.map_err(|refusal| self.refuse(run, job, refusal))
    }

    fn begin(&mut self, run: u64, job: &str, asks: &Asks) -> Result<(), Refusal> {
        let at = now();
        self.revealed.extend(asks.reveals.iter().map(|reveal| (at, reveal.clone())));
        let reveals = asks.reveals.iter().map(|reveal| Revelation {
            what: reveal.what.to_string(),
            of: reveal.of.clone(),
            to: named(reveal.to),
            times: reveal.times,
        });
        let event = AuditEvent::Run {
            session: self.session.clone(),
            caller: self.caller.name.clone(),
            run,
            job: job.to_owned(),
            network: asks.network.as_ref().map(|network| network.known_as().to_owned()),
            function: asks.function.as_ref().map(|function| function.digest.clone()),
            name: asks.function.as_ref().map(|function| function.name.clone()),
            reads: asks.reads.iter().map(ToString::to_string).collect(),
            writes: asks.writes.clone(),
            reveals: reveals.collect(),
        };
        self.audit.add(event).map_err(|error| unwritten(&error))?;
        self.begun = Some((run, job.to_owned()));
        Ok(())
    }

    fn withdrawn(&mut self, run: u64, job: &str, why: &str) {
        self.refuse(run, job, Refusal(why.to_owned()));
    }

    fn keep_code(&mut self, bytes: u64) -> bool {
        // Where no function is allowed, the call says so.
        if self.policy.admit_name(CALL).is_err() {
            return false;
        }
        let code = self.code.saturating_add(bytes).saturating_add(LIBRARY_BYTES);
        match self.policy.admit_code(code) {
            Ok(()) => {
                self.code = code;
                true
            }
            Err(refusal) => {
                self.unkept.get_or_insert(refusal);
                false
            }
        }
    }

    fn hold(&mut self, run: u64, bytes: u64) -> Result<(), Refusal> {
        let job = self.begun.as_ref().map(|(_, job)| job.clone()).unwrap_or_default();
        self.policy.admit_held(bytes).map_err(|refusal| self.refuse(run, &job, refusal))
    }

    fn ended(&mut self, run: u64, job: &str, how: &str) {
        if self.begun.take().map(|(begun, _)| begun) != Some(run) {
            // What could not be read, or names what the party does not hold.
            if self.refused != Some(run) {
                self.refuse(run, job, Refusal(format!("it did not begin: {how}")));
            }
            return;
        }
        let (session, job, how) = (self.session.clone(), job.to_owned(), how.to_owned());
        if let Err(error) = self.audit.add(AuditEvent::Ended { session, run, job, how }) {
            eprintln!("{error}");
        }
    }

    fn session(&self) -> [u8; 32] {
        self.agreed
    }

    fn tells_notices(&self) -> bool {
        self.policy.tells_notices()
    }
}

fn named(to: To) -> String {
    match to {
        To::Caller => "caller".to_owned(),
        To::All => "all".to_owned(),
        To::Party(party) => format!("party {party}"),
    }
}

/// What a line of the log has revealed, if it is recent enough to count.
fn disclosures(line: &AuditLine, since: u64) -> Vec<(u64, Disclosure)> {
    let AuditEvent::Run { reveals, .. } = &line.event else { return vec![] };
    let read = |reveal: &Revelation| {
        let what: What = serde_json::from_value(reveal.what.clone().into()).ok()?;
        let to = match reveal.to.as_str() {
            "caller" => To::Caller,
            "all" => To::All,
            party => To::Party(PartyId::new(party.strip_prefix("party ")?.parse().ok()?)?),
        };
        Some((line.at, Disclosure { what, of: reveal.of.clone(), to, times: reveal.times }))
    };
    if line.at < since { vec![] } else { reveals.iter().filter_map(read).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::audit::read_audit;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn gate(folder: &Path, allow: &str) -> PolicyGate {
        let text = format!("[allow]\n{allow}\n[limits]\ncode_mib = 3");
        let policy = Policy::parse(Path::new("policy.toml"), text).unwrap();
        let fingerprint = "ab".repeat(32).parse().unwrap();
        let caller = Caller { name: "lab".to_owned(), fingerprint };
        PolicyGate::open(policy, caller, &folder.join("audit.log"), "5d".repeat(16), [0; 32]).unwrap()
    }

    #[test]
    fn code_is_kept_where_functions_may_run_up_to_a_limit_and_what_was_not_is_told_with_the_call() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!gate(folder.path(), "functions = []\nadhoc = false").keep_code(1), "no function may run");
        let mut gate = gate(folder.path(), "adhoc = true");
        assert!(gate.keep_code(MIB) && gate.keep_code(MIB));
        let call = || Asks::default().function("f", [7; 32], None);
        assert_eq!(gate.admit(1, CALL, &call()), Ok(()));
        assert!(!gate.keep_code(MIB) && gate.keep_code(1), "with what each library counts beyond its content");
        let refusal = gate.admit(2, CALL, &call()).unwrap_err().0;
        let says =
            "policy.toml, line 4 (`code_mib`) does not allow to keep that much of the caller's code: 4 MiB, of 3";
        assert_eq!(refusal, says);
        let mut lines = vec![];
        read_audit(&folder.path().join("audit.log"), |line| lines.push(line.to_string())).unwrap();
        assert!(
            matches!(&lines[..], [line] if line.contains("REFUSED to lab: run 2, call: policy.toml, line 4")),
            "{lines:?}"
        );
    }
}
