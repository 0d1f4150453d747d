//! Private inference as a declaration: which network, whose images, how often, over which links. All
//! three parties and the caller get the same declaration and find weights and images from it by
//! themselves, each only what its part allows.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use cryptgpu_datasets::{Collection, ImageReader, ImageSet, Split, bundled};
use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ExperimentError;
use super::parties::Wanted;
use crate::device::Devices;
use crate::mpc::{CheckRange, Fidelity, Settings, SignWindow};
use crate::net::{Link, PartyId};
use crate::nn::range::Conditions;
use crate::nn::{Graph, LowerOptions, NnError, WeightSource, Weights, fold, lower, window, zoo};
use crate::prg::{Aes128Ctr, Key, Randomness};
use crate::ring::Ring;

/// The party that brings the weights.
pub const WEIGHTS_OWNER: PartyId = PartyId::P1;
/// The party that brings the images.
pub const IMAGES_OWNER: PartyId = PartyId::P0;

/// Private inference of one network.
///
/// ```
/// use cryptgpu_core::experiment::Inference;
///
/// let lenet = Inference::of("lenet")?; // real digits, the bundled weights, five timed iterations
/// assert_eq!((lenet.batch, lenet.iterations), (1, 5));
/// assert!(Inference::of("resnet51").unwrap_err().to_string().contains("resnet50"));
/// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// The network, as [`zoo::names`] has them.
    pub network: String,
    /// The images.
    pub images: Images,
    /// The weights.
    pub weights: WeightSource,
    /// Images at a time.
    pub batch: usize,
    /// Timed iterations, each on the next batch of images; one more goes before and is not counted.
    pub iterations: usize,
    /// The links that the parties imitate.
    pub link: Link,
    /// Where the parties compute.
    pub device: Devices,
    /// Threads of each party; as many as its [`Parties`](super::Parties) say where none are named.
    #[serde(default)]
    pub threads: Option<usize>,
    /// Which truncation runs.
    pub fidelity: Fidelity,
    /// What the parties draw masks from; AES-128-CTR by default.
    #[serde(default)]
    pub randomness: Randomness,
    /// The ring that the parties compute in; that of 64 bits by default.
    #[serde(default)]
    pub ring: Ring,
    /// Fraction bits of the fixed-point codec.
    pub fraction_bits: u32,
    /// Bits that comparisons look at.
    pub window: SignWindow,
    /// Whether the parties find out that a value has left the range; off by default in the ring of 64 bits, and on in that of 32.
    #[serde(default)]
    pub check_range: CheckRange,
    /// Images, from the first on, whose results are compared with plaintext evaluation, which takes
    /// seconds an image for the large networks.
    pub compare: usize,
}

const CIFAR10: ImageSet = ImageSet::Downloaded(Collection::Cifar10, Split::Test);

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Images {
    /// A data set, or a file at the party that owns the images.
    Set(ImageSet),
    /// Uniform in ±1.73 (mean 0, variance 1, as normalised images have), from a seed, without labels.
    Random(u64),
}

/// A set of networks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// The networks that fit in about two minutes.
    Small,
    /// The ten networks of the paper.
    Full,
}

impl Suite {
    /// The networks, in the order of the paper's tables.
    pub fn networks(self) -> &'static [&'static str] {
        match self {
            Suite::Small => &zoo::PAPER[..8],
            Suite::Full => &zoo::PAPER,
        }
    }
}

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Images::Set(set) => set.fmt(f),
            // The seed that is used when none is asked for is not named.
            Images::Random(1) => f.write_str("random"),
            Images::Random(seed) => write!(f, "random, seed {seed}"),
        }
    }
}

impl Images {
    /// The data sets that a network is ordinarily measured on; none for networks that take random images.
    pub(super) fn usual_sets(network: &str) -> &'static [&'static str] {
        match zoo::by_name(network).map(|graph| graph.input_shape()) {
            Ok([1, 28, 28]) => &["mnist-test-1000", "mnist-test"],
            Ok([3, 32, 32]) => &["cifar10-test", "random"],
            _ => &["random"],
        }
    }
}

impl From<ImageSet> for Images {
    fn from(set: ImageSet) -> Self {
        Images::Set(set)
    }
}

impl FromStr for Images {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "random" => Ok(Images::Random(1)),
            name => name
                .parse()
                .map(Images::Set)
                .map_err(|error| format!("{error}, or random, or the path of a file or folder")),
        }
    }
}

