//! Who runs the tasks of a party's links. A receiver that waits runs them itself: what it waits for is then read, decrypted
//! and checked by the thread that is woken for it, where another thread would have to wake that one in turn. So does a sender that
//! waits for its link, and "receiver" means both here. While the party computes, tasks are left alone for a while; then a thread of
//! their own runs them, the keeper, until it has served a receiver.

use super::super::inbox::{Stirs, Waiter};
use super::super::{NetError, PartyId};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout_at;

/// When the keeper runs tasks that nobody else runs.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// After so long. Meanwhile what comes lies in the system's buffers. The keeper wakes as often, to look.
    left_alone: Duration,
    /// Whether at once when they are given a message to send.
    at_once: bool,
}

impl Pace {
    /// Three parties on this machine are six threads, keepers among them. With fewer cores, a keeper that wakes takes its time from a
    /// party; with as many, it sends and receives while its party computes.
    fn of(cores: usize) -> Self {
        match cores < 6 {
            true => Pace { left_alone: Duration::from_millis(3), at_once: false },
            false => Pace { left_alone: Duration::from_micros(200), at_once: true },
        }
    }
}

/// What a party's tasks run on, whoever runs them.
pub(in super::super) fn runtime(id: PartyId) -> Result<Runtime, NetError> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|error| not_started(id, &error))
}

fn not_started(party: PartyId, error: &std::io::Error) -> NetError {
    NetError::Setup {
        party,
        action: "start the threads of the transport".into(),
        detail: error.to_string(),
        hint: "Is the limit on threads (ulimit -u) reached?".into(),
    }
}

/// Who runs the tasks now, and who shall.
pub(super) struct Duty {
    pace: Pace,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Receivers that wait: one of them runs the tasks, if the keeper does not.
    waiting: usize,
    /// When the last of them went.
    left: Option<Instant>,
    /// Whether tasks shall not be left alone.
    at_once: bool,
    keeper: Keeper,
    over: bool,
}

#[derive(Default)]
enum Keeper {
    /// Looks again when tasks have been left alone.
    #[default]
    Looking,
    /// Sleeps until the receiver goes that waits.
    Asleep,
    /// Runs the tasks; whoever wakes this makes it ask whether it is relieved.
    OnDuty(Option<Waker>),
    Relieved,
}

impl Default for Duty {
    fn default() -> Self {
        Duty::new(Pace::of(std::thread::available_parallelism().map_or(1, usize::from)))
    }
}

