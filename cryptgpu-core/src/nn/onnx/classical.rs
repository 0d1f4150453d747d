//! Operators of the domain `ai.onnx.ml`, as skl2onnx writes scikit-learn's models: factors by feature, linear models with what makes
//! probabilities of their scores, rows divided by a norm, columns. All become layers that networks have.

use super::super::Op;
use super::activations;
use super::attributes::Attributes;
use super::ending::{self, Ending};
use super::import::{Failure, Held, Import, Operate, harmless};
use super::layers::{Kind, Value};
use super::{normalisation, places, products, sequences};
use crate::device::PoolGeometry;
use crate::mpc::{PiecewiseLinear, RowFunction, SmoothFunction};
use ndarray::Array2;

type Result<T> = std::result::Result<T, Failure>;

/// The conversions by operator.
pub(super) fn conversion(operator: &str) -> Option<Operate> {
    Some(match operator {
        "Scaler" => |import, node| scaler(import, node).map(Held::Value),
        "LinearClassifier" => |import, node| classifier(import, node),
        "LinearRegressor" | "SVMRegressor" => |import, node| regressor(import, node).map(Held::Value),
        "Normalizer" => |import, node| normalizer(import, node).map(Held::Value),
        "ArrayFeatureExtractor" => |import, node| columns(import, node).map(Held::Value),
        "Imputer" => |import, node| imputer(import, node).map(Held::Value),
        "ZipMap" => |import, node| import.value(node, 0).map(Held::Value),
        _ => return None,
    })
}

/// The first input, a row of features, and how many these are.
fn row<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<(Value, usize)> {
    let x = import.value(node, 0)?;
    let [features] = x.dims[..] else {
        return Err(format!("its input has shape {:?} without the batch, and is no row of features", x.dims).into());
    };
    Ok((import.shaped(node, &x, vec![features])?, features))
}

/// (x − offset) · scale, by feature.
fn scaler<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let (x, features) = row(import, node)?;
    import.take(2 * features)?;
    let list = |name: &str, otherwise: f64| match node.floats(name).unwrap_or(&[]) {
        [] => Ok(vec![otherwise; features]),
        &[one] => Ok(vec![f64::from(one); features]),
        list if list.len() == features => Ok(list.iter().map(|&value| value.into()).collect()),
        list => Err(format!("its {name} is for {} features, and its input has {features}", list.len())),
    };
    let (offset, scale): (Vec<f64>, Vec<f64>) = (list("offset", 0.0)?, list("scale", 1.0)?);
    let shift = offset.iter().zip(&scale).map(|(offset, scale)| -offset * scale).collect();
    let layer = import.layer(node, None, Kind::Affine { scale, shift }, &[&x])?;
    Ok(x.with(layer.layer))
}

/// Scores by class, and what the file makes of them; its other result is the label.
fn classifier<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Held> {
    let mut coefficients = node.floats("coefficients").unwrap_or(&[]).to_vec();
    let mut intercepts = node.floats("intercepts").unwrap_or(&[]).to_vec();
    let labels = ["classlabels_ints", "classlabels_strings"];
    let classes =
        labels.map(|name| node.ints(name).map_or(0, <[i64]>::len).max(node.texts(name).map_or(0, |all| all.len())));
    let classes = classes.into_iter().max().unwrap_or(0);
    let (_, features) = row(import, node)?;
    if classes == 2 && coefficients.len() == features && node.text("post_transform") == Some("LOGISTIC") {
        // Of two classes the second one's score alone; σ(−x) is 1 − σ(x).
        coefficients = coefficients.iter().map(|value| -value).chain(coefficients.iter().copied()).collect();
        intercepts = intercepts.iter().map(|value| -value).chain(intercepts.iter().copied()).collect();
    }
    let scores = scores(import, node, coefficients, &intercepts)?;
    if scores.dims != [classes] {
        return Err(format!("it has coefficients for {:?} scores, and {classes} classes", scores.dims).into());
    }
    let Some(output) = node.0.output.get(1) else { return Ok(Held::Label) };
    let scores = linked(import, node, output, scores)?;
    import.name(output, Held::Value(scores));
    Ok(Held::Label)
}

/// Coefficients times features, of each target.
fn regressor<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let coefficients = node.floats("coefficients").unwrap_or(&[]);
    let scores = match node.operator() {
        "LinearRegressor" => scores(import, node, coefficients.to_vec(), node.floats("intercepts").unwrap_or(&[]))?,
        _ => {
            let kernel = node.text("kernel_type").unwrap_or("LINEAR");
            if kernel != "LINEAR" || node.flag("one_class") {
                let kernel = harmless(kernel);
                return Err(format!(
                    "its kernel is {kernel}, and without a kernel alone it is computed: train LinearSVR or Ridge, on features that the \
                     kernel would give if it needs them"
                )
                .into());
            }
            let weight = of_supports(coefficients, node.floats("support_vectors").unwrap_or(&[]))?;
            scores(import, node, weight, node.floats("rho").unwrap_or(&[]))?
        }
    };
    match node.0.output.first() {
        Some(output) => linked(import, node, output, scores),
        None => Ok(scores),
    }
}