impl Inference {
    /// One image at a time of `network`, five timed iterations. LeNet gets the bundled digits and its
    /// trained weights; the other CIFAR-sized networks real CIFAR-10 images if they are downloaded; all
    /// others random images. Weights are the bundled ones of LeNet and ResNet-8, and random for others, which changes neither
    /// time nor bytes.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for an unknown network, with the nearest names.
    pub fn of(network: &str) -> Result<Self, ExperimentError> {
        let graph = zoo::by_name(network)?;
        let images = match graph.input_shape() {
            [1, 28, 28] => Images::Set(ImageSet::MnistBundled),
            [3, 32, 32] if CIFAR10.is_there() => Images::Set(CIFAR10),
            _ => Images::Random(1),
        };
        let weights = WeightSource::usual(network);
        let small = crate::nn::count::count(&graph).macs < 1_000_000_000;
        Ok(Inference {
            network: network.to_owned(),
            images,
            weights,
            batch: 1,
            iterations: 5,
            link: Link::None,
            device: Devices::default(),
            threads: None,
            fidelity: Fidelity::Exact,
            randomness: Randomness::default(),
            ring: Ring::Z64,
            fraction_bits: crate::ring::DEFAULT_FRACTION_BITS,
            window: SignWindow::default(),
            check_range: CheckRange::usual(Ring::Z64),
            compare: if small { usize::MAX } else { 1 },
        })
    }

    /// The same in another ring, with its usual fraction bits and check of ranges.
    ///
    /// ```
    /// use cryptgpu_core::experiment::Inference;
    /// use cryptgpu_core::mpc::CheckRange;
    /// use cryptgpu_core::ring::Ring;
    ///
    /// let lenet = Inference::of("lenet")?.in_ring(Ring::Z32);
    /// assert_eq!((lenet.fraction_bits, lenet.check_range), (12, CheckRange::Run));
    /// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
    /// ```
    #[must_use]
    pub fn in_ring(self, ring: Ring) -> Self {
        let (fraction_bits, check_range) = (ring.default_fraction_bits(), CheckRange::usual(ring));
        Inference { ring, fraction_bits, check_range, ..self }
    }

    /// The network.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for an unknown one, with the nearest names.
    pub fn graph(&self) -> Result<Graph, ExperimentError> {
        Ok(zoo::by_name(&self.network)?)
    }

    /// How each party computes; where is for it to say.
    ///
    /// # Errors
    /// [`Declaration`](ExperimentError::Declaration) for fraction bits that leave no room.
    pub fn settings(&self) -> Result<Settings, ExperimentError> {
        super::window::settings(self.ring, self.fraction_bits, self.fidelity, self.window, self.check_range)
    }

    /// How the network is evaluated: as the paper's code does under [`Fidelity::Paper`].
    pub fn lowering(&self) -> LowerOptions {
        super::window::lowering(self.fidelity)
    }