impl Duty {
    fn new(pace: Pace) -> Self {
        Duty { pace, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A receiver waits.
    fn enter(&self) {
        self.state.lock().waiting += 1;
    }

    /// A receiver goes.
    fn leave(&self) {
        let mut state = self.state.lock();
        state.waiting -= 1;
        state.left = Some(Instant::now());
        if matches!(state.keeper, Keeper::Asleep) {
            state.keeper = Keeper::Looking;
            self.changed.notify_one();
        }
    }

    /// A task was given a message to send. Whoever runs the tasks hears of it from them.
    pub(super) fn given(&self) {
        if self.pace.at_once {
            self.begin();
        }
    }

    /// The keeper runs the tasks from now on, if nobody does.
    fn begin(&self) {
        let mut state = self.state.lock();
        if state.waiting == 0 && !matches!(state.keeper, Keeper::OnDuty(_)) {
            state.at_once = true;
            self.changed.notify_one();
        }
    }

    /// A message has come: from here on a receiver that waits runs the tasks.
    pub(super) fn served(&self) {
        let mut state = self.state.lock();
        if state.waiting > 0
            && let Keeper::OnDuty(waker) = &mut state.keeper
        {
            let waker = waker.take();
            state.keeper = Keeper::Relieved;
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// There are no tasks any more.
    fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        self.changed.notify_one();
        if let Keeper::OnDuty(waker) = &mut state.keeper
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    /// The keeper waits until it is to run the tasks; false when there are none any more.
    fn awaits_work(&self) -> bool {
        let mut state = self.state.lock();
        let (pace, mut seen) = (self.pace.left_alone, None);
        while !state.over {
            let alone = state.left.map_or(Duration::MAX, |left| left.elapsed());
            if state.waiting == 0 && (state.at_once || alone >= pace) {
                state.at_once = false;
                state.keeper = Keeper::OnDuty(None);
                return true;
            }
            if state.waiting > 0 && seen == Some(state.left) {
                // A receiver that waits for long says when it goes.
                state.keeper = Keeper::Asleep;
                self.changed.wait(&mut state);
                state.keeper = Keeper::Looking;
            } else {
                seen = Some(state.left);
                let rest = if state.waiting == 0 { pace - alone } else { pace };
                self.changed.wait_for(&mut state, rest);
            }
        }
        false
    }

    /// Ready when the keeper is relieved.
    fn poll_relief(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let over = state.over;
        match &mut state.keeper {
            Keeper::OnDuty(waker) if !over => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            keeper => {
                *keeper = Keeper::Looking;
                Poll::Ready(())
            }
        }
    }
}

/// A party's tasks, and the duty to run them.
pub(super) struct Watch {
    runtime: Runtime,
    duty: Arc<Duty>,
}

impl Watch {
    pub(super) fn new(runtime: Runtime) -> Arc<Self> {
        Arc::new(Watch { runtime, duty: Arc::default() })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn duty(&self) -> &Arc<Duty> {
        &self.duty
    }

    /// Starts the keeper, which ends after [`Watch::end`].
    pub(super) fn keep(self: &Arc<Self>, id: PartyId) -> Result<JoinHandle<()>, NetError> {
        let watch = self.clone();
        let keeper = std::thread::Builder::new().name(format!("net-{id}")).spawn(move || {
            while watch.duty.awaits_work() {
                watch.runtime.block_on(poll_fn(|context| watch.duty.poll_relief(context)));
            }
        });
        keeper.map_err(|error| not_started(id, &error))
    }

    /// The keeper has nothing to run any more.
    pub(super) fn end(&self) {
        self.duty.end();
    }

    /// What the tasks run on, once nobody else has it.
    pub(super) fn into_runtime(self: Arc<Self>) -> Option<Runtime> {
        Arc::into_inner(self).map(|watch| watch.runtime)
    }
}

impl Waiter for Watch {
    fn wait(&self, stirs: Stirs<'_>, deadline: Instant) {
        if Handle::try_current().is_ok() {
            // A task of another runtime must not run these.
            return self.duty.begin();
        }
        self.duty.enter();
        // Whoever waits looks which of both it was.
        let _ = self.runtime.block_on(async { timeout_at(deadline.into(), poll_fn(stirs)).await });
        self.duty.leave();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Tag;
    use super::super::super::inbox::{Inbox, Incoming};
    use super::super::super::payload::Payload;
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::{self, ThreadId};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    const SOON: Duration = Duration::from_secs(10);

    /// Links to nobody: a task that queues what it is given, and notes which thread ran it.
    struct Links {
        watch: Arc<Watch>,
        inbox: Arc<Inbox>,
        runners: Arc<Mutex<Vec<ThreadId>>>,
        peer: UnboundedSender<u64>,
        keeper: JoinHandle<()>,
    }

    fn links(pace: Pace) -> Links {
        let watch = Arc::new(Watch { runtime: runtime(PartyId::P0).unwrap(), duty: Arc::new(Duty::new(pace)) });
        let (inbox, runners) = (Arc::new(Inbox::default()), Arc::new(Mutex::new(Vec::new())));
        let (peer, mut given) = unbounded_channel();
        let (fills, notes, duty) = (inbox.clone(), runners.clone(), watch.duty().clone());
        watch.runtime().spawn(async move {
            while let Some(word) = given.recv().await {
                notes.lock().push(thread::current().id());
                let words = Payload::new(vec![word]).into();
                fills.push(Incoming { tag: Tag { position: 0, kind: 0 }, rounds: 0, words, ready: None });
                duty.served();
            }
        });
        let keeper = watch.keep(PartyId::P0).unwrap();
        Links { watch, inbox, runners, peer, keeper }
    }

    fn next(watch: &Watch, inbox: &Inbox) -> u64 {
        let deadline = Instant::now() + SOON;
        watch.wait(&mut |context| inbox.poll_stirs(context), deadline);
        inbox.pop(deadline).unwrap().words.into_host().unwrap()[0]
    }

    const PACES: [usize; 2] = [2, 64];

    #[test]
    fn a_receiver_that_waits_runs_the_tasks() {
        // The keeper runs them at first, and hands them over with the first message.
        let Links { watch, inbox, runners, peer, keeper } = links(Pace { left_alone: SOON, at_once: false });
        let taken = AtomicU64::new(0);
        let receiver = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                for word in 0..500 {
                    assert_eq!(next(&watch, &inbox), word);
                    taken.store(word + 1, Ordering::Release);
                }
                thread::current().id()
            });
            for word in 0..500 {
                let waits = || taken.load(Ordering::Acquire) == word && watch.duty.state.lock().waiting > 0;
                while !waits() && !receiver.is_finished() {
                    thread::yield_now();
                }
                peer.send(word).unwrap();
            }
            receiver.join().unwrap()
        });
        let others = runners.lock().iter().filter(|&&runner| runner != receiver).count();
        assert!(others < 50, "{others} of 500");
        watch.end();
        keeper.join().unwrap();
        assert!(watch.into_runtime().is_some());
    }

    #[test]
    fn the_keeper_runs_the_tasks_where_nobody_waits() {
        for cores in PACES {
            let Links { watch, inbox, runners, peer, keeper } = links(Pace::of(cores));
            // Before a receiver has waited, and after it.
            for word in 0..3 {
                peer.send(word).unwrap();
                watch.duty.given();
                let until = Instant::now() + SOON;
                while inbox.try_pop().is_none() {
                    assert!(Instant::now() < until, "{cores} cores: nobody runs the tasks");
                    thread::yield_now();
                }
                assert_eq!(runners.lock().pop(), Some(keeper.thread().id()), "{cores} cores");
                watch.wait(&mut |context| inbox.poll_stirs(context), Instant::now() + Duration::from_millis(1));
            }
            watch.end();
            keeper.join().unwrap();
        }
    }

    #[test]
    fn a_deadline_passes_although_nothing_comes() {
        for cores in PACES {
            let Links { watch, inbox, keeper, .. } = links(Pace::of(cores));
            let begin = Instant::now();
            watch.wait(&mut |context| inbox.poll_stirs(context), begin + Duration::from_millis(50));
            assert!(begin.elapsed() >= Duration::from_millis(50) && begin.elapsed() < SOON, "{:?}", begin.elapsed());
            watch.end();
            keeper.join().unwrap();
        }
    }
}