/// Σ coefficient · vector over the support vectors, if there are any; else the coefficients are those of the features.
fn of_supports(coefficients: &[f32], vectors: &[f32]) -> Result<Vec<f32>> {
    if vectors.is_empty() {
        return Ok(coefficients.to_vec());
    }
    let width = vectors.len().checked_div(coefficients.len()).unwrap_or(0);
    if width == 0 || width * coefficients.len() != vectors.len() {
        return Err("its support vectors are not as many as its coefficients".to_owned().into());
    }
    let mut sums = vec![0.0f64; width];
    for (coefficient, vector) in coefficients.iter().zip(vectors.chunks_exact(width)) {
        sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(*coefficient) * f64::from(value));
    }
    Ok(sums.into_iter().map(|sum| sum as f32).collect())
}

/// A fully connected layer: coefficients row by row, and an intercept for each or none at all.
fn scores<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    coefficients: Vec<f32>,
    intercepts: &[f32],
) -> Result<Value> {
    let (_, features) = row(import, node)?;
    let (count, rows) = (coefficients.len(), coefficients.len() / features.max(1));
    let fits = rows > 0 && rows * features == count && (intercepts.is_empty() || intercepts.len() == rows);
    let weight = Array2::from_shape_vec((rows, features), coefficients).ok().filter(|_| fits).ok_or_else(|| {
        format!("its {count} coefficients and {} intercepts do not fit {features} features", intercepts.len())
    })?;
    let bias = (!intercepts.is_empty()).then(|| intercepts.iter().map(|&value| value.into()).collect());
    products::linear(import, node, weight, bias)
}

/// What is made of the scores: at the end of the file of the opened ones, else within the network.
fn linked<'a>(import: &mut Import<'a>, node: Attributes<'a>, output: &str, scores: Value) -> Result<Value> {
    let last = output == import.last;
    match node.text("post_transform").unwrap_or("NONE") {
        "NONE" => Ok(scores),
        "LOGISTIC" if last => {
            import.ending = Some(Ending::Sigmoid);
            Ok(scores)
        }
        "LOGISTIC" => activations::of_each(import, node, Op::Smooth(SmoothFunction::Sigmoid), &scores),
        "SOFTMAX" if last => {
            import.ending = Some(Ending::Softmax);
            Ok(scores)
        }
        "SOFTMAX" => activations::of_each(import, node, Op::Rows(RowFunction::Softmax), &scores),
        other => {
            let other = harmless(other);
            Err(format!("its post_transform is {other}: NONE, LOGISTIC and SOFTMAX are computed").into())
        }
    }
}

/// Rows divided by a norm of theirs; nothing where that is one.
fn normalizer<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let (x, features) = row(import, node)?;
    let maker = node.0.input.first().and_then(|name| import.maker(name));
    if maker.is_some_and(|maker| ending::sums_to_one(maker, node)) {
        return Ok(x);
    }
    let norm = match node.text("norm").unwrap_or("MAX") {
        "L2" => return normalisation::unit_rows(import, node, &x),
        "L1" => {
            let sizes = activations::of_each(import, node, Op::PiecewiseLinear(PiecewiseLinear::absolute()), &x)?;
            let image = import.shaped(node, &sizes, vec![1, 1, features])?;
            sequences::sum(import, node, image, features)?
        }
        "MAX" => {
            let image = import.shaped(node, &x, vec![1, 1, features])?;
            let window = PoolGeometry { kernel: [1, features], ..PoolGeometry::square(1, 1, 0) };
            import.layer(node, None, Kind::Plain(Op::MaxPool { window }), &[&image])?
        }
        other => return Err(format!("its norm is {}: L1, L2 and MAX are computed", harmless(other)).into()),
    };
    let norm = import.shaped(node, &Value { dims: vec![1], ..norm }, vec![1])?;
    let norm = sequences::repeated(import, node, norm, 0, features)?;
    let layer = import.layer(node, None, Kind::Plain(Op::Div), &[&x, &norm])?;
    Ok(x.with(layer.layer))
}

/// ArrayFeatureExtractor: some entries of the last axis.
fn columns<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let list = import.constant(node, 1)?.and_then(|indices| indices.integers());
    let list = list.ok_or_else(|| {
        "it chooses by a label: end the model with the scores, of which whoever opens them finds the largest".to_owned()
    })?;
    let x = import.value(node, 0)?;
    let size = x.dims.last().copied().unwrap_or(0);
    let entries: Option<Vec<usize>> = list.iter().map(|&at| usize::try_from(at).ok().filter(|&at| at < size)).collect();
    let entries = entries.ok_or_else(|| format!("its entries {list:?} are not all those of {size}"))?;
    places::selected(import, node, &x, x.dims.len(), entries.len(), |k| entries[k])
}

/// Imputer: inputs are numbers, so that there is nothing to put in the place of NaN.
fn imputer<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    if node.float("replaced_value_float").is_some_and(f64::is_nan) {
        return import.value(node, 0);
    }
    Err("it replaces a number by another: do it in the clear, before the data are shared".to_owned().into())
}