    /// Under which conditions the network's values must fit the ring.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn conditions(&self) -> Result<Conditions, ExperimentError> {
        Ok(Conditions { options: self.lowering(), settings: self.settings()?, ..Conditions::default() })
    }

    /// Tests what can be tested before anything starts: network, counts, settings, a file of weights,
    /// that the images fit the network and are enough. Returns notices, a sentence each, of what was changed to make
    /// a file of weights fit the network.
    ///
    /// # Errors
    /// Which field cannot be used, and what can.
    pub fn validate(&self) -> Result<Vec<String>, ExperimentError> {
        let graph = self.graph()?;
        let plan = lower::lower(&fold::fold_graph(&graph)?, self.lowering(), self.ring)?;
        window::check_plan(&plan, &self.settings()?)?;
        check_count("batch", self.batch, MOST_IMAGES)?;
        check_count("iterations", self.iterations, MOST_ITERATIONS)?;
        if self.weights == WeightSource::Bundled && bundled::weights(&self.network).is_none() {
            let hint =
                "bundled weights are those of lenet and resnet8-cifar10; give a safetensors file, or random ones"
                    .to_owned();
            return Err(ExperimentError::Declaration { field: "weights", value: self.weights.to_string(), hint });
        }
        let notices = match self.weights {
            WeightSource::File(_) => self.weights.open(&graph)?.notices,
            WeightSource::Bundled | WeightSource::Random(_) => vec![],
        };
        self.open_images(&graph)?;
        Ok(notices)
    }

    /// What parties it wants.
    pub(super) fn wanted(&self) -> Result<Wanted, ExperimentError> {
        let (link, randomness, devices, settings) = (self.link, self.randomness, self.device, self.settings()?);
        Ok(Wanted { link, randomness, devices, settings, threads: self.threads })
    }

    /// SHA-256 of a file of weights, in hexadecimal digits; empty for other weights.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for a file that cannot be read.
    pub fn weights_digest(&self) -> Result<String, ExperimentError> {
        let WeightSource::File(file) = &self.weights else { return Ok(String::new()) };
        digest_of(file.path())
    }

    /// SHA-256 of a file of images, in hexadecimal digits; empty for other images.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for a file that cannot be read.
    pub fn images_digest(&self) -> Result<String, ExperimentError> {
        let Images::Set(ImageSet::File { images, .. }) = &self.images else { return Ok(String::new()) };
        digest_of(images)
    }

    /// The weights; only their owner and the caller's plaintext evaluation ask for them.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for a file that is missing or not the network's.
    pub fn load_weights(&self, graph: &Graph) -> Result<Weights, ExperimentError> {
        Ok(self.weights.load(graph)?)
    }

    /// Opens the images; only their owner and the caller's plaintext evaluation ask for them.
    ///
    /// # Errors
    /// [`Dataset`](ExperimentError::Dataset), or [`Declaration`](ExperimentError::Declaration) when they
    /// do not fit the network or are too few.
    pub fn open_images(&self, graph: &Graph) -> Result<ImageSource, ExperimentError> {
        let source = match &self.images {
            Images::Set(set) => ImageSource::Set(set.open()?),
            Images::Random(seed) => ImageSource::Random { seed: *seed, shape: graph.input_shape() },
        };
        if let ImageSource::Set(images) = &source {
            let refuse = |hint: String| {
                Err(ExperimentError::Declaration { field: "data set", value: self.images.to_string(), hint })
            };
            if images.shape() != graph.input_shape() {
                let (has, takes) = (images.shape(), graph.input_shape());
                return refuse(format!(
                    "its images have shape {has:?} and {} takes {takes:?}; use random",
                    self.network
                ));
            }
            // An image that is evaluated twice would count twice, in time and in accuracy.
            let (has, batch) = (images.len(), self.batch);
            match has / batch.max(1) {
                0 => return refuse(format!("it has {has} images, fewer than a batch of {batch}")),
                most if self.iterations > most => {
                    let wanted = self.iterations;
                    return refuse(format!(
                        "it has {has} images, enough for {most} iterations of {batch} and not for {wanted}; take fewer, \
                         or random images"
                    ));
                }
                _ => {}
            }
        }
        Ok(source)
    }
}

/// The most images at a time, and the most iterations: beyond are typing errors.
const MOST_IMAGES: usize = 1 << 24;
pub(super) const MOST_ITERATIONS: usize = 1 << 24;

/// Refuses a number that is not within 1 to `most`.
pub(super) fn check_count(field: &'static str, value: usize, most: usize) -> Result<(), ExperimentError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    let hint = match value {
        0 => "it must be at least 1".to_owned(),
        _ => format!("it must be at most {most}"),
    };
    Err(ExperimentError::Declaration { field, value: value.to_string(), hint })
}

