//! How a cluster, handles, runs and results show themselves. A handle shows what it is of and where it lives, never a
//! word of it.

use super::{
    Accuracy, Cluster, ClusterBuilder, Dataset, InferenceResult, Model, Revealed, Run, Shared, SharedBits,
    TrainedModel, TrainingRun,
};
use crate::cluster::wire::configuration::{Configuration, Places};
use crate::net::{Link, LinkType, PartyId};
use crate::show::{Cell, PlainTable, Show, bytes_text, duration_text, show_as_table};
use std::fmt::{self, Debug, Formatter};

/// Characters of an output that are shown; the caller has all of it.
const MAX_OUTPUT: usize = 400;

/// Images whose predictions are shown.
const MAX_IMAGES: usize = 60;

impl Cluster {
    /// A row for each party: where it runs, and what it computes on. Below, what all three have in common: links,
    /// randomness, settings.
    pub fn table(&self) -> PlainTable {
        let (pids, devices) = (self.pids(), self.devices());
        let places = &self.configuration().places;
        let title = match (pids.len(), places) {
            (0, _) => "A cluster without parties: the next run starts new ones".to_owned(),
            (_, Places::Memory) => "Three parties on threads of this process".to_owned(),
            (_, Places::Local) => "Three parties, each a process of its own".to_owned(),
            (_, Places::Owners(_)) => "Three parties of other owners".to_owned(),
            (_, Places::Rendezvous(_)) => "Three parties, each a task of a Slurm job".to_owned(),
            (_, Places::Ssh(_)) => "Three parties, each a process of its host, started over SSH".to_owned(),
        };
        let rows = pids.iter().zip(&devices).zip(PartyId::ALL).map(|((&pid, device), party)| -> [Cell; 3] {
            let process: Cell = match places {
                Places::Ssh(hosts) => format!("{pid} at {}", hosts.each[party.index()].destination).into(),
                _ => u64::from(pid).into(),
            };
            [party.to_string().into(), process, device.to_string().into()]
        });
        let Configuration { randomness, settings, .. } = self.configuration();
        let note = format!("{}, masks from {randomness}, {}.", self.links(), settings.text());
        PlainTable::new(["party", "process", "device"]).titled(title).rows(rows).note(note)
    }

    /// Where its parties are, as records say it.
    pub fn place(&self) -> &'static str {
        place_of(&self.configuration().places, self.configuration().links)
    }

    /// What the parties' messages travel by.
    fn links(&self) -> String {
        let Configuration { links, link, .. } = *self.configuration();
        let links = match (self.configuration().in_memory(), links) {
            (true, _) => "Links in memory",
            (_, LinkType::Tls) => "Links with TLS",
            (_, LinkType::Shared) => "Links by shared memory, unencrypted",
            (_, LinkType::InsecurePlaintext) => "Links without TLS",
        };
        match link {
            Link::None => links.to_owned(),
            link => format!("{links} that imitate {link}"),
        }
    }

    /// What became of its parties, in a few words.
    fn state(&self) -> String {
        let pids = self.pids();
        match &self.configuration().places {
            _ if pids.is_empty() => "no parties until the next run".to_owned(),
            Places::Memory => "three threads of this process".to_owned(),
            Places::Local => format!("processes {pids:?}"),
            Places::Rendezvous(place) => format!("tasks that met in {}", place.folder.display()),
            Places::Owners(owners) => format!("owners {:?}", owners.parties.each_ref().map(|party| &party.name)),
            Places::Ssh(hosts) => format!("hosts {:?}", hosts.each.each_ref().map(|host| &host.destination)),
        }
    }
}

impl ClusterBuilder {
    /// Where its parties will be, as records say it.
    pub(crate) fn place(&self) -> &'static str {
        place_of(self.places(), self.chosen_links())
    }

    /// Those of its parties that run on this machine, whose memory and files are this one's. Of a job's tasks one is here for certain;
    /// what hosts and other owners have is for them to say.
    pub(crate) fn here(&self) -> &'static [PartyId] {
        match self.places() {
            Places::Memory | Places::Local => &PartyId::ALL,
            Places::Rendezvous(_) => &[PartyId::P0],
            Places::Ssh(_) | Places::Owners(_) => &[],
        }
    }
}

fn place_of(places: &Places, links: LinkType) -> &'static str {
    let plaintext = links == LinkType::InsecurePlaintext;
    match places {
        Places::Memory => "threads of one process",
        Places::Local if links == LinkType::Shared => "local processes, shared memory, unencrypted",
        Places::Local if plaintext => "local processes, TCP, unencrypted",
        Places::Ssh(_) if plaintext => "three hosts over SSH, TCP, unencrypted",
        Places::Rendezvous(_) if plaintext => "three tasks of a Slurm job, TCP, unencrypted",
        Places::Local => "local processes, TLS",
        Places::Ssh(_) => "three hosts over SSH, TLS",
        Places::Rendezvous(_) => "three tasks of a Slurm job, TLS",
        Places::Owners(_) => "three owners, TLS",
    }
}

/// One line: `Cluster(processes [4711, 4712, 4713], generation 1)`.
impl Debug for Cluster {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({}, generation {})", self.state(), self.generation())
    }
}

/// One line: `Run(Shared[2], 3.1 ms, 3 rounds, 224 B)`. The output is cut where it is long; `outputs` has all of it.
impl<T: Debug> Debug for Run<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (took, bytes) = (duration_text(self.duration), bytes_text(self.bytes()));
        write!(f, "Run({}, {took}, {} rounds, {bytes})", self.output_text(), self.rounds())
    }
}

