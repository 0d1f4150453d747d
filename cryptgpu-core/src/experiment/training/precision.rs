//! How many fraction bits training needs: one training in the clear for each number of bits, way to cut and ring, all from the
//! same weights and on the same minibatches. The arithmetic is simulated; no protocol runs here.

use std::fmt;
use std::str::FromStr;

use super::plaintext::engine_name;
use super::record::{PLAINTEXT, TrainingRecord};
use super::{InF64, Training, TrainingStage, measure_plaintext};
use crate::experiment::ExperimentError;
use crate::nn::plaintext::{Arithmetic, Rounding};
use crate::nn::training::SUMMED_32;
use crate::ring::Ring;

/// Seed of the choices of cuts that make some.
const SEED: u64 = 1;
/// Products of more fraction bits have no place in f64's 53.
const MOST_FRACTION_BITS: u32 = 26;

/// How a simulated training cuts products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Up or down with probability equal to what is cut, as our protocols do.
    Unbiased,
    /// One unit less: the mean of a shift of two shares, which CryptGPU, CrypTen and Piranha make.
    Local,
    /// A plain shift.
    Floor,
}

impl Cutting {
    /// All of them.
    pub const ALL: [Self; 3] = [Cutting::Unbiased, Cutting::Local, Cutting::Floor];

    fn rounding(self, fraction_bits: u32) -> Rounding {
        match self {
            Cutting::Unbiased => Rounding::Stochastic { fraction_bits, seed: SEED },
            Cutting::Local => Rounding::Local { fraction_bits, seed: SEED },
            Cutting::Floor => Rounding::Floor { fraction_bits },
        }
    }
}

impl fmt::Display for Cutting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cutting::Unbiased => "unbiased",
            Cutting::Local => "local",
            Cutting::Floor => "floor",
        })
    }
}

impl FromStr for Cutting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|cutting| cutting.to_string() == text);
        known.ok_or_else(|| format!("`{text}` is no way to cut: unbiased, local or floor"))
    }
}

/// Where gradients are divided by the number of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// In the update of weights, with the learning rate, as our protocols do in the ring of 64 bits.
    Deferred,
    /// Where they begin, as released codes do.
    Early,
    /// Where they begin, but for a factor of so many, as ours do in the ring of 32 bits.
    Summing(usize),
}

impl Division {
    /// As private trainings do in a ring: deferred, or in that of 32 bits of the sum of 16 examples.
    pub fn usual(ring: Ring) -> Self {
        match ring {
            Ring::Z64 => Division::Deferred,
            Ring::Z32 => Division::Summing(SUMMED_32),
        }
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Division::Deferred => f.write_str("deferred"),
            Division::Early => f.write_str("early"),
            Division::Summing(examples) => examples.fmt(f),
        }
    }
}

impl FromStr for Division {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "deferred" => Ok(Division::Deferred),
            "early" => Ok(Division::Early),
            number => match number.parse() {
                Ok(examples @ 1..) => Ok(Division::Summing(examples)),
                _ => Err(format!("`{text}` is no place to divide gradients: deferred, early, or a number of examples")),
            },
        }
    }
}

/// A study: every way to cut with every number of fraction bits, and floating point to compare with.
///
/// ```
/// use cryptgpu_core::experiment::training::{Cutting, Division, Precision, Training};
/// use cryptgpu_core::ring::Ring;
///
/// let mut lenet = Training::of("lenet")?;
/// lenet.train.reveal.accuracy_every = Some(1);
/// let fraction_bits = vec![12, 16, 20];
/// let (cuttings, divisions) = (vec![Cutting::Unbiased, Cutting::Local], vec![Division::Deferred]);
/// let study = Precision { training: lenet, fraction_bits, cuttings, divisions, ring: Ring::Z64 };
/// let names: Vec<String> = study.runs()?.iter().map(ToString::to_string).collect();
/// assert_eq!((names.len(), names[1].as_str()), (7, "unbiased, deferred, 12 bits"));
/// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    /// What is trained, on what and how.
    pub training: Training,
    /// Numbers of fraction bits.
    pub fraction_bits: Vec<u32>,
    /// Ways to cut.
    pub cuttings: Vec<Cutting>,
    /// Where gradients are divided.
    pub divisions: Vec<Division>,
    /// The ring in which products stand before they are cut.
    pub ring: Ring,
}

impl Precision {
    /// The trainings of the study: floating point first, then by way to cut and fraction bits.
    ///
    /// # Errors
    /// [`Declaration`](ExperimentError::Declaration) for no or too many fraction bits, and as [`Training::validate`].
    pub fn runs(&self) -> Result<Vec<Simulation>, ExperimentError> {
        self.training.validate()?;
        if let Some(wrong) = self.fraction_bits.iter().find(|bits| !(1..=MOST_FRACTION_BITS).contains(bits)) {
            return Err(ExperimentError::Declaration {
                field: "fraction bits",
                value: wrong.to_string(),
                hint: format!(
                    "1 to {MOST_FRACTION_BITS} are simulated: products have twice as many, and f64 53 in all"
                ),
            });
        }
        let simulation = |arithmetic, name| Simulation { training: self.training.clone(), arithmetic, name };
        let mut runs = vec![simulation(Arithmetic::default(), "floating point".to_owned())];
        for cutting in &self.cuttings {
            for division in &self.divisions {
                runs.extend(self.fraction_bits.iter().map(|&bits| {
                    let arithmetic = Arithmetic::from(cutting.rounding(bits)).in_ring(self.ring);
                    let arithmetic = match *division {
                        Division::Deferred => arithmetic.summing_batches(),
                        Division::Early => arithmetic.summing(1),
                        Division::Summing(examples) => arithmetic.summing(examples),
                    };
                    simulation(arithmetic, format!("{cutting}, {division}, {bits} bits"))
                }));
            }
        }
        Ok(runs)
    }
}