/// SHA-256 of a file, in hexadecimal digits.
fn digest_of(path: &Path) -> Result<String, ExperimentError> {
    let failed = |source| NnError::Read { path: path.display().to_string(), source };
    let digest = Sha256::digest(std::fs::read(path).map_err(failed)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Images to take batches from.
#[derive(Debug)]
pub enum ImageSource {
    /// A data set.
    Set(ImageReader),
    /// Random ones without end.
    Random {
        /// The seed.
        seed: u64,
        /// Channels, height, width.
        shape: [usize; 3],
    },
}

impl ImageSource {
    /// Batch number `index` as a network takes it, [batch, channels, height, width].
    ///
    /// # Errors
    /// [`Dataset`](ExperimentError::Dataset) if a data set has too few images for that batch.
    pub fn batch(&self, index: usize, batch: usize) -> Result<ArrayD<f64>, ExperimentError> {
        match self {
            ImageSource::Set(images) => {
                let range = Self::range(index, batch);
                Ok(images.batch(range)?.mapv(f64::from).into_dyn())
            }
            ImageSource::Random { seed, shape } => {
                let count = batch * shape.iter().product::<usize>();
                let mut words = vec![0; count];
                let mut key = [0; 16];
                key[..8].copy_from_slice(&seed.to_le_bytes());
                Aes128Ctr::new(&Key::from_bytes(key)).fill(index as u64, 0, &mut words);
                // The upper 53 bits as a fraction in [0, 1), then to variance 1.
                let uniform = |word: u64| ((word >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * 3f64.sqrt();
                let values = words.into_iter().map(uniform);
                Ok(ArrayD::from_shape_fn(IxDyn(&[&[batch][..], shape].concat()), {
                    let mut values = values;
                    move |_| values.next().unwrap_or(0.0)
                }))
            }
        }
    }

    /// The labels of batch number `index`, if there are labels.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub fn labels(&self, index: usize, batch: usize) -> Result<Option<&[u8]>, ExperimentError> {
        match self {
            ImageSource::Set(images) => Ok(images.labels(Self::range(index, batch))?),
            ImageSource::Random { .. } => Ok(None),
        }
    }

    fn range(index: usize, batch: usize) -> std::ops::Range<usize> {
        index.saturating_mul(batch)..(index.saturating_add(1)).saturating_mul(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenet_is_declared_with_real_digits_and_its_trained_weights() {
        let lenet = Inference::of("lenet").unwrap();
        lenet.validate().unwrap();
        let graph = lenet.graph().unwrap();
        assert_eq!(lenet.load_weights(&graph).unwrap().len(), 8);
        let images = lenet.open_images(&graph).unwrap();
        assert_eq!(images.batch(3, 2).unwrap().shape(), [2, 1, 28, 28]);
        assert_eq!(images.labels(0, 10).unwrap().unwrap(), [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
        assert!(images.labels(1000, 1).is_err() && images.batch(4, 250).is_err(), "no image is evaluated twice");
    }

    #[test]
    fn random_images_are_the_same_for_everyone_and_of_variance_one() {
        let resnet = Inference::of("resnet50").unwrap();
        let images = resnet.open_images(&resnet.graph().unwrap()).unwrap();
        let first = images.batch(0, 1).unwrap();
        assert_eq!(first, images.batch(0, 1).unwrap());
        assert_ne!(first, images.batch(1, 1).unwrap());
        let mean = first.sum() / first.len() as f64;
        let variance = first.mapv(|x| (x - mean) * (x - mean)).sum() / first.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert_eq!(images.labels(0, 1).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_a_hint() {
        let lenet = Inference::of("lenet").unwrap();
        let refused = |change: &dyn Fn(&mut Inference)| {
            let mut changed = lenet.clone();
            change(&mut changed);
            changed.validate().unwrap_err().to_string()
        };
        assert!(refused(&|x| x.batch = 0).contains("batch 0"));
        assert!(refused(&|x| x.iterations = 0).contains("iterations 0"));
        assert!(refused(&|x| x.batch = 1001).contains("1000 images"));
        assert!(
            refused(&|x| (x.batch, x.iterations) = (250, 8))
                .contains("it has 1000 images, enough for 4 iterations of 250")
        );
        assert!(refused(&|x| x.batch = 1 << 62).contains("at most"));
        assert!(refused(&|x| x.iterations = usize::MAX).contains("at most"));
        assert!(refused(&|x| x.fraction_bits = 60).contains("fraction bits 60"));
        assert!(refused(&|x| x.fraction_bits = 30).contains("conv2: "), "its truncation takes 32 bits");
        assert!(refused(&|x| x.window = SignWindow::new(0, 16).unwrap()).contains("1.0 does not fit"));
        assert!(refused(&|x| x.window = SignWindow::new(32, 32).unwrap()).contains("begin the window"));
        assert!(refused(&|x| x.network = "vgg16-cifar10".into()).contains("those of lenet"));
        assert!(refused(&|x| x.network = "lenet6".into()).contains("lenet"));
        assert!(
            refused(&|x| {
                x.network = "resnet50".into();
                x.weights = WeightSource::Random(1);
            })
            .contains("use random")
        );
    }
}
