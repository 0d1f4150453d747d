//! Parties on three threads of this process, with links in memory. They run the same code as a party's process, and
//! the caller speaks to them in the same frames.

use super::mailbox::Mailbox;
use crate::cluster::party::execute::{self, Links};
use crate::cluster::party::jobs::Jobs;
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame::{self, Incoming, Outbox};
use crate::cluster::wire::message::{Command, Event};
use crate::device::DeviceChoice;
use crate::mpc::Settings;
use crate::net::{GaveUp, MemoryNetwork, Network, Options, PartyId, memory};
use crate::prg::Randomness;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// As much as the main thread of a process has.
const STACK_BYTES: usize = 8 << 20;

/// The threads' links, by which they are ended, and the thread that says that they are alive.
#[derive(Debug)]
pub(in crate::cluster) struct PartyThreads {
    links: Vec<Arc<MemoryNetwork>>,
    /// Its end ends the heartbeat.
    _heartbeat: std::sync::mpsc::Sender<()>,
}

impl PartyThreads {
    /// Starts three threads. They tell the mailbox when they are ready.
    pub(in crate::cluster) fn start(
        configuration: &Configuration,
        mailbox: &Mailbox,
    ) -> Result<(Self, Vec<Outbox>), ClusterError> {
        let options = Options { deadline: configuration.deadline, link: configuration.link, ..Options::default() };
        let links: Vec<_> =
            memory::trio_with(options, configuration.interceptor.clone()).into_iter().map(Arc::new).collect();
        let mut outboxes = Vec::new();
        for network in &links {
            let (sender, inbox) = channel();
            outboxes.push(Outbox::new(move |frame| drop(sender.send(frame))));
            let id = network.id();
            let thread = Thread {
                network: network.clone(),
                settings: configuration.settings,
                device: configuration.devices.0[id.index()],
                randomness: configuration.randomness,
                outbox: outbox(mailbox, id),
            };
            let mailbox = mailbox.clone();
            spawn(&format!("P{id}"), move || {
                thread.run(&inbox);
                mailbox.deliver(id, Err("its thread ended".to_owned()));
            })?;
        }
        let (heartbeat, end) = channel();
        let (pause, told) = (execute::heartbeat(configuration.deadline), PartyId::ALL.map(|id| outbox(mailbox, id)));
        let watched = links.clone();
        spawn("heartbeat", move || beat(&watched, &told, &end, pause))?;
        Ok((PartyThreads { links, _heartbeat: heartbeat }, outboxes))
    }
}

impl Drop for PartyThreads {
    fn drop(&mut self) {
        // A thread that computes is not ended by this, but at its next message.
        for network in &self.links {
            network.abort(GaveUp::Ended);
        }
    }
}

fn outbox(mailbox: &Mailbox, id: PartyId) -> Outbox {
    let mailbox = mailbox.clone();
    Outbox::new(move |frame| mailbox.deliver(id, Ok(Incoming::Frame(frame))))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), ClusterError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body);
    spawned.map(drop).map_err(|error| ClusterError::Controller {
        action: "start a party's thread".into(),
        detail: error.to_string(),
        hint: "Is the limit on threads reached?".into(),
    })
}

/// Says that the parties are alive until `end` is closed.
fn beat(links: &[Arc<MemoryNetwork>], outboxes: &[Outbox; 3], end: &Receiver<()>, pause: Duration) {
    while end.recv_timeout(pause).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout) {
        for (network, outbox) in links.iter().zip(outboxes) {
            execute::tell(outbox, &Event::Alive { state: Some(Box::new(execute::vital(network.as_ref()))) });
        }
    }
}

/// One party.
struct Thread {
    network: Arc<MemoryNetwork>,
    settings: Settings,
    device: DeviceChoice,
    randomness: Randomness,
    outbox: Outbox,
}

impl Thread {
    fn run(self, inbox: &Receiver<Vec<u8>>) {
        let unable = |detail: String| execute::tell(&self.outbox, &Event::Unable { detail });
        let device = match self.device.resolve(self.network.id().index()) {
            Ok(device) => device,
            Err(error) => return unable(error.to_string()),
        };
        let links = Links { network: self.network, in_memory: true };
        let mut context = match execute::prepare(links, self.randomness, self.settings, device, &self.outbox) {
            Ok(context) => context,
            Err(error) => return unable(error.to_string()),
        };
        let jobs = Jobs::default();
        while let Ok(frame) = inbox.recv() {
            let (command, body) = match frame::decode(&frame) {
                Ok(decoded) => decoded,
                Err(error) => return unable(error.to_string()),
            };
            match command {
                Command::Run { run, job } => {
                    execute::execute(&mut context, &self.outbox, &jobs, run, &job, &frame[body..])
                }
                Command::Free { ids } => context.free(&ids),
                Command::LinkUp { .. } | Command::Keep { .. } | Command::Alive => {}
                Command::Stop => return,
            }
        }
    }
}
