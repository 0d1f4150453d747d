//! A party's audit log: a file to which a line is added for everything that was run, refused and revealed, before it is
//! done. Each line holds the digest of the line before, so that none can be changed, removed or put in without all that
//! follow. No secret stands in it: names, digests, paths and counts do.

use super::error::OwnerError;
use crate::cluster::wire::text::hex;
use crate::show::time_text;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One line of an audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditLine {
    /// From 1.
    pub n: u64,
    /// When, in UTC.
    pub time: String,
    /// The same in seconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// SHA-256 of the line before, without its end; zeros in the first line.
    pub before: String,
}

/// What happened at a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// The party was started by its owner.
    Start {
        /// Which of the three it is.
        party: String,
        /// The program's version.
        program: String,
        /// SHA-256 of the policy's file.
        policy: String,
        /// The digest of the library that runs its sessions, where that is not the program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        runtime: Option<String>,
    },
    /// A caller began a session.
    Session {
        /// The session's number, the same at all three parties.
        session: String,
        /// The caller's name in the policy.
        caller: String,
        /// The caller's fingerprint.
        fingerprint: String,
        /// SHA-256 of the policy's file.
        policy: String,
        /// What the caller has chosen.
        settings: String,
    },
    /// All three parties have admitted a run, and this one begins it.
    Run {
        /// The session's number.
        session: String,
        /// The caller's name.
        caller: String,
        /// The run's number in the session.
        run: u64,
        /// The job.
        job: String,
        /// The network that it computes with, by name or digest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<String>,
        /// The digest of the function.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
        /// What the caller calls the function, which says nothing of what it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What this party reads for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reads: Vec<String>,
        /// Where this party writes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        writes: Vec<PathBuf>,
        /// What it reveals.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reveals: Vec<Revelation>,
    },
    /// Something was asked for and not done.
    Refused {
        /// The session's number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// The caller's name.
        caller: String,
        /// The run's number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
        /// The job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<String>,
        /// Which line of the policy refuses it, or what else.
        why: String,
    },
    /// A run that was begun has ended.
    Ended {
        /// The session's number.
        session: String,
        /// The run's number.
        run: u64,
        /// The job.
        job: String,
        /// `done`, or in a few words why not.
        how: String,
    },
    /// A session has ended.
    Over {
        /// The session's number.
        session: String,
    },
}

/// One thing that a run has revealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revelation {
    /// What: scores, accuracy, loss, weights, range, result; own for what the caller had shared itself.
    pub what: String,
    /// Of which network or function.
    pub of: String,
    /// To whom.
    pub to: String,
    /// How many times.
    pub times: u64,
}

/// Where an audit log ends: who notes this down elsewhere finds out later if the end was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Lines.
    pub lines: u64,
    /// SHA-256 of the last one; zeros in an empty log.
    pub digest: String,
}

/// An audit log that lines are added to.
#[derive(Debug)]
pub(super) struct AuditLog {
    path: PathBuf,
    file: File,
    /// The length of the file and its head, as last seen. Another process of the same party adds lines too.
    seen: (u64, AuditHead),
}