/// One line: `InferenceResult([7], 31 ms, 53 rounds, 1.2 MB)`, the classes first.
impl Debug for InferenceResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (took, bytes) = (duration_text(self.duration), bytes_text(self.bytes()));
        write!(f, "InferenceResult([{}], {took}, {} rounds, {bytes})", self.classes(), self.rounds())
    }
}

impl InferenceResult {
    /// What it took, by kind of operation.
    pub fn table(&self) -> PlainTable {
        let whole = self.duration.as_secs_f64();
        let rows = self.time_by_kind.iter().map(|(kind, seconds)| -> [Cell; 3] {
            let part = (whole > 0.0).then(|| 100.0 * seconds / whole);
            [kind.into(), (1e3 * seconds).into(), part.into()]
        });
        let (took, bytes) = (duration_text(self.duration), bytes_text(self.bytes()));
        PlainTable::new(["operation", "ms", "% of time"])
            .titled(format!("Predictions: {}", self.classes()))
            .rows(rows)
            .note(format!("{took}, {bytes} by all parties, {} rounds. `scores` holds the scores.", self.rounds()))
    }

    /// The classes of the first images.
    fn classes(&self) -> String {
        let predictions = self.predictions();
        let first: Vec<String> = predictions.iter().take(MAX_IMAGES).map(usize::to_string).collect();
        first.join(", ") + if predictions.len() > MAX_IMAGES { " …" } else { "" }
    }
}

impl<T: Debug> Run<T> {
    /// The output, and what the run took at each party.
    pub fn table(&self) -> PlainTable {
        let rows = self.usage.iter().zip(PartyId::ALL).map(|(usage, party)| -> [Cell; 5] {
            let stats = &usage.stats;
            [
                party.to_string().into(),
                stats.messages().into(),
                stats.payload_bytes().into(),
                (1e3 * usage.duration.as_secs_f64()).into(),
                (1e-6 * stats.wait_nanos as f64).into(),
            ]
        });
        let took = duration_text(self.duration);
        PlainTable::new(["party", "messages sent", "bytes sent", "ms", "of it waiting"])
            .titled(format!("Output: {}", self.output_text()))
            .rows(rows)
            .note(format!(
                "{took} as seen from here, {} between the parties, {} rounds. `trace()` has the steps.",
                bytes_text(self.bytes()),
                self.rounds()
            ))
    }

    /// The output, of all parties where they differ, no longer than a few lines.
    fn output_text(&self) -> String {
        let of = self.outputs.each_ref().map(|output| format!("{output:?}"));
        let text = if of[0] == of[1] && of[1] == of[2] { of[0].clone() } else { of.join(" | ") };
        match text.char_indices().nth(MAX_OUTPUT) {
            Some((end, _)) => format!("{} …", &text[..end]),
            None => text,
        }
    }
}

impl<T: Debug> Show for Run<T> {
    fn text(&self) -> String {
        self.table().text()
    }

    fn html(&self) -> String {
        self.table().html()
    }
}

show_as_table!(Cluster, InferenceResult, TrainingRun);

impl Show for Model {
    fn text(&self) -> String {
        format!("{}; its weights are shared among the parties", self.graph().summary())
    }
}

impl Show for Shared {
    fn text(&self) -> String {
        format!("a share of shape {:?}, at the parties", self.shape())
    }
}

impl Show for SharedBits {
    fn text(&self) -> String {
        format!("shared bits of shape {:?}, at the parties", self.shape())
    }
}

impl Show for Revealed {
    fn text(&self) -> String {
        format!("a tensor of shape {:?} that one party knows", self.shape())
    }
}

/// One line: `TrainingRun(lenet, 938 iterations, 412 s, 101 GB, loss 0.031)`.
impl Debug for TrainingRun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "TrainingRun({}, {})", self.model().graph().name(), self.summary())
    }
}

impl Debug for TrainedModel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "TrainedModel({})", self.graph().name())
    }
}

impl TrainingRun {
    fn summary(&self) -> String {
        let (took, bytes) = (duration_text(self.duration()), bytes_text(self.bytes()));
        let loss = self.curve().last().map(|point| format!(", loss {:.3}", point.loss)).unwrap_or_default();
        let percent = |accuracy: f64| format!(", accuracy {:.2} %", 100.0 * accuracy);
        let accuracy = self.accuracies().last().map(|point| percent(point.accuracy)).unwrap_or_default();
        format!("{} iterations, {took}, {bytes}{loss}{accuracy}", self.iterations().len())
    }

    /// What an iteration takes, by layer and pass. Below, what the run took, and the last loss that was revealed.
    pub fn table(&self) -> PlainTable {
        let rows = self.steps().into_iter().map(|step| -> [Cell; 5] {
            [step.layer.into(), step.pass.into(), step.kind.into(), (1e3 * step.seconds).into(), step.bytes.into()]
        });
        PlainTable::new(["layer", "pass", "operation", "ms", "bytes"])
            .titled(format!("Training of {}", self.model().graph().name()))
            .rows(rows)
            .note(format!("{}. The rows are of one iteration. `curve()` has the losses.", self.summary()))
    }
}

impl Show for TrainedModel {
    fn text(&self) -> String {
        format!("{}; trained, its weights are shared among the parties", self.graph().summary())
    }
}

impl Show for Dataset {
    fn text(&self) -> String {
        format!("{}: {} examples of shape {:?}, {}", self.name(), self.len(), self.shape(), self.owners())
    }
}

impl Show for Accuracy {
    fn text(&self) -> String {
        format!("{:.2} %: {} of {} examples", 100.0 * self.fraction(), self.right, self.examples)
    }
}
