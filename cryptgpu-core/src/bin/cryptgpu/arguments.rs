//! Arguments that several experiments take, and what they mean: where the parties run, what they compute on, and
//! where records go.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use cryptgpu_core::cluster::rendezvous::{Attended, attend};
use cryptgpu_core::cluster::{Cluster, ClusterBuilder, Hosts, Rendezvous};
use cryptgpu_core::device::Devices;
use cryptgpu_core::experiment::{Images, WeightFile, WeightSource, append_line, check_writable};
use cryptgpu_core::mpc::cost::check_window;
use cryptgpu_core::mpc::{CheckRange, Fidelity, SignWindow};
use cryptgpu_core::net::{Link, LinkType};
use cryptgpu_core::nn::zoo;
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::{FixedPoint, Ring};
use cryptgpu_datasets::{ImageSet, pictures};

use super::Result;

/// Where the parties run.
#[derive(Debug, clap::Args)]
pub struct Parties {
    /// Where the parties run: local (three processes of this machine), threads (three of this program:
    /// nothing is private from it), or three hosts to reach over SSH, such as ann@h0,bob@h1,eve@h2
    #[arg(long = "parties", default_value = "local", value_parser = place)]
    place: Place,
    /// Run the parties on the three hosts that this file describes, over SSH (see docs/hosts.md)
    #[arg(long, value_name = "FILE", conflicts_with = "place")]
    cluster: Option<PathBuf>,
    /// Be one of the three tasks of a Slurm step (`srun --ntasks=3 cryptgpu run … --rendezvous DIR`), all with this
    /// command line: rank 0 runs the experiment and party 0, ranks 1 and 2 serve their parties until it ends. They find
    /// each other in this folder, which all nodes share (see docs/hosts.md)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["place", "cluster"])]
    rendezvous: Option<PathBuf>,
    #[command(flatten)]
    meeting: Meeting,
    /// What carries messages between parties in processes: tls; shared, memory that processes of one machine share,
    /// unencrypted; or insecure-plaintext, as tls without TLS
    #[arg(long, default_value_t)]
    link_type: LinkType,
    /// Threads that each party process computes on; one for each core by default
    #[arg(long, value_parser = threads)]
    threads: Option<usize>,
    /// Seconds that a party waits for another before the run ends with an error
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    /// Seconds in which a broken connection between parties may be made anew; less than the deadline. By default what the
    /// cluster file says, or 5
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    resume_within: Option<Duration>,
    /// Keep log files of the parties in this folder: jobs, steps, what they took, broken connections, errors
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
}

/// How the tasks of a job find each other.
#[derive(Debug, clap::Args)]
pub struct Meeting {
    /// Seconds in which the three tasks find each other
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, requires = "rendezvous")]
    rendezvous_within: Duration,
    /// The network interface of each node, such as ib0, over which the others reach its task; else the first that works
    #[arg(long, value_name = "NAME", requires = "rendezvous")]
    interface: Option<String>,
}

impl Meeting {
    pub fn at(&self, folder: &std::path::Path) -> Rendezvous {
        let place = Rendezvous::new(folder).within(self.rendezvous_within);
        self.interface.iter().fold(place, Rendezvous::interface)
    }
}

#[derive(Debug, Clone)]
enum Place {
    /// Three processes of this machine.
    Local,
    /// Three threads of this program.
    Threads,
    /// Three hosts, by what `ssh` calls them.
    Hosts([String; 3]),
}

fn place(text: &str) -> std::result::Result<Place, String> {
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    match (text, <[String; 3]>::try_from(hosts)) {
        ("local", _) => Ok(Place::Local),
        ("threads", _) => Ok(Place::Threads),
        (_, Ok(hosts)) => Ok(Place::Hosts(hosts)),
        _ => Err(format!(
            "`{text}` is no place for parties: use local, threads, or three hosts such as ann@h0,bob@h1,eve@h2"
        )),
    }
}

impl Parties {
    /// Lets the tasks of a job find each other, where this is one. True if this task has served its party to the end, and
    /// nothing is left for it to do.
    pub fn attend(&self) -> Result<bool> {
        match &self.rendezvous {
            Some(folder) => Ok(attend(&self.meeting.at(folder))? == Attended::Served),
            None => Ok(false),
        }
    }

