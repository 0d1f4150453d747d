//! What an iteration of training does, step by step, before anything runs: the forward pass with what each step keeps, and
//! the backward pass with the gradients that each step makes. All of it follows from the graph and the settings, which are
//! public; no share and no weight enters here.

use super::settings::{Loss, Optimizer, Schedule, Train};
use crate::nn::lower::lower_for_training;
use crate::nn::plan::{PlanOp, Step, ValueId};
use crate::nn::{Graph, NnError, Plan, seen};
use crate::ring::Ring;
use std::collections::BTreeMap;

/// The steps of an iteration, in order: forward as in inference, but with batch normalisation in training mode, and
/// backward. What of a kernel only ever sees padding has no gradient and is left out, weight decay included.
///
/// ```
/// use cryptgpu_core::nn::training::{Train, TrainingPlan};
/// use cryptgpu_core::nn::zoo;
/// use cryptgpu_core::ring::Ring;
/// let plan = TrainingPlan::new(&zoo::by_name("lenet")?, &Train::default(), Ring::Z64)?;
/// let backward: Vec<&str> = plan.backward().iter().map(|step| plan.step(step).name.as_str()).collect();
/// assert_eq!((backward[0], backward[backward.len() - 1]), ("fc2", "conv1"));
/// assert!(!plan.backward().last().unwrap().inputs[0], "nobody needs the gradient of the images");
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPlan {
    forward: Plan,
    train: Train,
    tensors: Vec<TrainingTensor>,
    /// By step of the forward pass.
    layers: Vec<LayerTensors>,
    keeps: Vec<Keeps>,
    backward: Vec<BackwardStep>,
}

/// Examples of which the losses are summed in the ring of 32 bits ([`TrainingPlan::summed`]), and in a simulation of it.
pub(crate) const SUMMED_32: usize = 16;

/// A tensor of the network: a parameter, or a running statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingTensor {
    /// Name in PyTorch's `state_dict`.
    pub name: String,
    /// Its shape: of a convolution's weight that of the rows and columns which see an input.
    pub shape: Vec<usize>,
    /// The shape of the whole weight, where that is not all of it.
    pub whole: Option<Vec<usize>>,
    /// Whether the optimiser changes it: it is a parameter, and not frozen.
    pub trained: bool,
}

impl TrainingTensor {
    /// How many elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many elements a whole weight has besides.
    pub(super) fn unseen_elements(&self) -> usize {
        self.whole.as_ref().map_or(0, |shape| shape.iter().product::<usize>() - self.elements())
    }
}

/// The tensors of a step, by their position in [`TrainingPlan::tensors`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LayerTensors {
    pub weight: Option<usize>,
    pub bias: Option<usize>,
    pub running_mean: Option<usize>,
    pub running_var: Option<usize>,
    /// Whether weight and bias change.
    pub trained: bool,
}

/// What a step of the forward pass keeps for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// Its input, two words an element.
    Input,
    /// Two packed bits for each element of its result: where a ReLU or ReLU6 lets the gradient pass.
    Bits,
    /// Two packed bits for each pairwise maximum of a max-pool.
    Maxima,
    /// Of a batch normalisation: its input less the mean, and by channel the reciprocal of the deviation and the factor.
    Normalised,
}

/// A step of the backward pass: it takes the gradient of its step's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackwardStep {
    /// The step of the forward pass, by position.
    pub step: usize,
    /// For each input of that step, whether its gradient is made.
    pub inputs: Vec<bool>,
    /// Whether the gradient of its parameters is made.
    pub parameters: bool,
}

impl TrainingPlan {
    /// The plan for training `graph` in a ring.
    ///
    /// # Errors
    /// [`NnError::Settings`] for settings that cannot train, and where all weights are frozen or a frozen name is none of the
    /// network's; [`NnError::NoGradient`] for an operation of inference only; [`NnError::CannotLower`] for a network whose result does not fit the loss.
    pub fn new(graph: &Graph, train: &Train, ring: Ring) -> Result<Self, NnError> {
        check_settings(train)?;
        check_frozen(graph, train)?;
        graph.check_gradients()?;
        let (whole, graph) = (graph, &*seen::graph(graph)?);
        let forward = lower_for_training(graph, ring)?;
        if train.loss == Loss::CrossEntropy && forward.shape(forward.output()).len() != 1 {
            let node = graph.node(graph.output()).name.clone();
            let what = "cross-entropy takes a vector of logits for each image: flatten the result first".into();
            return Err(NnError::CannotLower { node, what });
        }
        let (tensors, layers) = tensors(whole, graph, &forward, train);
        if !tensors.iter().any(|tensor| tensor.trained) {
            let what = format!("`{}` has no weight that is not frozen: nothing is left to train", graph.name());
            return Err(NnError::Settings { what });
        }
        let needs = needs_gradient(&forward, &layers);
        let keeps = forward.steps().iter().zip(&layers).map(|(step, layer)| keeps(step, layer, &needs)).collect();
        let backward = backward(&forward, &layers, &needs);
        Ok(TrainingPlan { forward, train: train.clone(), tensors, layers, keeps, backward })
    }

