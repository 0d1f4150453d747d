//! Who waits for whom, and whether it can ever end.
//!
//! A party that waits for a message which was sent will go on; so will one that waits for a party which is going on.
//! What is left are parties that wait for each other, or for one whose program has returned, with nothing under way
//! between them: a deadlock, which can be named long before a deadline passes.

use super::{PartyId, Tag, at_step};
use std::fmt;
use std::time::Duration;

/// What one party is doing about its links, as seen at one moment, from whichever thread asks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WaitState {
    /// The party.
    pub party: PartyId,
    /// The step it is in.
    pub step: String,
    /// Messages it has sent since its links came up, by receiver.
    pub sent: [u64; 3],
    /// Messages its program has received since then, by sender. A message that has arrived and was not asked for yet is
    /// not among them.
    pub consumed: [u64; 3],
    /// Whether it goes on.
    pub activity: Activity,
}

impl WaitState {
    /// The state of a party whose program has returned: it will send nothing more. Its links do not know that; whoever
    /// runs the program does.
    #[must_use]
    pub fn finished(self) -> Self {
        WaitState { activity: Activity::Finished, ..self }
    }

    /// The receive in which it is blocked, if it is.
    pub fn wait(&self) -> Option<&Wait> {
        match &self.activity {
            Activity::Waiting(wait) => Some(wait),
            Activity::Running | Activity::Finished => None,
        }
    }
}

/// What a party is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Activity {
    /// It computes or sends.
    Running,
    /// It is blocked in a receive.
    Waiting(Wait),
    /// Its program has returned.
    Finished,
}

/// A receive that has not returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wait {
    /// Whose message it waits for.
    pub from: PartyId,
    /// The tag that the message should have.
    pub expected: Tag,
    /// The length that it should have, in words.
    pub words: usize,
    /// When the wait began, on the clock of the party's host ([`monotonic_nanos`](super::monotonic_nanos)).
    pub since_nanos: u64,
    /// How long the receive had waited when this was looked up.
    pub waited: Duration,
}

/// Parties that will wait until their deadlines pass, whatever the others do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deadlock {
    /// Those that wait, in the order of parties: two or three of them, or one if it waits for a party that has finished.
    pub stuck: Vec<Stuck>,
    /// Those of the awaited parties whose program has returned.
    pub finished: Vec<PartyId>,
    /// Messages that have been sent to a stuck party and that it has not asked for.
    pub unread: Vec<Unread>,
}

/// A party in a deadlock.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stuck {
    /// The party.
    pub party: PartyId,
    /// The step it is in.
    pub step: String,
    /// What it waits for.
    pub wait: Wait,
}

/// Messages of one direction of a link that nobody has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unread {
    /// Who sent them.
    pub from: PartyId,
    /// Who has not received them.
    pub to: PartyId,
    /// How many.
    pub messages: u64,
}

/// The deadlock in these states of the three parties, in the order of parties and all of one run, if there is one.
///
/// A party is stuck if it waits for a message that was not sent (as many were sent as it has consumed), by a party that
/// is stuck itself or has finished. The states need not be of the same moment: the first of the stuck parties to go on
/// would need a message that its peer sent after its own state was taken, while that peer was stuck. So what is found
/// is never wrong, provided that each party sends and receives from one thread. A message that was lost on the way
/// (which real links do not do) counts as under way.
///
/// ```
/// use cryptgpu_core::net::{Activity, Network, Options, PartyId, Tag, deadlock, memory};
///
/// let parties = memory::trio(Options::default());
/// let states = parties.each_ref().map(|party| party.endpoint().wait_state());
/// assert_eq!(deadlock(&states), None, "nobody waits");
/// ```
pub fn deadlock(states: &[WaitState; 3]) -> Option<Deadlock> {
    let under_way = |from: PartyId, to: PartyId| {
        states[from.index()].sent[to.index()].saturating_sub(states[to.index()].consumed[from.index()])
    };
    // Everyone who waits for a message that was not sent is a candidate; those whose peer may still send it are not
    // stuck, nor are those who wait for them, and so on.
    let awaits = |party: PartyId| states[party.index()].wait().filter(|wait| under_way(wait.from, party) == 0);
    let mut stuck = PartyId::ALL.map(|party| awaits(party).is_some());
    for _ in PartyId::ALL {
        stuck = PartyId::ALL.map(|party| {
            let hopeless = |peer: PartyId| stuck[peer.index()] || states[peer.index()].activity == Activity::Finished;
            stuck[party.index()] && awaits(party).is_some_and(|wait| hopeless(wait.from))
        });
    }
    let stuck: Vec<Stuck> = PartyId::ALL
        .into_iter()
        .filter(|party| stuck[party.index()])
        .filter_map(|party| {
            Some(Stuck { party, step: states[party.index()].step.clone(), wait: *states[party.index()].wait()? })
        })
        .collect();
    if stuck.is_empty() {
        return None;
    }
    let awaited = |peer: &PartyId| stuck.iter().any(|stuck| stuck.wait.from == *peer);
    let is_finished = |peer: &PartyId| states[peer.index()].activity == Activity::Finished;
    let finished = PartyId::ALL.into_iter().filter(|peer| is_finished(peer) && awaited(peer)).collect();
    let links = stuck.iter().flat_map(|stuck| [stuck.party.next(), stuck.party.prev()].map(|peer| (peer, stuck.party)));
    let unread = links.map(|(from, to)| Unread { from, to, messages: under_way(from, to) });
    let unread = unread.filter(|unread| unread.messages > 0).collect();
    Some(Deadlock { stuck, finished, unread })
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wait { from, expected, words, waited, .. } = &self.wait;
        write!(
            f,
            "party {} waits for party {from}{} (message kind {}, {words} words, for {:.1} s)",
            self.party,
            at_step(&self.step),
            expected.kind,
            waited.as_secs_f64()
        )
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: ")?;
        for (index, stuck) in self.stuck.iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index + 1 == self.stuck.len() => ", and ",
                _ => ", ",
            };
            write!(f, "{separator}{stuck}")?;
        }
        for party in &self.finished {
            write!(f, ", but the program of party {party} has returned")?;
        }
        f.write_str("; no such message is under way. ")?;
        for Unread { from, to, messages } in &self.unread {
            let (s, lie) = if *messages == 1 { ("", "lies") } else { ("s", "lie") };
            write!(f, "{messages} message{s} from party {from} to party {to} {lie} unread. ")?;
        }
        f.write_str(self.hint())
    }
}

