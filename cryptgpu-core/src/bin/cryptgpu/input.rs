//! What a command line infers of: a NumPy array, or pictures, of which it says the likeliest classes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cryptgpu_core::nn::{NnError, is_batch_of, predictions};
use cryptgpu_datasets::folder::{self, ClassFolder};
use cryptgpu_datasets::npy;
use cryptgpu_datasets::pictures::{self, Preprocessing};
use ndarray::{ArrayD, Axis};

use super::Result;
use super::format;
use super::model::Model;

/// How many classes of a picture are shown.
const SHOWN: usize = 5;

/// What is inferred of, and what its classes are called.
#[derive(Debug, clap::Args)]
pub struct InputArguments {
    /// The inputs: a NumPy array (.npy) of float32, float64 or integers, scaled as the network was trained; or a picture (.png,
    /// .jpg), a folder of pictures, or a folder with one for each class, of which the accuracy is told
    #[arg(long)]
    input: PathBuf,
    /// What is made of pictures: imagenet, inception, efficientnet-lite, open-nsfw, cifar10, cifar100, mnist, fashion-mnist or
    /// unit, and what differs from it: imagenet,fit=stretch,channels=bgr,scale=255,mean=0.5:0.4:0.3,std=0.2
    #[arg(long)]
    preprocess: Option<String>,
    /// What classes are called: a text file, a line for each
    #[arg(long)]
    labels: Option<PathBuf>,
}

impl InputArguments {
    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.input
    }

    /// The names of classes.
    pub fn labels(&self) -> Result<Labels> {
        Labels::read(self.labels.as_deref())
    }

    /// The images, for this network.
    pub fn read(&self, model: &Model, labels: &Labels) -> Result<Input> {
        Input::read(&self.input, self.preprocess.as_deref(), model, labels)
    }
}

/// An array with the axes of images, where it has left out some of one element, as rows of features do.
fn with_axes(images: ArrayD<f64>, input: [usize; 3]) -> ArrayD<f64> {
    if !is_batch_of(images.shape(), input) {
        return images;
    }
    let shape = [&images.shape()[..1], &input].concat();
    images.to_shape(shape).map(|images| images.into_owned()).unwrap_or(images)
}

/// Images as the network takes them.
pub struct Input {
    /// [images, channels, height, width].
    pub images: ArrayD<f64>,
    /// The pictures' names; none of an array's.
    names: Vec<String>,
    /// The classes of pictures that lie in a folder for each.
    classes: Option<Vec<usize>>,
}

impl Input {
    /// The array in `path`, or the picture or the folder of pictures there with this preprocessing.
    fn read(path: &Path, preprocess: Option<&str>, model: &Model, labels: &Labels) -> Result<Self> {
        if pictures::is_named_so(path) || path.is_dir() {
            let Some(preprocess) = preprocess else {
                let known: Vec<_> = pictures::presets().collect();
                return Err(format!(
                    "pictures become arrays as the network's training made them, and no file says how: name it with \
                     --preprocess, one of {}",
                    known.join(", ")
                )
                .into());
            };
            return Self::of_pictures(path, &preprocess.parse()?, model, labels);
        }
        if preprocess.is_some() {
            let what = "is taken for a NumPy array, which is taken as it is: leave --preprocess out, or name pictures";
            return Err(format!("{} {what}", path.display()).into());
        }
        let images = npy::read(path)?;
        let images = match &model.onnx {
            Some(onnx) => onnx.arrange(&images)?,
            None => with_axes(images, model.graph.input_shape()),
        };
        Self { images, names: Vec::new(), classes: None }.checked(path, model)
    }