    /// The steps of the forward pass.
    pub fn forward(&self) -> &Plan {
        &self.forward
    }

    /// The steps of the backward pass, in order.
    pub fn backward(&self) -> &[BackwardStep] {
        &self.backward
    }

    /// The step of the forward pass that a step of the backward pass belongs to.
    pub fn step(&self, step: &BackwardStep) -> &Step {
        &self.forward.steps()[step.step]
    }

    /// What each step of the forward pass keeps.
    pub fn keeps(&self) -> &[Keeps] {
        &self.keeps
    }

    /// Every tensor of the network, in node order.
    pub fn tensors(&self) -> &[TrainingTensor] {
        &self.tensors
    }

    /// How it is trained.
    pub fn train(&self) -> &Train {
        &self.train
    }

    /// The ring in which it is trained.
    pub fn ring(&self) -> Ring {
        self.forward.ring()
    }

    pub(super) fn layers(&self) -> &[LayerTensors] {
        &self.layers
    }

    /// The gradients of parameters, in the order in which the backward pass makes them: which tensor, and how many fraction
    /// bits it has more than a product.
    pub(super) fn gradients(&self) -> Vec<(usize, u32)> {
        let made = self.backward.iter().filter(|step| step.parameters);
        made.flat_map(|step| {
            let extra = extra_of(&self.step(step).op);
            let layer = &self.layers[step.step];
            [layer.weight, layer.bias].into_iter().flatten().map(move |tensor| (tensor, extra))
        })
        .collect()
    }

    /// What the gradients that flow are scaled to: the sum of the losses of so many examples. A batch has as many; in the ring of
    /// 32 bits, where that sum's gradients with respect to weights and their momentum leave the range, 16 at most. Bits that this
    /// takes from gradients come back in their mean, since truncations are unbiased.
    pub(super) fn summed(&self) -> f64 {
        match self.ring() {
            Ring::Z64 => self.train.batch as f64,
            Ring::Z32 => self.train.batch.min(SUMMED_32) as f64,
        }
    }

    /// The weights, by position, of convolutions and fully connected layers that the optimiser leaves as they are, with their steps.
    pub(super) fn still_weights(&self) -> impl Iterator<Item = (&Step, usize)> {
        let multiplies = |step: &Step| matches!(step.op, PlanOp::Conv2d { .. } | PlanOp::Linear { .. });
        let of_steps = self.forward.steps().iter().zip(&self.layers).filter(move |(step, _)| multiplies(step));
        let weights = of_steps.filter_map(|(step, layer)| Some((step, layer.weight?)));
        weights.filter(|&(_, index)| self.tensors.get(index).is_some_and(|tensor| !tensor.trained))
    }