fn digest(line: &[u8]) -> String {
    hex(Sha256::digest(line))
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl AuditHead {
    fn none() -> Self {
        AuditHead { lines: 0, digest: "0".repeat(64) }
    }

    /// The head behind this line, if it follows; or what is wrong with it.
    fn follow(&self, line: &[u8]) -> Result<(AuditHead, AuditLine), String> {
        let read: AuditLine =
            serde_json::from_slice(line).map_err(|error| format!("it is no line of an audit log ({error})"))?;
        if read.before != self.digest {
            return Err(match self.lines {
                0 => "it is not the first line of a log".to_owned(),
                before => format!("line {before} is not the one that was there when this line was written"),
            });
        }
        if read.n != self.lines + 1 {
            return Err(format!("it says that it is line {}", read.n));
        }
        Ok((AuditHead { lines: read.n, digest: digest(line) }, read))
    }
}

/// Reads an audit log from its first line to its last, and checks that each follows from the one before.
///
/// # Errors
/// [`OwnerError::Broken`] with the first line that does not follow; [`OwnerError::Io`].
pub fn read_audit(path: &Path, mut each: impl FnMut(&AuditLine)) -> Result<AuditHead, OwnerError> {
    let failed = |error: std::io::Error| OwnerError::io("read", path, &error);
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let (mut head, mut bytes) = (AuditHead::none(), vec![]);
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(head);
        }
        let broken = |detail| OwnerError::Broken { path: path.to_owned(), line: head.lines + 1, detail };
        let Some(b'\n') = bytes.pop() else {
            return Err(broken("it has no end: the machine stopped while it was written, or it was cut".to_owned()));
        };
        let (next, line) = head.follow(&bytes).map_err(broken)?;
        each(&line);
        head = next;
    }
}

impl AuditLog {
    /// The log at `path`, made for this account alone if it is not there; each line of one that is there is checked.
    pub(super) fn open(path: &Path, each: impl FnMut(&AuditLine)) -> Result<Self, OwnerError> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        let file = file.map_err(|error| OwnerError::io("write", path, &error))?;
        let mut log = AuditLog { path: path.to_owned(), file, seen: (0, AuditHead::none()) };
        log.locked(|log| {
            let head = read_audit(&log.path, each)?;
            log.seen = (log.length()?, head);
            Ok(())
        })?;
        Ok(log)
    }

    /// Adds a line; it is on disk when this returns.
    pub(super) fn add(&mut self, event: AuditEvent) -> Result<(), OwnerError> {
        self.locked(|log| {
            let (length, head) = log.present()?;
            let at = now();
            let (n, before) = (head.lines + 1, head.digest);
            let line = AuditLine { n, time: time_text(at), at, event, before };
            let failed = |error: std::io::Error| OwnerError::io("write", &log.path, &error);
            let mut bytes = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
            let head = AuditHead { lines: n, digest: digest(&bytes) };
            bytes.push(b'\n');
            let written = (&log.file).write_all(&bytes).and_then(|()| log.file.sync_data());
            if let Err(error) = written {
                // Half a line would make the log unreadable; if this fails too, the next start says so.
                let _ = log.file.set_len(length);
                return Err(failed(error));
            }
            log.seen = (length + bytes.len() as u64, head);
            Ok(())
        })
    }

    /// Runs `body` while no other process adds lines.
    fn locked<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, OwnerError>) -> Result<T, OwnerError> {
        self.file.lock().map_err(|error| OwnerError::io("lock", &self.path, &error))?;
        let result = body(self);
        // The lock also goes with the file.
        let _ = self.file.unlock();
        result
    }

    fn length(&self) -> Result<u64, OwnerError> {
        self.file.metadata().map(|about| about.len()).map_err(|error| OwnerError::io("read", &self.path, &error))
    }

    /// Length and head of the file as it is now.
    fn present(&self) -> Result<(u64, AuditHead), OwnerError> {
        let (length, (seen, head)) = (self.length()?, &self.seen);
        let failed = |error: std::io::Error| OwnerError::io("read", &self.path, &error);
        let broken = |line, detail| OwnerError::Broken { path: self.path.clone(), line, detail };
        if length < *seen {
            return Err(broken(head.lines, "it is gone while the party runs".to_owned()));
        }
        let mut added = vec![];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(*seen)).map_err(failed)?;
        file.take(length - seen).read_to_end(&mut added).map_err(failed)?;
        let mut head = head.clone();
        for line in added.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            (head, _) = head.follow(line).map_err(|detail| broken(head.lines + 1, detail))?;
        }
        Ok((length, head))
    }
}

impl fmt::Display for Revelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} to {}, {} times", self.what, self.of, self.to, self.times)
    }
}

