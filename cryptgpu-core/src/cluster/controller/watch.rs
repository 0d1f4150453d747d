//! One run, watched until all parties have told how it ended, or one has failed to.

use crate::cluster::interrupt::{GoingOn, POLL};
use crate::cluster::launch::mailbox::{Arrival, What};
use crate::cluster::launch::session::Session;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{Event, Usage};
use crate::cluster::wire::trace::PartyTrace;
use crate::net::{Activity, PartyId, WaitState, after, deadlock};
use std::time::{Duration, Instant};

/// When one party has failed, the others have so long to tell how they fared.
const GRACE: Duration = Duration::from_secs(2);

/// How far a job is at one party.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which party tells.
    pub party: PartyId,
    /// 0 to 1.
    pub fraction: f64,
    /// What it is about to do.
    pub text: String,
    /// The step it is in.
    pub step: String,
}

/// What a party says while a job runs.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// How far it is.
    Progress(&'a Progress),
    /// What its job tells, in the job's encoding.
    Told(PartyId, &'a [u8]),
}

/// How a job ended well at one party.
#[derive(Debug)]
pub(super) struct Done {
    frame: Vec<u8>,
    body: usize,
    pub(super) usage: Usage,
    pub(super) trace: PartyTrace,
}

impl Done {
    /// The job's encoded output.
    pub(super) fn output(&self) -> &[u8] {
        &self.frame[self.body..]
    }
}

/// One run, as the caller watches it.
pub(super) struct Watch<'a> {
    session: &'a mut Session,
    run: u64,
    job: &'a str,
    deadline: Duration,
    /// How long the run may take, and until when.
    limit: (Duration, Instant),
    heard: [Instant; 3],
    steps: [String; 3],
    used: [Option<(Usage, PartyTrace)>; 3],
    /// Nonces that they had drawn when they were done.
    positions: [u64; 3],
    /// What their links are about, as far as they have told in this run.
    states: [Option<WaitState>; 3],
    done: [Option<(Vec<u8>, usize)>; 3],
    /// Why, and how many had failed before.
    failed: [Option<(usize, ClusterError)>; 3],
    first_failure: Option<Instant>,
    /// Nothing that is still to come would say more.
    hopeless: bool,
    going_on: &'a GoingOn,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        run: u64,
        job: &'a str,
        deadline: Duration,
        limit: Duration,
        going_on: &'a GoingOn,
    ) -> Self {
        Watch {
            session,
            run,
            job,
            deadline,
            limit: (limit, after(Instant::now(), limit)),
            heard: [Instant::now(); 3],
            steps: std::array::from_fn(|_| "start".to_owned()),
            used: Default::default(),
            positions: [0; 3],
            states: Default::default(),
            done: Default::default(),
            failed: Default::default(),
            first_failure: None,
            hopeless: false,
            going_on,
        }
    }

    /// Sends each party its frame.
    pub(super) fn send(&mut self, frames: [Vec<u8>; 3]) {
        for (party, frame) in PartyId::ALL.into_iter().zip(frames) {
            self.session.post(party, frame);
        }
        self.heard = [Instant::now(); 3];
    }

    /// Waits for all parties' outputs.
    pub(super) fn collect(&mut self, hear: &mut dyn FnMut(Heard<'_>)) -> Result<[Done; 3], ClusterError> {
        while self.open().next().is_some() && !self.hopeless {
            if self.going_on.is_to_end() {
                return Err(self.interrupted());
            }
            // Before what has come is looked at: a run that ends behind its limit is no race.
            if self.is_late() {
                return Err(ClusterError::TimeLimit { job: self.job.into(), limit: self.limit.0 });
            }
            let patience = self.patience();
            match self.session.next(patience.min(Instant::now() + POLL)) {
                Some(Arrival { from, what }) => self.take(from, what, hear),
                None if Instant::now() < patience => {}
                None if self.first_failure.is_some() => break,
                None if self.is_late() => {}
                None => self.blame_silence(),
            }
        }
        if self.first_failure.is_none()
            && let Some(error) = self.unread().or_else(|| self.apart())
        {
            return Err(error);
        }
        PartyId::ALL.into_iter().for_each(|party| self.session.settle(party, self.run));
        let (done, used) = (std::mem::take(&mut self.done), std::mem::take(&mut self.used));
        let both = done.into_iter().zip(used).map(|(done, used)| done.zip(used));
        let ended: Option<Vec<Done>> =
            both.map(|both| both.map(|((frame, body), (usage, trace))| Done { frame, body, usage, trace })).collect();
        ended.and_then(|ended| ended.try_into().ok()).ok_or_else(|| self.cause())
    }

    fn is_late(&self) -> bool {
        self.first_failure.is_none() && Instant::now() >= self.limit.1
    }

    fn interrupted(&self) -> ClusterError {
        let step = self.open().next().map_or_else(String::new, |party| self.steps[party.index()].clone());
        ClusterError::Interrupted { job: self.job.to_owned(), step }
    }

    /// Parties that have not told how it ended.
    fn open(&self) -> impl Iterator<Item = PartyId> {
        let told = |party: &PartyId| self.done[party.index()].is_some() || self.failed[party.index()].is_some();
        PartyId::ALL.into_iter().filter(move |party| !told(party))
    }

    /// When waiting for the next event makes no more sense.
    fn patience(&self) -> Instant {
        let silence = self.open().map(|party| after(self.heard[party.index()], self.deadline)).min();
        let silence = silence.unwrap_or_else(Instant::now).min(self.limit.1);
        self.first_failure.map_or(silence, |first| first + GRACE.min(self.deadline))
    }

    fn take(&mut self, from: PartyId, what: What, hear: &mut dyn FnMut(Heard<'_>)) {
        let at = from.index();
        self.heard[at] = Instant::now();
        match what {
            What::Event(Event::Progress { run, fraction, text, step }, ..) if run == self.run => {
                self.steps[at].clone_from(&step);
                hear(Heard::Progress(&Progress { party: from, fraction, text, step }));
            }
            What::Event(Event::Told { run }, frame, body) if run == self.run => {
                hear(Heard::Told(from, frame.get(body..).unwrap_or_default()));
            }
            What::Event(Event::Alive { state }, ..) if self.done[at].is_none() => {
                self.note(at, state.map(|state| state.wait))
            }
            What::Event(Event::Used { run, usage, state, trace, position }, ..) if run == self.run => {
                self.positions[at] = position;
                self.used[at] = Some((*usage, *trace));
                self.states[at] = Some(state.finished());
            }
            What::Event(Event::Done { run }, frame, body) if run == self.run => {
                self.done[at] = Some((frame, body));
                self.find_deadlock();
            }
            What::Event(Event::Failed { run, failure }, ..) if run == self.run => {
                self.session.settle(from, run);
                let log = self.session.log(from);
                self.fail(from, ClusterError::Job { party: from, job: self.job.into(), failure, log });
            }
            What::Event(Event::Unable { detail }, ..) => {
                self.fail(from, ClusterError::Protocol { party: from, detail });
            }
            What::Cancelled => {
                self.fail(from, ClusterError::Cancelled { job: self.job.into() });
                self.hopeless = true;
            }
            What::Event(..) | What::Piece => {}
            What::Gone(detail) => {
                let ended = self.session.wait_end(from, Duration::from_millis(500));
                let status = ended.unwrap_or_else(|| format!("its control link closed: {detail}"));
                let (log, step) = (self.session.log(from), self.steps[at].clone());
                self.done[at] = None;
                self.fail(from, ClusterError::Died { party: from, job: self.job.into(), status, step, log });
            }
        }
    }

    fn note(&mut self, at: usize, state: Option<WaitState>) {
        let finished = self.states[at].as_ref().is_some_and(|state| state.activity == Activity::Finished);
        if !finished {
            self.states[at] = state;
            self.find_deadlock();
        }
    }

    /// Ends the run if the parties wait for each other and nothing is under way: they would do so until the deadline.
    fn find_deadlock(&mut self) {
        let [Some(a), Some(b), Some(c)] = self.states.clone() else { return };
        if let Some(found) = deadlock(&[a, b, c]).filter(|_| self.first_failure.is_none()) {
            let party = found.stuck.first().map_or(PartyId::P0, |stuck| stuck.party);
            self.fail(party, ClusterError::Deadlock { job: self.job.into(), deadlock: found });
            self.hopeless = true;
        }
    }

    /// Messages that one party has sent and another has not received although all are done.
    fn unread(&self) -> Option<ClusterError> {
        let [Some(a), Some(b), Some(c)] = &self.states else { return None };
        let states = [a, b, c];
        let links = PartyId::ALL.into_iter().flat_map(|from| [(from, from.next()), (from, from.prev())]);
        let mut counts = links.map(|(from, to)| {
            let left = states[from.index()].sent[to.index()].saturating_sub(states[to.index()].consumed[from.index()]);
            (from, to, left)
        });
        let (from, to, messages) = counts.find(|(.., left)| *left > 0)?;
        Some(ClusterError::Unread { job: self.job.into(), from, to, messages })
    }

    /// Parties that drew different numbers of nonces although all are done.
    fn apart(&self) -> Option<ClusterError> {
        let [a, b, c] = self.positions;
        let (party, other) = match (a == b, b == c) {
            (true, true) => return None,
            (true, false) => (PartyId::P2, PartyId::P0),
            (false, true) => (PartyId::P0, PartyId::P1),
            (false, false) => (PartyId::P1, PartyId::P0),
        };
        let [drawn, other_drawn] = [party, other].map(|party| self.positions[party.index()]);
        Some(ClusterError::Apart { job: self.job.into(), party, drawn, other, other_drawn })
    }

    fn fail(&mut self, party: PartyId, error: ClusterError) {
        let before = self.failed.iter().flatten().count();
        self.failed[party.index()].get_or_insert((before, error));
        self.first_failure.get_or_insert_with(Instant::now);
    }

    /// Nothing came in time: the party that was silent for longest is to blame.
    fn blame_silence(&mut self) {
        let Some(party) = self.open().min_by_key(|party| self.heard[party.index()]) else { return };
        let waited = self.heard[party.index()].elapsed();
        let step = self.steps[party.index()].clone();
        self.fail(party, ClusterError::Silent { party, job: self.job.into(), waited, step });
    }

    fn cause(&mut self) -> ClusterError {
        likeliest(std::mem::take(&mut self.failed)).unwrap_or_else(|| ClusterError::Protocol {
            party: PartyId::P0,
            detail: format!("the job {} ended without a result", self.job),
        })
    }
}

/// The reported error that is the likeliest cause of the others, each with how many had failed before. A party
/// that waits for one that waits for a third reports the second: so of equal errors that one counts whose peer has reported
/// nothing itself. Of several parties that died it is the one that another names, or else the first that was missed.
fn likeliest(failed: [Option<(usize, ClusterError)>; 3]) -> Option<ClusterError> {
    let reported = failed.each_ref().map(Option::is_some);
    let named = PartyId::ALL.map(|party| failed.iter().flatten().any(|(_, error)| error.peer() == Some(party)));
    let is_echo = |error: &ClusterError| error.peer().is_some_and(|peer| reported[peer.index()]);
    let missed = |at: usize, error: &ClusterError| match error {
        ClusterError::Died { party, .. } => (!named[party.index()], at),
        // Among other errors the order does not matter, so that the same one is reported each time.
        _ => (false, 0),
    };
    let errors = failed.into_iter().flatten();
    errors.min_by_key(|(at, error)| (error.rank(), is_echo(error), missed(*at, error))).map(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::error::{Failure, FailureKind};

    #[test]
    fn of_several_that_died_the_one_that_others_name_or_the_first_is_the_cause() {
        let died = |party| ClusterError::Died {
            party,
            job: "train".into(),
            status: "killed".into(),
            step: String::new(),
            log: vec![],
        };
        let lost = |party, peer| {
            let (kind, step, message) = (FailureKind::PeerClosed, String::new(), String::new());
            let failure = Failure { kind, step, message, peer: Some(peer) };
            ClusterError::Job { party, job: "train".into(), failure, log: vec![] }
        };
        let [p0, p1, p2] = PartyId::ALL;
        for (failed, cause) in [
            ([Some((1, died(p0))), Some((0, died(p1))), Some((2, died(p2)))], p1),
            ([Some((0, died(p0))), Some((1, died(p1))), Some((2, lost(p2, p1)))], p1),
            ([Some((0, lost(p0, p2))), Some((1, lost(p1, p2))), Some((2, died(p2)))], p2),
        ] {
            assert_eq!(likeliest(failed).and_then(|error| error.party()), Some(cause));
        }
    }
}