    /// The batch normalisations, by step, that use their running statistics: those that are frozen, and in an evaluation
    /// all.
    pub(in crate::nn) fn normalised_by_running(&self, training: bool) -> Vec<usize> {
        let steps = self.forward.steps().iter().zip(&self.layers).enumerate();
        steps
            .filter(|(_, (step, layer))| matches!(step.op, PlanOp::BatchNorm2d { .. }) && !(training && layer.trained))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Bits by which products of a step stand higher than its result: those of the divisor that is pending on its input.
pub(super) fn extra_of(op: &PlanOp) -> u32 {
    match op {
        PlanOp::Conv2d { divisor, .. } | PlanOp::Linear { divisor, .. } => divisor.extra_bits(),
        _ => 0,
    }
}

fn check_settings(train: &Train) -> Result<(), NnError> {
    let part = |value: f64| (0.0..1.0).contains(&value);
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let wrong = match train.optimizer {
        _ if train.batch == 0 => Some("a batch needs at least one example".to_owned()),
        Optimizer::Sgd(sgd) if !positive(sgd.rate) => Some(format!("the rate is {}, and must be above 0", sgd.rate)),
        Optimizer::Sgd(sgd) if !part(sgd.momentum) => {
            Some(format!("the momentum is {}, and must be at least 0 and below 1", sgd.momentum))
        }
        optimizer if !(optimizer.decay().is_finite() && optimizer.decay() >= 0.0) => {
            Some(format!("the weight decay is {}, and must be at least 0", optimizer.decay()))
        }
        Optimizer::Sgd(sgd) if sgd.nesterov && sgd.momentum == 0.0 => {
            Some("Nesterov's momentum is 0: give one above 0, or plain descent".to_owned())
        }
        Optimizer::Adam(adam) if !positive(adam.rate) => {
            Some(format!("the rate is {}, and must be above 0", adam.rate))
        }
        Optimizer::Adam(adam) if !adam.betas.iter().all(|&beta| part(beta)) => {
            Some(format!("Adam's betas are {:?}, and must be at least 0 and below 1", adam.betas))
        }
        Optimizer::Adam(adam) if !positive(adam.eps) => {
            Some(format!("Adam's eps is {}, and must be above 0: a fixed-point moment can be 0", adam.eps))
        }
        _ => match train.schedule {
            Schedule::Steps { factor, .. } | Schedule::Milestones { factor, .. } if !positive(factor) => {
                Some(format!("the schedule's factor is {factor}, and must be above 0"))
            }
            _ => None,
        },
    };
    wrong.map_or(Ok(()), |what| Err(NnError::Settings { what: format!("training: {what}") }))
}

/// Refuses names of frozen nodes that the network does not have.
fn check_frozen(graph: &Graph, train: &Train) -> Result<(), NnError> {
    let parameters = graph.parameters();
    let nodes = || parameters.iter().map(|parameter| graph.node(parameter.node).name.as_str());
    for name in &train.frozen {
        let alone = Train { frozen: vec![name.clone()], ..Train::default() };
        if !nodes().any(|node| alone.freezes(node)) {
            let graph = graph.name();
            let what =
                format!("training: `{name}` is to be frozen, and no node of `{graph}` with weights is called so");
            return Err(NnError::Settings { what });
        }
    }
    Ok(())
}

fn tensors(whole: &Graph, graph: &Graph, forward: &Plan, train: &Train) -> (Vec<TrainingTensor>, Vec<LayerTensors>) {
    let has_tensors =
        |step: &Step| matches!(step.op, PlanOp::Conv2d { .. } | PlanOp::Linear { .. } | PlanOp::BatchNorm2d { .. });
    let by_name: BTreeMap<&str, usize> = forward
        .steps()
        .iter()
        .enumerate()
        .filter(|(_, step)| has_tensors(step))
        .map(|(index, step)| (step.name.as_str(), index))
        .collect();
    let mut layers = vec![LayerTensors::default(); forward.steps().len()];
    let mut tensors = vec![];
    for (parameter, whole) in graph.parameters().into_iter().zip(whole.parameters()) {
        let node = graph.node(parameter.node).name.as_str();
        let role = parameter.name.rsplit('.').next().unwrap_or_default();
        let index = tensors.len();
        let trained = !train.freezes(node);
        if let Some(layer) = by_name.get(node).and_then(|&step| layers.get_mut(step)) {
            layer.trained = trained;
            match role {
                "weight" => layer.weight = Some(index),
                "bias" => layer.bias = Some(index),
                "running_mean" => layer.running_mean = Some(index),
                _ => layer.running_var = Some(index),
            }
        }
        let parameter_of_loss = matches!(role, "weight" | "bias");
        tensors.push(TrainingTensor {
            trained: trained && parameter_of_loss,
            whole: (whole.shape != parameter.shape).then_some(whole.shape),
            name: parameter.name,
            shape: parameter.shape,
        });
    }
    (tensors, layers)
}

/// For each value, whether it depends on a parameter that is trained.
fn needs_gradient(forward: &Plan, layers: &[LayerTensors]) -> Vec<bool> {
    let mut needs = vec![false; forward.shapes().len()];
    for (step, layer) in forward.steps().iter().zip(layers) {
        needs[step.output.index()] = layer.trained || step.inputs.iter().any(|input| needs[input.index()]);
    }
    needs
}

fn keeps(step: &Step, layer: &LayerTensors, needs: &[bool]) -> Keeps {
    let passes = step.inputs.iter().any(|input| needs[input.index()]);
    match step.op {
        PlanOp::Conv2d { .. } | PlanOp::Linear { .. } if layer.trained => Keeps::Input,
        PlanOp::BatchNorm2d { .. } if layer.trained => Keeps::Normalised,
        PlanOp::Relu | PlanOp::Relu6 if passes => Keeps::Bits,
        PlanOp::MaxPool { .. } if passes => Keeps::Maxima,
        _ => Keeps::Nothing,
    }
}

fn backward(forward: &Plan, layers: &[LayerTensors], needs: &[bool]) -> Vec<BackwardStep> {
    let needed = |id: &ValueId| needs[id.index()];
    let steps = forward.steps().iter().zip(layers).enumerate().rev();
    steps
        .filter(|(_, (step, _))| needed(&step.output))
        .map(|(index, (step, layer))| BackwardStep {
            step: index,
            inputs: step.inputs.iter().map(needed).collect(),
            parameters: layer.trained,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::training::{Adam, Sgd};
    use crate::nn::zoo;

    fn plan(network: &str, frozen: &[&str]) -> Result<TrainingPlan, NnError> {
        let frozen = frozen.iter().map(|&name| name.to_owned()).collect();
        TrainingPlan::new(&zoo::by_name(network).unwrap(), &Train { frozen, ..Train::default() }, Ring::Z64)
    }

    #[test]
    fn the_backward_pass_stops_below_the_lowest_layer_that_is_trained() {
        let whole = plan("lenet", &[]).unwrap();
        assert_eq!(whole.backward().len(), whole.forward().steps().len());
        assert_eq!(whole.gradients().len(), 8);
        let last = plan("lenet", &["conv1", "conv2", "fc1"]).unwrap();
        assert_eq!(last.backward().len(), 1);
        assert_eq!(
            last.gradients().iter().map(|&(tensor, _)| last.tensors()[tensor].name.as_str()).collect::<Vec<_>>(),
            ["fc2.weight", "fc2.bias"]
        );
        assert_eq!(last.keeps().iter().filter(|&&keeps| keeps != Keeps::Nothing).count(), 1);
        let middle = plan("lenet", &["fc1"]).unwrap();
        assert_eq!((middle.backward().len(), middle.gradients().len()), (whole.backward().len(), 6));
    }

    #[test]
    fn batch_normalisation_is_trained_and_its_statistics_are_no_parameters() {
        let resnet = plan("resnet18", &[]).unwrap();
        let trained = |name: &str| resnet.tensors().iter().find(|tensor| tensor.name == name).unwrap().trained;
        assert!(
            trained("bn1.weight") && trained("bn1.bias") && !trained("bn1.running_mean") && !trained("bn1.running_var")
        );
        assert_eq!(resnet.normalised_by_running(false).len(), 20);
        assert_eq!(plan("resnet18", &["layer1"]).unwrap().normalised_by_running(true).len(), 4);
    }

    #[test]
    fn settings_that_cannot_train_say_why() {
        let all = plan("lenet", &["conv1", "conv2", "fc1", "fc2"]).unwrap_err().to_string();
        assert!(all.contains("nothing is left to train"), "{all}");
        let unknown = plan("lenet", &["conv9"]).unwrap_err().to_string();
        assert!(unknown.contains("conv9") && unknown.contains("lenet"), "{unknown}");
        let lenet = zoo::by_name("lenet").unwrap();
        for (optimizer, word) in [
            (Sgd::new(f64::NAN), "rate"),
            (Sgd::new(0.1).momentum(1.5), "momentum"),
            (Sgd::new(0.1).weight_decay(-1.0), "decay"),
            (Sgd::nesterov(0.1, 0.0), "Nesterov"),
            (Adam::new(0.1).weight_decay(-1.0), "decay"),
            (Adam::new(0.1).momentum(1.0), "betas"),
            (Optimizer::Adam(Adam { eps: 0.0, ..Adam::default() }), "eps"),
        ] {
            let error =
                TrainingPlan::new(&lenet, &Train { optimizer, ..Train::default() }, Ring::Z64).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(TrainingPlan::new(&lenet, &Train { batch: 0, ..Train::default() }, Ring::Z64).is_err());
    }
}
