//! The graph and its weights, of layers: factors and shifts go into the products beside them, what nobody uses is left out,
//! and names become unique.

use super::super::{Graph, NnError, Op, Rearrange, Weights};
use super::error::OnnxError;
use super::layers::{Kind, Layer, Layers, by_channel};
use ndarray::{Array1, ArrayD, Axis};
use std::collections::HashMap;

/// The graph called `name` whose result is that of layer `output`, and its weights.
pub(super) fn build(name: &str, layers: Layers, output: usize, origin: &str) -> Result<(Graph, Weights), OnnxError> {
    let mut building = Building::new(layers, output);
    (0..building.layers.len()).for_each(|at| building.join_backwards(at));
    building.join_forwards();
    building.emit(name).map_err(|error| OnnxError::Interface { path: origin.into(), what: error.to_string() })
}

struct Building {
    layers: Vec<Layer>,
    output: usize,
    /// How many layers use each, and whether it is the output; 0 for what the output does not need.
    uses: Vec<usize>,
    /// What stands for each layer: itself, or the one that it has gone into.
    stands: Vec<usize>,
}

impl Building {
    fn new(Layers(layers): Layers, output: usize) -> Self {
        let mut uses = vec![0; layers.len()];
        uses[output] = 1;
        for at in (0..layers.len()).rev().filter(|&at| at <= output) {
            if uses[at] > 0 {
                layers[at].inputs.iter().for_each(|&input| uses[input] += 1);
            }
        }
        let stands = (0..layers.len()).collect();
        Building { layers, output, uses, stands }
    }

    /// A factor and shift that alone follows a product goes into it; one that follows another is joined with that; another
    /// one of an image becomes a convolution of one pixel by channel.
    fn join_backwards(&mut self, at: usize) {
        for input in 0..self.layers[at].inputs.len() {
            self.layers[at].inputs[input] = self.stands[self.layers[at].inputs[input]];
        }
        let (before, [layer, ..]) = self.layers.split_at_mut(at) else { return };
        if let (Kind::Bias(values), [input]) = (&layer.kind, &layer.inputs[..]) {
            let alone = self.uses[*input] == 1 && self.output != *input && self.uses[at] > 0;
            if let (Kind::Bias(first), true) = (&mut before[*input].kind, alone) {
                *first += values;
                let input = *input;
                self.goes_into(at, input);
            }
            return;
        }
        let (Kind::Affine { scale, shift }, [input]) = (&layer.kind, &layer.inputs[..]) else { return };
        let input = *input;
        if self.uses[at] == 0 {
            return;
        }
        let alone = self.uses[input] == 1 && self.output != input;
        match &mut before[input].kind {
            Kind::Product { op, weight, bias } if alone => {
                scale_outputs(op, weight, scale);
                let old = bias.take().unwrap_or_else(|| vec![0.0; scale.len()]);
                *bias =
                    Some(old.iter().zip(scale).zip(shift).map(|((old, scale), shift)| old * scale + shift).collect());
                self.goes_into(at, input);
            }
            Kind::Affine { scale: first, shift: then } if alone => {
                for (((first, then), scale), shift) in first.iter_mut().zip(then).zip(scale).zip(shift) {
                    (*first, *then) = (*first * scale, *then * scale + shift);
                }
                self.goes_into(at, input);
            }
            _ if layer.shape.len() == 3 => {
                let (op, weight) = by_channel(scale, false);
                layer.kind = Kind::Product { op, weight, bias: Some(shift.clone()) };
            }
            _ => {}
        }
    }

    /// Layer `at` is computed by `before`, which it alone uses.
    fn goes_into(&mut self, at: usize, before: usize) {
        self.stands[at] = before;
        self.uses[before] = self.uses[at];
        self.uses[at] = 0;
        if self.output == at {
            self.output = before;
        }
    }

