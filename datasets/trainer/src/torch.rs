//! PyTorch as an engine of the experiments in the clear: a program of its own (`engine.py`) that this one starts and talks
//! to by pipes, so that nothing is linked and a card needs no more than a PyTorch that knows it. A message is a line of
//! JSON and behind it the values of the tensors whose shapes it states. The program ends when its input does.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use cryptgpu_core::experiment::training::PlaintextEngine;
use cryptgpu_core::experiment::{ExperimentError, PlaintextBackend, PlaintextNetwork};
use cryptgpu_core::nn::training::{Optimizer, Sgd, Train};
use cryptgpu_core::nn::{Graph, Weights};
use ndarray::{Array2, Array4, ArrayD, IxDyn};
use serde::Deserialize;
use serde_json::{Value, json};

const PROGRAM: &str = include_str!("../engine.py");

/// How PyTorch is reached, and where it computes.
#[derive(Clone, Debug)]
pub struct Place {
    /// A Python that has PyTorch.
    pub python: PathBuf,
    /// As PyTorch calls it: `cpu`, `cuda:0`.
    pub device: String,
}

/// A network that PyTorch computes in single precision.
pub struct Torch {
    child: Child,
    /// None as soon as the program shall end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    place: Place,
    begun: Begun,
    classes: usize,
}

/// What the engine says of itself.
#[derive(Debug, Default, Deserialize)]
struct Begun {
    version: String,
    card: String,
    threads: usize,
}

/// An answer's line.
#[derive(Deserialize)]
struct Answer {
    shapes: Vec<Vec<usize>>,
    #[serde(default)]
    error: Option<String>,
    #[serde(flatten)]
    about: Value,
}

/// The most values that an answer's tensors may state: results of a batch are far below.
const MOST_VALUES: usize = 1 << 28;

impl Torch {
    /// The network in training.
    ///
    /// # Errors
    /// When Python or PyTorch is missing, or refuses the device or the network.
    pub fn training(place: &Place, graph: &Graph, weights: &Weights, train: &Train) -> Result<Self, ExperimentError> {
        let Optimizer::Sgd(sgd) = train.optimizer else {
            return Err(failed("only stochastic gradient descent is measured"));
        };
        let mut child = Command::new(&place.python)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("cannot start {}: {error}", place.python.display())))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("the program has no pipes"));
        };
        let answers = BufReader::new(answers);
        let (requests, begun, classes) = (Some(requests), Begun::default(), graph.output_shape().iter().product());
        let mut torch = Torch { child, requests, answers, place: place.clone(), begun, classes };
        torch.begin(graph, weights, train, &sgd)?;
        Ok(torch)
    }

    /// The network as it is.
    ///
    /// # Errors
    /// As [`Torch::training`].
    pub fn inference(place: &Place, graph: &Graph, weights: &Weights) -> Result<Self, ExperimentError> {
        Torch::training(place, graph, weights, &Train::default())
    }

    fn begin(&mut self, graph: &Graph, weights: &Weights, train: &Train, sgd: &Sgd) -> Result<(), ExperimentError> {
        let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
        let tensors = weights.iter().map(|(_, tensor)| (tensor.shape(), tensor.iter().copied().collect()));
        let train = json!({ "loss": train.loss, "frozen": train.frozen, "sgd": sgd });
        let about =
            json!({ "do": "begin", "device": self.place.device, "graph": graph, "weights": names, "train": train });
        let (about, _) = self.ask(about, tensors.collect())?;
        self.begun = serde_json::from_value(about).map_err(failed)?;
        Ok(())
    }

    /// Sends a request with its tensors and waits for the answer: what it says, and its tensors.
    fn ask(
        &mut self,
        mut about: Value,
        tensors: Vec<(&[usize], Vec<f32>)>,
    ) -> Result<(Value, Vec<ArrayD<f32>>), ExperimentError> {
        about["shapes"] = tensors.iter().map(|(shape, _)| *shape).collect();
        match self.send(&about, &tensors).and_then(|()| self.receive()) {
            Ok(Answer { error: Some(error), .. }) => Err(failed(error)),
            Ok(answer) => Ok((answer.about, self.tensors(&answer.shapes).map_err(failed)?)),
            // What it says on standard error, the user has read.
            Err(error) => Err(failed(format!(
                "{} ended or said what is no answer ({error}); does `{} -c 'import torch'` work? `pip install torch` brings it",
                self.place.python.display(),
                self.place.python.display()
            ))),
        }
    }

    fn send(&mut self, about: &Value, tensors: &[(&[usize], Vec<f32>)]) -> std::io::Result<()> {
        let Some(requests) = &mut self.requests else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        requests.write_all(format!("{about}\n").as_bytes())?;
        for (_, values) in tensors {
            requests.write_all(bytemuck::cast_slice(values))?;
        }
        requests.flush()
    }

    fn receive(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(std::io::Error::from)
    }

    fn tensors(&mut self, shapes: &[Vec<usize>]) -> std::io::Result<Vec<ArrayD<f32>>> {
        let one = |shape: &Vec<usize>| {
            let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
            let count = count.filter(|&count| count <= MOST_VALUES).ok_or(std::io::ErrorKind::InvalidData)?;
            let mut values = vec![0f32; count];
            self.answers.read_exact(bytemuck::cast_slice_mut(&mut values))?;
            ArrayD::from_shape_vec(IxDyn(shape), values).map_err(std::io::Error::other)
        };
        shapes.iter().map(one).collect()
    }

    /// Results of images, as rows of (count, classes).
    fn rows(&mut self, images: &[usize], pixels: Vec<f32>) -> Result<ArrayD<f32>, ExperimentError> {
        let (_, mut tensors) = self.ask(json!({ "do": "scores" }), vec![(images, pixels)])?;
        let expected = [images.first().copied().unwrap_or(0), self.classes];
        tensors.pop().filter(|rows| rows.shape() == expected).ok_or_else(|| failed("scores of another shape"))
    }
}