/// One training of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    training: Training,
    arithmetic: Arithmetic,
    name: String,
}

/// `local, early, 20 bits`.
impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Simulation {
    /// What is trained.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// Whether a record is of this training: its accuracy depends on nothing else.
    pub fn is_of(&self, record: &TrainingRecord) -> bool {
        let (training, arithmetic) = (&self.training, &self.arithmetic);
        let weights = training.weights.as_ref().map_or_else(String::new, ToString::to_string);
        record.experiment == PLAINTEXT
            && (&record.network, &record.dataset) == (&training.network, &training.data.to_string())
            // Older records have the epochs that were asked for, and not those that the iterations took.
            && [&training.train, &training.recorded(record.examples)].contains(&&record.train)
            && (&record.engine, &record.weights) == (&engine_name(arithmetic), &weights)
            && record.fraction_bits == arithmetic.rounding.fraction_bits().unwrap_or_default()
            && record.ring == arithmetic.ring.unwrap_or_default()
    }

    /// Trains. A run whose loss is no number any more ends there, with a record that says so.
    ///
    /// # Errors
    /// As [`measure_plaintext`].
    pub fn measure(&self, observe: &mut dyn FnMut(TrainingStage<'_>)) -> Result<TrainingRecord, ExperimentError> {
        let begin = |graph: &_, weights: &_, train: &_| InF64::new(graph, weights, train, self.arithmetic);
        measure_plaintext(&self.training, begin, observe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::training::Examples;
    use cryptgpu_datasets::ImageSet;

    fn study() -> Precision {
        let mut training = Training { data: Examples::Set(ImageSet::DigitsTrain), ..Training::of("lenet").unwrap() };
        (training.train.batch, training.train.iterations) = (16, Some(12));
        training.train.reveal.loss_every = Some(1);
        let (cuttings, divisions) =
            (vec![Cutting::Unbiased, Cutting::Local], vec![Division::Deferred, Division::Early]);
        Precision { training, fraction_bits: vec![8, 20], cuttings, divisions, ring: Ring::Z32 }
    }

    #[test]
    fn the_bias_of_a_local_cut_decides_and_not_its_bits() {
        let runs = study().runs().unwrap();
        assert_eq!(runs.len(), 1 + 2 * 2 * 2);
        let run = |name: &str| {
            let run = runs.iter().find(|run| run.to_string() == name).unwrap();
            let record = run.measure(&mut |_| {}).unwrap();
            assert!(runs.iter().all(|other| other.is_of(&record) == (other == run)), "{name}");
            record
        };
        let last = |record: &TrainingRecord| record.losses.last().unwrap().1;
        let exact = last(&run("floating point"));
        let [unbiased, local] = ["unbiased, deferred, 8 bits", "local, early, 8 bits"].map(run);
        assert!((last(&unbiased) - exact).abs() < 0.3, "{} and {exact}", last(&unbiased));
        assert!(local.left_range.is_some() || last(&local) > exact + 0.5, "{} and {exact}", last(&local));
        let counts = unbiased.simulated.unwrap().counts;
        assert!(counts.values > 100_000 && counts.beyond == 0, "{counts:?}");
        assert_eq!((unbiased.ring, unbiased.fraction_bits, local.simulated.unwrap().summed), (Ring::Z32, 8, Some(1)));
        // At 20 bits no product of 1 has a place in 32.
        let wide = run("unbiased, deferred, 20 bits").simulated.unwrap();
        assert!(wide.counts.beyond > 0);
    }

    /// As ADR 0054 has gradients, whatever the batch.
    #[test]
    fn a_simulation_divides_gradients_as_a_private_training_of_its_ring() {
        let summed = |ring, batch| {
            let mut study =
                Precision { fraction_bits: vec![12], divisions: vec![Division::usual(ring)], ring, ..study() };
            study.training.train.batch = batch;
            let run = study.runs().unwrap().remove(1);
            (run.arithmetic.summed, run.to_string())
        };
        assert_eq!(summed(Ring::Z64, 128), (None, "unbiased, deferred, 12 bits".to_owned()));
        assert_eq!(summed(Ring::Z32, 128), (Some(16), "unbiased, 16, 12 bits".to_owned()));
        assert_eq!(Arithmetic::default().in_ring(Ring::Z32).summed, Some(16));
        // A private run of fewer examples sums those that it has.
        let last = |summed| {
            let mut study = Precision { fraction_bits: vec![12], divisions: vec![summed], ..study() };
            (study.training.train.batch, study.training.train.iterations) = (4, Some(3));
            study.runs().unwrap()[1].measure(&mut |_| {}).unwrap().losses
        };
        assert_eq!(last(Division::Summing(16)), last(Division::Summing(4)));
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        let of = |fraction_bits| Precision { fraction_bits, ..study() }.runs().map(|runs| runs.len());
        assert!(of(vec![12]).is_ok());
        assert!(of(vec![12, 40]).unwrap_err().to_string().contains("1 to 26"));
        assert!("floored".parse::<Cutting>().unwrap_err().contains("floor"));
        assert_eq!("8".parse(), Ok(Division::Summing(8)));
        assert!("0".parse::<Division>().is_err());
    }
}