impl Deadlock {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        if !self.unread.is_empty() {
            "Does each receive name the party that sends, next or previous?"
        } else if !self.finished.is_empty() {
            "Do all three parties run the same steps? What decides between them must be public, and the same everywhere."
        } else {
            "Let each party send before it receives: both sends first, then both receives."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// States in which party i waits for `waits[i]`, with as many messages consumed as sent.
    fn states(activity: [Option<usize>; 3]) -> [WaitState; 3] {
        PartyId::ALL.map(|party| WaitState {
            party,
            step: format!("step{party}"),
            sent: [5; 3],
            consumed: [5; 3],
            activity: match activity[party.index()] {
                None => Activity::Running,
                Some(from) => Activity::Waiting(Wait {
                    from: PartyId::ALL[from],
                    expected: Tag { position: 9, kind: 17 },
                    words: 4,
                    since_nanos: 1,
                    waited: Duration::from_millis(1500),
                }),
            },
        })
    }

    fn stuck(states: &[WaitState; 3]) -> Vec<usize> {
        deadlock(states).map_or(vec![], |found| found.stuck.iter().map(|stuck| stuck.party.index()).collect())
    }

    /// By hand: follow the waits; a party is stuck if its chain never reaches one that runs.
    fn expected(activity: [Option<usize>; 3], finished: [bool; 3]) -> Vec<usize> {
        let is_stuck = |&start: &usize| {
            let mut at = start;
            for _ in 0..4 {
                match activity[at] {
                    _ if finished[at] => return at != start,
                    None => return false,
                    Some(next) => at = next,
                }
            }
            true
        };
        (0..3).filter(is_stuck).collect()
    }

    #[test]
    fn every_graph_of_waits() {
        let choices = |party: usize| [None, Some((party + 1) % 3), Some((party + 2) % 3)];
        let mut found = 0;
        for a in choices(0) {
            for b in choices(1) {
                for c in choices(2) {
                    for mask in 0..8 {
                        let finished = [0, 1, 2].map(|party| mask >> party & 1 == 1);
                        let mut states = states([a, b, c]);
                        for state in &mut states {
                            if finished[state.party.index()] {
                                *state = state.clone().finished();
                            }
                        }
                        let want = expected([a, b, c], finished);
                        found += usize::from(!want.is_empty());
                        assert_eq!(stuck(&states), want, "{a:?} {b:?} {c:?} finished {finished:?}");
                    }
                }
            }
        }
        assert!(found > 40, "{found}");
    }

    #[test]
    fn a_message_under_way_frees_its_receiver_and_all_who_wait_for_it() {
        for freed in 0..3 {
            let mut ring = states([Some(1), Some(2), Some(0)]);
            assert_eq!(stuck(&ring), [0, 1, 2]);
            ring[(freed + 1) % 3].sent[freed] += 1;
            assert_eq!(stuck(&ring), [0usize; 0], "party {freed} will go on");
        }
        // Two wait for each other; the third, freed, does not help them.
        let mut pair = states([Some(1), Some(0), Some(0)]);
        pair[0].sent[2] += 1;
        assert_eq!(stuck(&pair), [0, 1]);
    }

    #[test]
    fn a_message_to_somebody_else_frees_nobody_and_is_named() {
        let mut ring = states([Some(1), Some(2), Some(0)]);
        ring[2].sent[0] += 2;
        let found = deadlock(&ring).unwrap();
        assert_eq!(found.stuck.len(), 3);
        let unread = Unread { from: PartyId::P2, to: PartyId::P0, messages: 2 };
        assert_eq!(found.unread, [unread]);
        let text = found.to_string();
        assert!(text.contains("2 messages from party 2 to party 0 lie unread. Does each receive name"), "{text}");
    }

    #[test]
    fn it_reads_as_sentences() {
        let text = deadlock(&states([Some(1), Some(2), Some(0)])).unwrap().to_string();
        assert_eq!(
            text,
            "deadlock: party 0 waits for party 1 at step step0 (message kind 17, 4 words, for 1.5 s), party 1 waits \
             for party 2 at step step1 (message kind 17, 4 words, for 1.5 s), and party 2 waits for party 0 at step \
             step2 (message kind 17, 4 words, for 1.5 s); no such message is under way. Let each party send before it \
             receives: both sends first, then both receives."
        );
        let [p0, p1, p2] = states([Some(1), None, None]);
        let found = deadlock(&[p0, p1.finished(), p2]).unwrap();
        let text = found.to_string();
        assert!(text.contains("but the program of party 1 has returned; no such message"), "{text}");
        assert!(text.ends_with(found.hint()) && found.hint().contains("same steps"), "{text}");
    }

    #[test]
    fn a_state_survives_the_wire() {
        for state in states([Some(1), None, Some(0)]) {
            let bytes = postcard::to_stdvec(&state).unwrap();
            assert_eq!(postcard::from_bytes::<WaitState>(&bytes).unwrap(), state);
        }
    }
}
