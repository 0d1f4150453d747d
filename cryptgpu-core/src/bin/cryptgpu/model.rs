//! A network that a command line names: an ONNX file, or a network of the zoo with a file of weights.

use std::path::Path;

use cryptgpu_core::nn::{Graph, OnnxModel, WeightSource, Weights, zoo};

use super::Result;
use super::arguments::Sizes;

/// A network.
pub struct Model {
    pub graph: Graph,
    /// The file that it comes from, if it comes from one.
    pub onnx: Option<OnnxModel>,
    /// The notices that were printed.
    pub told: Vec<String>,
}

impl Model {
    /// The network of that name; a name that ends with `.onnx` is a file's, of which `output` may name the result.
    pub fn open(name: &str, output: Option<&str>, sizes: &Sizes) -> Result<Self> {
        if !OnnxModel::is_named_so(Path::new(name)) {
            if output.is_some() {
                return Err(format!("{name} has one output: --output-name is for ONNX files").into());
            }
            return Ok(Model { graph: zoo::by_name(&sizes.of(name))?, onnx: None, told: vec![] });
        }
        if !sizes.are_usual() {
            return Err(format!("{name} has its sizes in it: leave --classes and --input-size out").into());
        }
        let onnx = match output {
            Some(output) => OnnxModel::load_output(name, output)?,
            None => OnnxModel::load(name)?,
        };
        for notice in &onnx.notices {
            eprintln!("cryptgpu: {name}: {notice}");
        }
        Ok(Model { graph: onnx.graph.clone(), told: onnx.notices.clone(), onnx: Some(onnx) })
    }

    /// Where the party that owns the weights reads them, and the weights: those of the file `weights`, or of the ONNX file
    /// called `name`.
    pub fn weights(&mut self, name: &str, weights: Option<&str>) -> Result<(WeightSource, Weights)> {
        let source = match (&self.onnx, weights) {
            (Some(_), Some(_)) => return Err("an ONNX file has its weights in it: leave --weights out".into()),
            (Some(onnx), None) => return Ok((WeightSource::File(name.into()), onnx.weights.clone())),
            (None, Some("bundled")) => WeightSource::Bundled,
            (None, Some(path)) => WeightSource::File(path.into()),
            (None, None) if self.graph.name() == "lenet" => WeightSource::Bundled,
            (None, None) => {
                return Err(format!("{name} is a network without weights: name a file with --weights").into());
            }
        };
        let opened = source.open(&self.graph)?;
        for notice in opened.notices {
            eprintln!("cryptgpu: {source}: {notice}");
            self.told.push(notice);
        }
        Ok((source, opened.weights))
    }

    /// What it is, in a line: its sizes, and the digest of the file that it comes from.
    pub fn describe(&self) -> String {
        let (graph, counts) = (&self.graph, cryptgpu_core::nn::count::count(&self.graph));
        let sizes = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let digest = self.onnx.as_ref().map_or_else(String::new, |onnx| format!(", SHA-256 {}", onnx.digest));
        format!(
            "{}: {} to {}, {} parameters, {} multiply-accumulates and {} ReLUs an image{digest}",
            graph.name(),
            sizes(&graph.input_shape()),
            sizes(graph.output_shape()),
            super::format::count(counts.parameters),
            super::format::count(counts.macs),
            super::format::count(counts.relus),
        )
    }
}