/// As `cryptgpu audit` prints it.
impl fmt::Display for AuditLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |session: &str| session.chars().take(8).collect::<String>();
        write!(f, "{:>5}  {}  ", self.n, self.time)?;
        match &self.event {
            AuditEvent::Start { party, program, runtime, .. } => {
                write!(f, "started as party {party} ({program})")?;
                runtime.iter().try_for_each(|runtime| write!(f, ", with the library {runtime}"))
            }
            AuditEvent::Session { session, caller, settings, .. } => {
                write!(f, "session {} of {caller}: {settings}", short(session))
            }
            AuditEvent::Run { session, caller, run, job, network, function, name, reads, writes, reveals } => {
                write!(f, "run {run} of session {} of {caller}: {job}", short(session))?;
                network.iter().try_for_each(|network| write!(f, ", network {network}"))?;
                if let Some(function) = function {
                    let name = name.as_deref().unwrap_or_default();
                    write!(f, ", function {function} (`{name}`), which REVEALS whatever its code opens and returns")?;
                }
                reads.iter().try_for_each(|source| write!(f, ", reads {source}"))?;
                writes.iter().try_for_each(|path| write!(f, ", writes {}", path.display()))?;
                reveals.iter().try_for_each(|reveal| write!(f, ", REVEALS {reveal}"))
            }
            AuditEvent::Refused { caller, run, job, why, .. } => {
                let run = run.map(|run| format!("run {run}, ")).unwrap_or_default();
                write!(f, "REFUSED to {caller}: {run}{}: {why}", job.as_deref().unwrap_or("a session"))
            }
            AuditEvent::Ended { session, run, job, how } => {
                write!(f, "run {run} of session {}: {job} {how}", short(session))
            }
            AuditEvent::Over { session } => write!(f, "session {} over", short(session)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(lines: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut log = AuditLog::open(&path, |_| ()).unwrap();
        for line in 0..lines {
            log.add(AuditEvent::Over { session: format!("{line:032x}") }).unwrap();
        }
        (folder, path)
    }

    fn first_broken(path: &Path) -> u64 {
        match read_audit(path, |_| ()).unwrap_err() {
            OwnerError::Broken { line, .. } => line,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn each_line_follows_from_the_one_before_and_two_writers_take_turns() {
        let (_folder, path) = log_of(3);
        let mut logs = [0, 1].map(|_| AuditLog::open(&path, |_| ()).unwrap());
        for turn in 0..6u64 {
            logs[turn as usize % 2].add(AuditEvent::Over { session: "00".repeat(16) }).unwrap();
        }
        let mut numbers = vec![];
        let head = read_audit(&path, |line| numbers.push(line.n)).unwrap();
        assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((head.lines, head.digest), (9, digest(text.lines().last().unwrap().as_bytes())));
    }

    #[test]
    fn a_line_that_was_changed_removed_moved_or_put_in_is_found() {
        let (_folder, path) = log_of(5);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = lines[2].replace("\"time\":\"2", "\"time\":\"3");
        let forged = |lines: &[&str]| {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            first_broken(&path)
        };
        assert_eq!(forged(&[lines[0], lines[1], &changed, lines[3], lines[4]]), 4);
        assert_eq!(forged(&[lines[0], lines[2], lines[3], lines[4]]), 2);
        assert_eq!(forged(&lines[1..]), 1);
        assert_eq!(forged(&[lines[0], lines[2], lines[1], lines[3], lines[4]]), 2);
        assert_eq!(forged(&[lines[0], lines[0], lines[1]]), 2);
        assert_eq!(forged(&[lines[0], "{}", lines[1]]), 2);
        // And a log that was changed is not gone on with.
        assert!(matches!(AuditLog::open(&path, |_| ()), Err(OwnerError::Broken { line: 2, .. })));
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(first_broken(&path), 5);
    }
}
