//! Getting a party ready, and running one job after the other in it: the same for a process and for a thread.

use super::context::PartyContext;
use super::jobs::Jobs;
use super::own_process::{peak_rss, reset_peak_rss, resident};
use crate::cluster::wire::error::{Failure, FailureKind};
use crate::cluster::wire::frame::{self, Outbox};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::mark::mark;
use crate::cluster::wire::message::{Event, Usage, Vital};
use crate::cluster::wire::trace::PartyTrace;
use crate::device::DeviceInUse;
use crate::device::spare::end_job;
use crate::mpc::{Party, Settings, agree_on_keys};
use crate::net::{GaveUp, NetError, Network};
use crate::prg::{Correlated, Randomness};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a party says that it is alive.
pub(in crate::cluster) fn heartbeat(deadline: Duration) -> Duration {
    (deadline / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

pub(in crate::cluster) fn tell(outbox: &Outbox, event: &Event) {
    // These types always encode; if one did not, the controller would notice the silence.
    if let Err(error) = outbox.tell(event) {
        eprintln!("cannot encode {event:?}: {error}");
    }
}

/// How a party with these links does.
pub(in crate::cluster) fn vital(network: &dyn Network) -> Vital {
    let endpoint = network.endpoint();
    let (wait, stats, waited) = (endpoint.wait_state(), endpoint.stats(), endpoint.waited());
    Vital { wait, stats, waited, resident_bytes: resident() }
}

/// A party's links, and whether they lead to threads of the same process.
pub(in crate::cluster) struct Links {
    pub(in crate::cluster) network: Arc<dyn Network>,
    pub(in crate::cluster) in_memory: bool,
}

/// Agrees on keys and says that the party is ready.
pub(in crate::cluster) fn prepare(
    links: Links,
    randomness: Randomness,
    settings: Settings,
    device: DeviceInUse,
    outbox: &Outbox,
) -> Result<PartyContext, NetError> {
    let keys = agree_on_keys(links.network.as_ref())?;
    let correlated = Correlated::new(randomness, &keys);
    let party = Party::new(links.network.clone(), correlated, settings, device.device);
    tell(outbox, &Event::Ready { device });
    Ok(PartyContext::new(party, links.network, links.in_memory, outbox.clone()))
}

/// Runs a job and posts how it ended.
pub(in crate::cluster) fn execute(
    context: &mut PartyContext,
    outbox: &Outbox,
    jobs: &Jobs,
    run: u64,
    job: &str,
    body: &[u8],
) {
    context.begin(run);
    reset_peak_rss();
    // The timeline of this job begins here.
    drop(context.network().endpoint().take_timeline());
    let (before, start) = (context.network().endpoint().stats(), Instant::now());
    let attempted = catch_unwind(AssertUnwindSafe(|| attempt(context, jobs, run, job, body)));
    if !context.in_memory() && !context.is_guarded() {
        mark(run);
    }
    end_job();
    let (reason, failure) = match attempted {
        Ok(Ok(frame)) => {
            let stats = context.network().endpoint().stats().since(&before);
            let (duration, held_bytes) = (start.elapsed(), context.store().bytes());
            let usage = Box::new(Usage { stats, duration, peak_rss_bytes: peak_rss(), held_bytes });
            let (timeline, claims) = (context.network().endpoint().take_timeline(), context.party().take_claims());
            let (state, trace) =
                (Box::new(context.network().endpoint().wait_state()), Box::new(PartyTrace { timeline, claims }));
            let position = context.party().position();
            context.ended(job, None);
            tell(outbox, &Event::Used { run, usage, state, trace, position });
            return outbox.post(frame);
        }
        Ok(Err(error)) => (context.gave_up(&error), context.failure(&error)),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            let (step, message) = (context.party().current_step(), format!("panicked: {text}"));
            (GaveUp::Panicked, Failure { kind: FailureKind::Panic, step, message, peer: None })
        }
    };
    context.ended(job, Some(reason));
    // The message is for the caller; the peers hear a word.
    context.network().abort(reason);
    tell(outbox, &Event::Failed { run, failure });
}

/// The frame with the job's output.
fn attempt(context: &mut PartyContext, jobs: &Jobs, run: u64, job: &str, body: &[u8]) -> Result<Vec<u8>, JobError> {
    let mut frame = frame::encode_header(&Event::Done { run }).map_err(|error| JobError::Other(error.to_string()))?;
    context.admit_name(job)?;
    (jobs.find(job)?.run)(body, context, &mut frame)?;
    context.party().check_range()?;
    Ok(frame)
}
