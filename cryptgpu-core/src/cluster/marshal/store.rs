//! What a party holds for handles of the caller: tensors and models by number, from the run that left them until the
//! caller's last handle is dropped.

use super::examples::OwnExamples;
use crate::cluster::wire::message::HeldId;
use crate::device::Tensor;
use crate::mpc::{Rep, RepBits};
use crate::nn::SharedModel;
use crate::nn::training::SharedTraining;
use crate::ring::Ring;
use std::collections::HashMap;
use std::sync::Arc;

/// What one handle stands for, at one party.
#[derive(Clone, Debug)]
pub(in crate::cluster) enum Held {
    /// A share of ring words.
    Rep(Rep),
    /// A share of bits.
    Bits(RepBits),
    /// A plaintext that one party alone knows: there, and a blank at the others.
    Private(Option<Tensor>),
    /// A network with its shares of the weights.
    Model(Arc<SharedModel>),
    /// Examples that this party owns of a data set.
    Examples(Arc<OwnExamples>),
    /// A network in training, with all that its optimiser keeps.
    Training(Arc<SharedTraining>),
}

/// What the caller learns of what a party holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Label {
    /// A share of ring words of that shape.
    Rep(Vec<usize>),
    /// A share of bits of that shape.
    Bits(Vec<usize>),
    /// A plaintext: its shape at the party that knows it, nothing at the others.
    Private(Option<Vec<usize>>),
    /// A model of the network of that name.
    Model(String),
    /// The data set of that name.
    Examples(String),
    /// The training of the network of that name.
    Training(String),
}

impl Label {
    /// What it is called in errors.
    pub(in crate::cluster) fn describe(&self) -> String {
        match self {
            Label::Rep(shape) => format!("a share of shape {shape:?}"),
            Label::Bits(shape) => format!("shared bits of shape {shape:?}"),
            Label::Private(Some(shape)) => format!("an opened tensor of shape {shape:?}"),
            Label::Private(None) => "a tensor opened elsewhere".to_owned(),
            Label::Model(network) => format!("the model {network}"),
            Label::Examples(name) => format!("the data set {name}"),
            Label::Training(network) => format!("the trained {network}"),
        }
    }
}

impl Held {
    /// The memory that it takes.
    pub(in crate::cluster) fn bytes(&self) -> u64 {
        let words = match self {
            Held::Rep(rep) => 2 * rep.components().0.view().len(),
            Held::Bits(bits) => 2 * bits.components().0.len(),
            Held::Private(tensor) => tensor.as_ref().map_or(0, |tensor| tensor.view().len()),
            Held::Model(model) => return model.bytes(),
            Held::Examples(own) => return own.bytes(),
            Held::Training(training) => return training.bytes(),
        };
        8 * words as u64
    }

    /// The ring of a share.
    pub(in crate::cluster) fn ring(&self) -> Option<Ring> {
        match self {
            Held::Rep(rep) => Some(rep.ring()),
            Held::Bits(bits) => Some(bits.ring()),
            Held::Private(_) | Held::Model(_) | Held::Examples(_) | Held::Training(_) => None,
        }
    }

    pub(in crate::cluster) fn label(&self) -> Label {
        match self {
            Held::Rep(rep) => Label::Rep(rep.shape().to_vec()),
            Held::Bits(bits) => Label::Bits(bits.shape().to_vec()),
            Held::Private(tensor) => Label::Private(tensor.as_ref().map(|tensor| tensor.shape().to_vec())),
            Held::Model(model) => Label::Model(model.plan().name().to_owned()),
            Held::Examples(own) => Label::Examples(own.name().to_owned()),
            Held::Training(training) => Label::Training(training.graph().name().to_owned()),
        }
    }
}

/// All that one party keeps for handles.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Store(HashMap<HeldId, Held>);

impl Store {
    pub(in crate::cluster) fn keep(&mut self, id: HeldId, held: Held) {
        self.0.insert(id, held);
    }

    pub(in crate::cluster) fn get(&self, id: HeldId) -> Option<&Held> {
        self.0.get(&id)
    }

    pub(in crate::cluster) fn free(&mut self, ids: &[HeldId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    /// How many handles it is for.
    pub(in crate::cluster) fn len(&self) -> usize {
        self.0.len()
    }

    /// The memory that all of it takes, tensors that several handles share counted for each.
    pub(in crate::cluster) fn bytes(&self) -> u64 {
        self.0.values().map(Held::bytes).sum()
    }
}