    fn of_pictures(path: &Path, preprocessing: &Preprocessing, model: &Model, labels: &Labels) -> Result<Self> {
        let (paths, classes) = match path.is_dir() && folder::has_classes(path) {
            true => {
                let listed = ClassFolder::list(path)?;
                let outputs = labels.outputs(&listed.classes)?;
                let of = |&label: &u8| outputs.get(usize::from(label)).copied().unwrap_or(usize::MAX);
                let classes = listed.labels.iter().map(of).collect();
                (listed.pictures, Some(classes))
            }
            false => (pictures::list(path)?, None),
        };
        let images = pictures::read(&paths, preprocessing, model.graph.input_shape())?.into_dyn();
        let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { images, names: paths.iter().map(name).collect(), classes }.checked(path, model)
    }

    fn checked(self, path: &Path, model: &Model) -> Result<Self> {
        if let Some(index) = self.images.iter().position(|value| !value.is_finite()) {
            return Err(format!("{} holds NaN or an infinity at flat index {index}", path.display()).into());
        }
        let expected = model.graph.input_shape();
        if self.images.ndim() != 4 || self.images.shape()[1..] != expected || self.images.is_empty() {
            let (graph, found) = (model.graph.name().to_owned(), self.images.shape().to_vec());
            return Err(NnError::Input { graph, expected, found }.into());
        }
        Ok(self)
    }

    /// How many pictures are of the class of their folder, from 0 to 1, where they lie so.
    pub fn accuracy(&self, scores: &ArrayD<f64>) -> Option<f64> {
        Some(self.rightly(scores)? as f64 / scores.len_of(Axis(0)).max(1) as f64)
    }

    fn rightly(&self, scores: &ArrayD<f64>) -> Option<usize> {
        let classes = self.classes.as_ref()?;
        Some(predictions(scores).into_iter().zip(classes).filter(|(found, class)| found == *class).count())
    }

    fn right(&self, scores: &ArrayD<f64>) -> Option<String> {
        let (right, count) = (self.rightly(scores)?, scores.len_of(Axis(0)));
        let percent = 100.0 * right as f64 / count.max(1) as f64;
        Some(format!("{right} of {count} pictures are of the class of their folder, {percent:.1} %."))
    }

    /// A line for each picture with its likeliest classes and their scores, and for pictures in a folder for each class how many
    /// are of that; empty where there are no pictures, or no classes.
    pub fn likeliest(&self, scores: &ArrayD<f64>, labels: &Labels) -> String {
        let mut text = String::new();
        if scores.ndim() != 2 {
            return text;
        }
        for (name, scores) in self.names.iter().zip(scores.axis_iter(Axis(0))) {
            let mut classes: Vec<(usize, f64)> = scores.iter().copied().enumerate().collect();
            classes.sort_by(|a, b| b.1.total_cmp(&a.1));
            let shown = classes
                .iter()
                .take(SHOWN)
                .map(|&(class, score)| format!("{} {}", labels.name(class), format::digits(score)));
            let _infallible = writeln!(text, "{name}: {}", shown.collect::<Vec<_>>().join(", "));
        }
        if let Some(right) = self.right(scores) {
            let _infallible = writeln!(text, "{right}");
        }
        text
    }
}

/// What classes are called.
pub struct Labels(Vec<String>);

impl Labels {
    /// The lines of a file, of the first class first.
    fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self(Vec::new())) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the names of classes in {}: {error}", path.display()))?;
        Ok(Self(text.lines().map(|line| line.trim().to_owned()).collect()))
    }

    /// Which outputs folders of these names are of: by the lines with their names, or in their order where there are none.
    fn outputs(&self, folders: &[String]) -> Result<Vec<usize>> {
        if self.0.is_empty() {
            return Ok((0..folders.len()).collect());
        }
        let output = |folder: &String| {
            let line = self.0.iter().position(|line| line == folder);
            line.ok_or_else(|| {
                format!("the folder {folder} has no line in the file of --labels, which names the classes").into()
            })
        };
        folders.iter().map(output).collect()
    }

    fn name(&self, class: usize) -> String {
        self.0.get(class).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| format!("class {class}"))
    }
}