    /// The parties, but for links, devices and randomness, which a declaration names.
    pub fn builder(&self) -> Result<ClusterBuilder> {
        let builder = match (&self.rendezvous, &self.cluster, &self.place) {
            (Some(folder), ..) => Cluster::rendezvous(self.meeting.at(folder)),
            (_, Some(file), _) => Cluster::hosts(Hosts::read(file)?),
            (.., Place::Local) => Cluster::local(),
            (.., Place::Threads) => Cluster::in_memory(),
            (.., Place::Hosts(hosts)) => Cluster::ssh(hosts.clone()),
        };
        let deadline = Duration::from_secs(self.deadline);
        if let Some(within) = self.resume_within.filter(|within| *within >= deadline) {
            return Err(format!(
                "--resume-within is {within:?}, not less than the deadline of {deadline:?} (--deadline)"
            )
            .into());
        }
        let builder = builder.deadline(deadline).links(self.link_type);
        let builder = self.resume_within.into_iter().fold(builder, ClusterBuilder::resume_within);
        let builder = self.logs.iter().fold(builder, ClusterBuilder::logs);
        let builder = self.threads.into_iter().fold(builder, |builder, threads| builder.threads(threads));
        // Processes run this very program, under whatever name it was started.
        Ok(std::env::current_exe().into_iter().fold(builder, |builder, program| builder.program(program)))
    }
}

/// What the parties compute with, and over which links.
#[derive(Debug, clap::Args)]
pub struct Computation {
    /// Links: none (as they are), lan (1.25 GB/s, 0.2 ms), wan (100 MB/s, 40 ms), or `MB/s:ms`
    #[arg(long, default_value = "none")]
    pub link: Link,
    /// Where the parties compute: cpu, auto (a card where there is one), cuda (cards in turn), cuda:N, or three of
    /// them by party, such as cuda:0,cpu,cpu
    #[arg(long, default_value_t)]
    pub device: Devices,
    /// Truncation: exact is never wrong by more than one unit, paper is what CryptGPU's code does
    #[arg(long, value_enum, default_value_t = FidelityName::Exact)]
    pub fidelity: FidelityName,
    /// What masks are drawn from: aes128-ctr, or insecure-philox, which is not cryptographic and protects nothing;
    /// it shows what the cipher costs
    #[arg(long, default_value_t)]
    pub randomness: Randomness,
    #[command(flatten)]
    pub numbers: Numbers,
    /// Bits that comparisons look at, `lowest:width`, width 8, 16, 32 or 64; fewer send less, and hold while
    /// the network's values stay below 2^(lowest + width − 1 − fraction bits)
    #[arg(long, value_parser = window)]
    window: Option<SignWindow>,
    /// Look for values beyond the range of the fixed-point numbers, open one bit that says whether there are any, and
    /// end the run with an error if so: one bit for each inference or iteration of a training, or with `=layers` one for
    /// each layer, so that the error names it. About 11 bytes for each truncated element, 5 in the ring of 32 bits, and some 20 rounds for
    /// each bit. Off by default in the ring of 64 bits; in that of 32 `run`, and `layers` in training
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "run")]
    check_range: Option<CheckRangeName>,
}

impl Computation {
    /// The bits that comparisons look at: all, where it is not said.
    ///
    /// # Errors
    /// For a window that the ring does not have, with one that it has.
    pub fn window(&self) -> Result<SignWindow> {
        window_of(self.window, self.numbers.ring())
    }

    /// Whether values beyond the range are looked for, where it is said.
    pub fn check_range(&self) -> Option<CheckRange> {
        self.check_range.map(CheckRange::from)
    }

    /// Whether they are looked for in an inference: as is usual in the ring, where it is not said.
    pub fn check_range_in_inference(&self) -> CheckRange {
        self.check_range().unwrap_or(CheckRange::usual(self.numbers.ring()))
    }
}

