//! Which operators are computed, and what to do about the others.

use super::classical;
use super::import::{Operate, conversion};
use super::proto::Node;

/// An operator.
pub(super) enum Operator {
    /// How it is converted.
    Known(Operate),
    /// Why it is not, and what would have to change.
    Unknown(String),
}

pub(super) fn find(node: &Node) -> Operator {
    if node.domain == "ai.onnx.ml" {
        return match classical::conversion(&node.op_type) {
            Some(operate) => Operator::Known(operate),
            None => Operator::Unknown(classical_advice(&node.op_type).to_owned()),
        };
    }
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        let domain = super::import::harmless(&node.domain);
        return Operator::Unknown(format!(
            "it is an operator of the domain {domain}: export the model with standard operators"
        ));
    }
    match conversion(&node.op_type) {
        Some(operate) => Operator::Known(operate),
        None => Operator::Unknown(advice(&node.op_type).to_owned()),
    }
}

/// Whether the result of an operator has the shape of its first input: functions of each element, and normalisation.
pub(super) fn keeps_shape(node: &Node) -> bool {
    ACTIVATIONS.contains(&node.op_type.as_str())
        || NORMALISATIONS.contains(&node.op_type.as_str())
        || matches!(
            node.op_type.as_str(),
            "Clip"
                | "LeakyRelu"
                | "PRelu"
                | "HardSigmoid"
                | "HardSwish"
                | "Abs"
                | "Neg"
                | "Mul"
                | "Cast"
                | "Sigmoid"
                | "Softmax"
                | "LogSoftmax"
                | "LayerNormalization"
                | "Hardmax"
        )
}

/// What to do about a function that is none of those computed.
const OTHER_ACTIVATION: &str = "private evaluation has ReLU and functions that are piecewise linear (LeakyRelu, PRelu, Clip, HardSigmoid, HardSwish): train \
     the model with one of these in its place";

const ACTIVATIONS: &[&str] = &["ThresholdedRelu", "Log"];
const NORMALISATIONS: &[&str] = &["LRN"];

/// What would have to change for an operator that is not computed.
fn advice(operator: &str) -> &'static str {
    if ACTIVATIONS.contains(&operator) {
        return OTHER_ACTIVATION;
    }
    if NORMALISATIONS.contains(&operator) {
        return "of normalisations, those of batches, layers, instances and groups are computed: train the model with one of these";
    }
    match operator {
        "Hardmax" | "TopK" => "end the model before it: whoever opens the scores finds the largest in the clear",
        "If" | "Loop" | "Scan" => "what is computed must not depend on values: export the model without control flow",
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => "export the model in floats, before it is quantised",
        "LSTM" | "GRU" | "RNN" | "Attention" => {
            "of layers over sequences, attention made of MatMul and Softmax is computed"
        }
        _ => "there is no private protocol for it here yet: replace it, or compute this part in the clear",
    }
}

/// The same of an operator for models that are no networks.
fn classical_advice(operator: &str) -> &'static str {
    match operator {
        "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor" => {
            "trees are not computed: train a linear model or a network (LogisticRegression, Ridge, MLPClassifier, MLPRegressor)"
        }
        "SVMClassifier" => {
            "of support vector machines those without a kernel are computed: train LinearSVC, on features that a kernel would give if it \
             needs them"
        }
        "LabelEncoder" | "OneHotEncoder" | "CategoryMapper" | "DictVectorizer" | "CastMap" | "FeatureVectorizer" => {
            "words and categories become numbers in the clear: do it before the data are shared, and export what comes behind it"
        }
        "Binarizer" => "it compares features with a number: do it in the clear, before the data are shared",
        _ => "of the operators for models other than networks, factors, linear models and normalisation are computed",
    }
}