/// The program ends with its input.
impl Drop for Torch {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

fn failed(error: impl std::fmt::Display) -> ExperimentError {
    ExperimentError::Engine(format!("PyTorch: {error}"))
}

impl PlaintextBackend for Torch {
    fn name(&self) -> String {
        format!("PyTorch {}, f32", self.begun.version)
    }

    fn threads(&self) -> usize {
        self.begun.threads
    }

    fn device(&self) -> [String; 2] {
        [self.place.device.clone(), self.begun.card.clone()]
    }
}

impl PlaintextEngine for Torch {
    fn step(&mut self, images: &Array4<f32>, labels: &[usize], rate: f64) -> Result<f64, ExperimentError> {
        let mut targets = Array2::<f32>::zeros((labels.len(), self.classes));
        for (mut row, &label) in targets.outer_iter_mut().zip(labels) {
            if let Some(slot) = row.get_mut(label) {
                *slot = 1.0;
            }
        }
        let shape = targets.shape().to_vec();
        let tensors =
            vec![(images.shape(), images.iter().copied().collect()), (&shape[..], targets.into_raw_vec_and_offset().0)];
        let (about, _) = self.ask(json!({ "do": "step", "rate": rate }), tensors)?;
        let mean = about["loss"].as_f64().ok_or_else(|| failed("an iteration without a loss"))?;
        Ok(mean * labels.len() as f64)
    }