    /// Factors and shifts of vectors go into the fully connected layers that use them, if these alone do.
    fn join_forwards(&mut self) {
        let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, layer) in self.layers.iter().enumerate().filter(|(at, _)| self.uses[*at] > 0) {
            for &input in layer.inputs.iter().filter(|&&input| matches!(self.layers[input].kind, Kind::Affine { .. })) {
                users.entry(input).or_default().push(at);
            }
        }
        for at in 0..self.layers.len() {
            if self.uses[at] == 0 {
                continue;
            }
            let Kind::Affine { scale, shift } = &self.layers[at].kind else { continue };
            let (scale, shift, input) = (Array1::from(scale.clone()), shift.clone(), self.layers[at].inputs[0]);
            let users = users.get(&at).map_or(&[][..], Vec::as_slice);
            let linear = |&user: &usize| matches!(self.layers[user].kind, Kind::Product { op: Op::Linear { .. }, .. });
            if self.output == at || !users.iter().all(linear) {
                continue;
            }
            for &user in users {
                let layer = &mut self.layers[user];
                layer.inputs = vec![input];
                if let Kind::Product { weight, bias, .. } = &mut layer.kind {
                    join_forward(weight, bias, &scale, &shift);
                }
            }
            self.uses[at] = 0;
        }
    }

    /// The graph of what the output needs.
    fn emit(self, name: &str) -> Result<(Graph, Weights), NnError> {
        let input = <[usize; 3]>::try_from(self.layers[0].shape.as_slice()).unwrap_or([0; 3]);
        let mut builder = Graph::builder(name, input);
        let (mut weights, mut ids) = (Weights::new(), vec![builder.input(); self.layers.len()]);
        let mut names = HashMap::from([("input".to_owned(), 1usize)]);
        for (at, layer) in self.layers.into_iter().enumerate().skip(1).filter(|(at, _)| self.uses[*at] > 0) {
            let name = unique(&mut names, layer.name);
            let inputs: Vec<_> = layer.inputs.iter().map(|&input| ids[input]).collect();
            let op = match layer.kind {
                Kind::Plain(op) => op,
                Kind::Bias(values) => {
                    weights.insert(format!("{name}.bias"), values);
                    Op::Bias
                }
                Kind::Product { op, weight, bias } => {
                    let has_bias = bias.is_some();
                    weights.insert(format!("{name}.weight"), weight);
                    if let Some(bias) = bias {
                        let bias = bias.into_iter().map(|value| value as f32);
                        weights.insert(format!("{name}.bias"), Array1::from_iter(bias).into_dyn());
                    }
                    match op {
                        Op::Conv2d { out_channels, window, groups, .. } => {
                            Op::Conv2d { out_channels, window, groups, bias: has_bias }
                        }
                        Op::ConvTranspose2d { out_channels, output, window, groups, .. } => {
                            Op::ConvTranspose2d { out_channels, output, window, groups, bias: has_bias }
                        }
                        Op::Linear { out_features, .. } => Op::Linear { out_features, bias: has_bias },
                        other => other,
                    }
                }
                // Of a vector: as an image of one pixel, and back. Of rows: as an image with a pixel for each.
                Kind::Affine { scale, shift } => {
                    let (op, weight) = by_channel(&scale, true);
                    weights.insert(format!("{name}.weight"), weight);
                    let bias = shift.iter().map(|&value| value as f32);
                    weights.insert(format!("{name}.bias"), Array1::from_iter(bias).into_dyn());
                    let pixel = unique(&mut names, format!("{name}.pixel"));
                    let scaled = unique(&mut names, format!("{name}.vector"));
                    let rows = if let [rows, _] = layer.shape[..] { rows } else { 1 };
                    let (mut input, turn) = (inputs[0], Op::Rearrange(Rearrange::Permute(vec![1, 0])));
                    if rows > 1 {
                        let turned = unique(&mut names, format!("{name}.turned"));
                        input = builder.add(&turned, turn.clone(), &[input])?;
                    }
                    let pixel = builder.add(&pixel, Op::Reshape { shape: vec![scale.len(), 1, rows] }, &[input])?;
                    let image = builder.add(&name, op, &[pixel])?;
                    if rows == 1 {
                        ids[at] = builder.add(&scaled, Op::Reshape { shape: layer.shape }, &[image])?;
                        continue;
                    }
                    let columns = unique(&mut names, format!("{name}.columns"));
                    let columns = builder.add(&columns, Op::Reshape { shape: vec![scale.len(), rows] }, &[image])?;
                    ids[at] = builder.add(&scaled, turn, &[columns])?;
                    continue;
                }
            };
            ids[at] = builder.add(&name, op, &inputs)?;
        }
        let graph = builder.finish(ids[self.output])?;
        weights.check(&graph)?;
        Ok((graph, weights))
    }
}

/// Multiplies the weights of each output channel or feature by its factor.
fn scale_outputs(op: &Op, weight: &mut ArrayD<f32>, scale: &[f64]) {
    let scaled = |filter: &mut ndarray::ArrayViewMutD<'_, f32>, scale: f64| {
        filter.mapv_inplace(|value| (f64::from(value) * scale) as f32);
    };
    if let Op::ConvTranspose2d { out_channels, groups, .. } = op {
        // Output channels are those of the second axis, group by group.
        let (each, inputs) = (out_channels / groups, weight.len_of(Axis(0)) / groups);
        for (input, mut filters) in weight.axis_iter_mut(Axis(0)).enumerate() {
            let own = &scale[input / inputs * each..][..each];
            filters.axis_iter_mut(Axis(0)).zip(own).for_each(|(mut filter, &scale)| scaled(&mut filter, scale));
        }
        return;
    }
    weight.axis_iter_mut(Axis(0)).zip(scale).for_each(|(mut filter, &scale)| scaled(&mut filter, scale));
}

/// W · (scale · x + shift) + b as (W · scale) · x + (b + W · shift).
fn join_forward(weight: &mut ArrayD<f32>, bias: &mut Option<Vec<f64>>, scale: &Array1<f64>, shift: &[f64]) {
    let mut joined = bias.take().unwrap_or_else(|| vec![0.0; weight.shape()[0]]);
    for (mut row, bias) in weight.axis_iter_mut(Axis(0)).zip(&mut joined) {
        *bias += row.iter().zip(shift).map(|(&weight, shift)| f64::from(weight) * shift).sum::<f64>();
        row.iter_mut().zip(scale).for_each(|(weight, scale)| *weight = (f64::from(*weight) * scale) as f32);
    }
    *bias = Some(joined);
}

/// A name that no layer has yet: the same, or with a number behind it.
fn unique(names: &mut HashMap<String, usize>, name: String) -> String {
    let mut candidate = name.clone();
    while names.contains_key(&candidate) {
        let count = names.entry(name.clone()).or_insert(0);
        *count += 1;
        candidate = format!("{name}_{count}");
    }
    names.insert(candidate.clone(), 1);
    candidate
}