/// How reals are written in the ring.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Numbers {
    /// Bits of the ring's words: 64, or 32, at half of the bytes and less than half of the time, for values below 2^(30 − 2 ×
    /// fraction bits) where they are multiplied
    #[arg(long, default_value_t)]
    ring: RingName,
    /// Fraction bits of the fixed-point numbers; 20 by default, and 12 in the ring of 32 bits
    #[arg(long)]
    fraction_bits: Option<u32>,
}

impl Numbers {
    /// The ring.
    pub fn ring(&self) -> Ring {
        self.ring.0
    }

    /// The fraction bits of a number in it.
    pub fn fraction_bits(&self) -> u32 {
        self.fraction_bits.unwrap_or(FixedPoint::from(self.ring()).fraction_bits())
    }
}

/// `64` or `32`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RingName(pub Ring);

impl std::fmt::Display for RingName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.bits())
    }
}

impl std::str::FromStr for RingName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let all = [Ring::Z64, Ring::Z32].map(RingName);
        all.into_iter()
            .find(|ring| ring.to_string() == text)
            .ok_or_else(|| "the rings are those of 64 and of 32 bits".into())
    }
}

/// Where records go.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// Add the records to this file (JSON Lines)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write the records to standard output as JSON Lines, and nothing else
    #[arg(long)]
    pub json: bool,
}

impl Output {
    /// To a file alone.
    pub fn to(path: PathBuf) -> Self {
        Output { out: Some(path), json: false }
    }

    /// Refuses a file that cannot be written, before the work of which it is to hold the result.
    pub fn check(&self) -> Result<()> {
        Ok(self.out.iter().try_for_each(|path| check_writable(path))?)
    }

    /// Keeps a record, given as a line.
    pub fn write(&self, line: &str) -> Result<()> {
        if let Some(path) = &self.out {
            append_line(path, line)?;
        }
        if self.json {
            write!(std::io::stdout().lock(), "{line}")?;
        }
        Ok(())
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let hint = || format!("`{text}` is not a number of seconds");
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(hint)
}

fn threads(text: &str) -> std::result::Result<usize, String> {
    let hint = || format!("`{text}` is not a number of threads: use 1 to 1024");
    text.parse().ok().filter(|threads| (1..=1024).contains(threads)).ok_or_else(hint)
}

/// An item of a list, without the blanks that people put behind commas.
pub fn item<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> std::result::Result<T, String> {
    text.trim().parse().map_err(|error: T::Err| error.to_string())
}

/// The window that is asked for, which must be one of the ring, or all bits.
pub fn window_of(window: Option<SignWindow>, ring: Ring) -> Result<SignWindow> {
    if let Some(window) = window {
        check_window(ring, window).map_err(|why| format!("--window {}:{}: {why}", window.low(), window.width()))?;
    }
    Ok(window.unwrap_or_default())
}

/// The window of comparisons, `lowest:width`.
pub fn window(text: &str) -> std::result::Result<SignWindow, String> {
    let hint =
        || format!("`{text}` is not a window: use <lowest bit>:<width>, such as 0:32, with width 8, 16, 32 or 64");
    let (low, width) = text.split_once(':').ok_or_else(hint)?;
    SignWindow::new(low.parse().map_err(|_| hint())?, width.parse().map_err(|_| hint())?).ok_or_else(hint)
}

/// Which truncation runs, by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FidelityName {
    Exact,
    Paper,
}

/// Where the check of ranges opens its bits, by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CheckRangeName {
    Off,
    Run,
    Layers,
}

impl From<FidelityName> for Fidelity {
    fn from(name: FidelityName) -> Self {
        match name {
            FidelityName::Exact => Fidelity::Exact,
            FidelityName::Paper => Fidelity::Paper,
        }
    }
}

impl From<CheckRangeName> for CheckRange {
    fn from(name: CheckRangeName) -> Self {
        match name {
            CheckRangeName::Off => CheckRange::Off,
            CheckRangeName::Run => CheckRange::Run,
            CheckRangeName::Layers => CheckRange::Layers,
        }
    }
}

/// Other classes and images for the networks that are named.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Sizes {
    /// Number of classes of the networks, in place of those that they were published with
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Images that the networks take: channels, height and width, such as 3x96x96
    #[arg(long, value_name = "CxHxW", value_parser = zoo::parse_input)]
    input_size: Option<[usize; 3]>,
}