    fn right(&mut self, images: &Array4<f32>, labels: &[usize]) -> Result<usize, ExperimentError> {
        let rows = self.rows(images.shape(), images.iter().copied().collect())?;
        let is_right = |(scores, label): &(ndarray::ArrayViewD<'_, f32>, &usize)| {
            scores.get(**label).is_some_and(|own| scores.iter().all(|score| score <= own))
        };
        Ok(rows.outer_iter().zip(labels).filter(is_right).count())
    }
}

impl PlaintextNetwork for Torch {
    fn scores(&mut self, images: &ArrayD<f64>) -> Result<ArrayD<f64>, ExperimentError> {
        let rows = self.rows(images.shape(), images.iter().map(|&pixel| pixel as f32).collect())?;
        Ok(rows.mapv(f64::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptgpu_core::experiment::Inference;
    use cryptgpu_core::experiment::measure_inference_plaintext;
    use cryptgpu_core::experiment::training::{Examples, InF64, Training, measure_plaintext};
    use cryptgpu_core::nn::plaintext::{Rounding, evaluate};
    use cryptgpu_core::nn::zoo;
    use cryptgpu_datasets::ImageSet;
    use std::path::Path;

    /// A Python with PyTorch, which is too large to be installed for tests: `CRYPTGPU_TORCH_PYTHON` names one.
    fn place() -> Option<Place> {
        let python = std::env::var_os("CRYPTGPU_TORCH_PYTHON")?;
        Some(Place { python: python.into(), device: "cpu".into() })
    }

    /// `python3` with a stand-in for the `torch` that the engine imports, in a folder of its own.
    fn stand_in(torch: &str) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("torch/nn")).unwrap();
        std::fs::write(folder.path().join("torch/__init__.py"), torch).unwrap();
        std::fs::write(folder.path().join("torch/nn/__init__.py"), "functional = None").unwrap();
        let python = finding(folder.path(), Path::new("python3"));
        (folder, Place { python, device: "cuda:7".into() })
    }

    /// This Python, which looks for modules in this folder first.
    fn finding(folder: &Path, python: &Path) -> PathBuf {
        let wrapper = folder.join("python");
        let script = format!("#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n", folder.display(), python.display());
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        wrapper
    }

    fn begin(place: &Place) -> Result<Torch, ExperimentError> {
        let graph = zoo::by_name("lenet").unwrap();
        let weights = cryptgpu_core::nn::training::initial(&graph, 1, Default::default());
        Torch::inference(place, &graph, &weights)
    }

    fn refused(place: &Place) -> String {
        begin(place).err().expect("it must be refused").to_string()
    }

    #[test]
    fn what_is_missing_is_said() {
        let nowhere = Place { python: "/nowhere/python".into(), device: "cpu".into() };
        assert!(refused(&nowhere).contains("cannot start /nowhere/python"));
        let (_folder, place) = stand_in("raise ImportError('no torch here')");
        assert!(refused(&place).contains("pip install torch"), "{}", refused(&place));
    }

    /// The engine's own fault comes as an answer, and the program ends with its input.
    #[test]
    fn a_card_that_is_not_there_is_refused_in_the_engines_words() {
        let torch = "float32 = None\nclass Any:\n    def __getattr__(self, name): return Any()\n    \
             def __call__(self, *_, **__): return Any()\n    def reshape(self, shape): return self\n    type = 'cuda'\n\
             backends = Any()\nfrombuffer = zeros = device = Any()\n\
             class cuda:\n    is_available = staticmethod(lambda: False)\n";
        let (_folder, place) = stand_in(torch);
        assert!(refused(&place).contains("PyTorch finds no card"), "{}", refused(&place));
    }

    #[test]
    fn pytorch_computes_what_the_oracle_computes() {
        let Some(place) = place() else { return };
        for name in ["lenet", "resnet8-cifar10", "alexnet-cifar10"] {
            let graph = zoo::by_name(name).unwrap();
            let weights = cryptgpu_core::nn::training::initial(&graph, 3, Default::default());
            let [channels, height, width] = graph.input_shape();
            let pixel =
                |(i, c, y, x): (usize, usize, usize, usize)| ((i * 7 + c * 5 + y * 3 + x) % 11) as f64 / 5.0 - 1.0;
            let images = Array4::from_shape_fn((3, channels, height, width), pixel).into_dyn();
            let ours = evaluate(&graph, &weights, &images.view()).unwrap();
            let theirs = Torch::inference(&place, &graph, &weights).unwrap().scores(&images).unwrap();
            let largest = ours.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
            assert!((&ours - &theirs).iter().all(|difference| difference.abs() < 1e-4 * largest), "{name}");
        }
    }

    /// On the device `meta`, whose tensors have no values and must not meet those of a CPU: as on a card, everything that is
    /// computed with has to be there, and what is answered has to come back.
    #[test]
    fn everything_lies_where_the_engine_computes() {
        let Some(Place { python, .. }) = place() else { return };
        let folder = tempfile::tempdir().unwrap();
        let answers = "import torch\n\
             def item(tensor):\n    assert tensor.is_meta\n    return 0.5\n\
             def cpu(tensor):\n    assert tensor.is_meta\n    return torch.zeros(tensor.shape)\n\
             torch.Tensor.item, torch.Tensor.cpu = item, cpu\n";
        std::fs::write(folder.path().join("sitecustomize.py"), answers).unwrap();
        let place = Place { python: finding(folder.path(), &python), device: "meta".into() };
        for name in ["lenet", "resnet8-cifar10", "alexnet-cifar10"] {
            let graph = zoo::by_name(name).unwrap();
            let weights = cryptgpu_core::nn::training::initial(&graph, 3, Default::default());
            let train = Train { optimizer: Sgd::new(0.1).momentum(0.9), ..Default::default() };
            let mut torch = Torch::training(&place, &graph, &weights, &train).unwrap();
            let [channels, height, width] = graph.input_shape();
            let images = Array4::zeros((3, channels, height, width));
            let losses = [0.1, 0.05].map(|rate| torch.step(&images, &[0, 1, 2], rate).unwrap());
            assert_eq!((losses, torch.right(&images, &[0, 1, 2]).unwrap()), ([1.5; 2], 3), "{name}");
        }
    }

    #[test]
    fn pytorch_trains_as_the_cores_engine_does() {
        let Some(place) = place() else { return };
        for network in ["lenet", "resnet8-cifar10"] {
            let mut declaration = Training::of(network).unwrap();
            declaration.data = if network == "lenet" { Examples::Set(ImageSet::DigitsTrain) } else { Examples::Random };
            (declaration.train.batch, declaration.train.iterations) = (10, Some(3));
            let begin = |graph: &_, weights: &_, train: &_| Torch::training(&place, graph, weights, train);
            let torch = measure_plaintext(&declaration, begin, &mut |_| {}).unwrap();
            let begin = |graph: &_, weights: &_, train: &_| InF64::new(graph, weights, train, Rounding::Exact);
            let f64s = measure_plaintext(&declaration, begin, &mut |_| {}).unwrap();
            assert!(torch.losses.iter().zip(&f64s.losses).all(|(a, b)| (a.1 - b.1).abs() < 1e-3), "{torch:?} {f64s:?}");
            assert!(torch.engine.starts_with("PyTorch ") && torch.device == "cpu", "{torch:?}");
        }
        let lenet = Inference { batch: 20, iterations: 2, ..Inference::of("lenet").unwrap() };
        let begin = |graph: &_, weights: &_| Torch::inference(&place, graph, weights);
        let record = measure_inference_plaintext(&lenet, begin, &mut |_, _| {}).unwrap();
        assert!(record.accuracy.unwrap() > 0.95, "{record:?}");
    }
}