impl Sizes {
    /// The name of the network with these sizes.
    pub fn of(&self, network: &str) -> String {
        zoo::sized(network, self.classes, self.input_size)
    }

    /// Whether nothing is asked for.
    pub fn are_usual(&self) -> bool {
        self.classes.is_none() && self.input_size.is_none()
    }
}

/// A data set of one's own, beside those that have a name.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OwnData {
    /// The labels of a --dataset that is a file, where they are in a file of their own: IDX, or JSON
    #[arg(long, value_name = "FILE", requires = "dataset")]
    label_file: Option<PathBuf>,
    /// How a --dataset that is a file or a folder is scaled (`cryptgpu infer --help`); of a file sizes stay, and without this
    /// grey images are scaled as MNIST's and others as CIFAR-10's
    #[arg(long, requires = "dataset")]
    preprocess: Option<String>,
}

impl OwnData {
    /// The data set that `dataset` names, for networks that take images of this shape: a folder with a folder of pictures for
    /// each class, a file, or else what `named` makes of the name.
    pub fn open<T>(
        &self,
        dataset: &str,
        shape: [usize; 3],
        named: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> Result<T>
    where
        T: From<ImageSet>,
    {
        let path = PathBuf::from(dataset);
        if path.is_dir() {
            let Some(preprocessing) = self.preprocess.clone() else {
                let known: Vec<_> = pictures::presets().collect();
                return Err(format!(
                    "{dataset} is a folder of pictures: say with --preprocess how they are scaled, one of {}",
                    known.join(", ")
                )
                .into());
            };
            if self.label_file.is_some() {
                return Err(format!(
                    "{dataset} is a folder of pictures, whose folders are the classes: leave --label-file out"
                )
                .into());
            }
            return Ok(ImageSet::Folder { folder: path, shape, preprocessing }.into());
        }
        if path.is_file() {
            let (labels, preprocessing) = (self.label_file.clone(), self.preprocess.clone());
            return Ok(ImageSet::File { images: path, labels, preprocessing }.into());
        }
        if self.label_file.is_some() || self.preprocess.is_some() {
            return Err(
                format!("{dataset} is no file and no folder: --label-file and --preprocess are for those").into()
            );
        }
        Ok(named(dataset)?)
    }
}

/// The images and the weights of a network.
#[derive(Debug, clap::Args)]
pub struct Inputs {
    /// Images: mnist-test-1000 (bundled), mnist-test, fashion-mnist-test, emnist-letters-test and the like, cifar10-test,
    /// cifar100-test, random; a file (IDX, CIFAR's .bin); or a folder with a folder of pictures for each class. Else what fits
    /// the network
    #[arg(long)]
    dataset: Option<String>,
    #[command(flatten)]
    own: OwnData,
    /// Weights: bundled (of lenet and resnet8-cifar10), random, or a safetensors file; else bundled where they are, or random
    #[arg(long)]
    weights: Option<String>,
    /// Leave out tensors of the weights' file that the network does not have: counters, training state
    #[arg(long, requires = "weights")]
    ignore_extra: bool,
    /// Seed of random weights and images
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Inputs {
    /// What is asked for, or else what the network ordinarily has.
    pub fn choose(&self, shape: [usize; 3], images: Images, weights: WeightSource) -> Result<(Images, WeightSource)> {
        let asked = self.dataset.as_deref().map(|dataset| self.own.open(dataset, shape, str::parse::<Images>));
        let images = match asked.transpose()?.unwrap_or(images) {
            Images::Random(_) => Images::Random(self.seed),
            images => images,
        };
        let weights = match (self.weights.as_deref(), weights) {
            (Some("bundled"), _) => WeightSource::Bundled,
            (Some("random"), _) | (None, WeightSource::Random(_)) => WeightSource::Random(self.seed),
            (None, usual) => usual,
            (Some(path), _) if self.ignore_extra => WeightSource::File(WeightFile::new(path).ignoring_extra()),
            (Some(path), _) => WeightSource::File(path.into()),
        };
        Ok((images, weights))
    }
}
