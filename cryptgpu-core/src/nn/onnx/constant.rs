//! What is known before anything runs: constants, and the arithmetic on shapes that exporters write down as nodes. The size
//! of the batch is a symbol in it.

use super::attributes::Attributes;
use ndarray::{Array1, ArrayD, IxDyn};
use std::sync::Arc;

/// An integer, or the size of the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    Is(i64),
    /// So many times the batch.
    Batch(i64),
}

/// As errors say shapes.
impl std::fmt::Debug for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Is(value) => write!(f, "{value}"),
            Dim::Batch(1) => f.write_str("batch"),
            Dim::Batch(times) => write!(f, "{times}·batch"),
        }
    }
}

/// A constant. `Debug` shows no float: those are weights.
#[derive(Clone)]
pub(super) enum Constant {
    Floats(Arc<ArrayD<f32>>),
    Ints(ArrayD<Dim>),
}

impl std::fmt::Debug for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Constant::Floats(values) => write!(f, "Floats({:?})", values.shape()),
            Constant::Ints(values) => write!(f, "Ints({values:?})"),
        }
    }
}

/// The most elements that a result of arithmetic on integers has: shapes and lists of axes are short.
const MOST_INTEGERS: usize = 1 << 16;

impl Constant {
    pub(super) fn floats(values: ArrayD<f32>) -> Self {
        Constant::Floats(Arc::new(values))
    }

    pub(super) fn ints(values: Vec<Dim>) -> Self {
        Constant::Ints(Array1::from(values).into_dyn())
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Constant::Floats(values) => values.shape(),
            Constant::Ints(values) => values.shape(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Constant::Floats(values) => values.len(),
            Constant::Ints(values) => values.len(),
        }
    }

    /// Integers in row-major order; None for floats.
    pub(super) fn dims(&self) -> Option<Vec<Dim>> {
        match self {
            Constant::Ints(values) => Some(values.iter().copied().collect()),
            Constant::Floats(_) => None,
        }
    }

    /// Integers without the batch's size; None where that is among them, and for floats.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let number = |dim: Dim| match dim {
            Dim::Is(value) => Some(value),
            Dim::Batch(_) => None,
        };
        self.dims()?.into_iter().map(number).collect()
    }

    /// The only element, as a number.
    pub(super) fn scalar(&self) -> Option<f64> {
        match self {
            Constant::Floats(values) if values.len() == 1 => values.first().map(|&value| value.into()),
            Constant::Ints(values) if values.len() == 1 => match values.first() {
                Some(Dim::Is(value)) => Some(*value as f64),
                _ => None,
            },
            _ => None,
        }
    }

    /// The elements as floats.
    pub(super) fn as_floats(&self) -> Option<Arc<ArrayD<f32>>> {
        match self {
            Constant::Floats(values) => Some(values.clone()),
            Constant::Ints(values) => {
                let values = values.map(|dim| match dim {
                    Dim::Is(value) => Some(*value as f32),
                    Dim::Batch(_) => None,
                });
                if values.iter().any(Option::is_none) {
                    return None;
                }
                Some(Arc::new(values.mapv(Option::unwrap_or_default)))
            }
        }
    }
}

/// The result of a node all of whose inputs are constants; None for an operator that is not computed here.
///
/// # Errors
/// Why it cannot be computed, for inputs that no exporter's arithmetic on shapes has.
pub(super) fn fold(node: &Attributes<'_>, inputs: &[Option<Constant>]) -> Option<Result<Constant, String>> {
    let given: Vec<&Constant> = inputs.iter().flatten().collect();
    let &first = given.first()?;
    let axes = || axes(node, inputs.get(1).and_then(Option::as_ref));
    Some(match node.operator() {
        "Identity" => Ok(first.clone()),
        "Shape" => part_of(&first.shape().iter().map(|&size| Dim::Is(size as i64)).collect::<Vec<_>>(), node),
        "Cast" => cast(first, node.int("to").unwrap_or(1)),
        "Unsqueeze" => axes().and_then(|axes| reshape(first, &unsqueezed(first.shape(), &axes)?)),
        "Squeeze" => axes().and_then(|axes| reshape(first, &squeezed(first.shape(), &axes)?)),
        "Reshape" => target(given.get(1)).and_then(|target| reshape(first, &target)),
        "Transpose" => transpose(first, node.ints("perm")),
        "Concat" => concat(&given),
        "Gather" => gather(&given),
        "Slice" => slice(node, inputs),
        "ConstantOfShape" => target(Some(&first)).and_then(|shape| filled(&shape, node)),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Equal" => {
            given.get(1).ok_or_else(two).and_then(|other| binary(node.operator(), first, other))
        }
        "Sqrt" => first.as_floats().map(|values| Constant::floats(values.mapv(f32::sqrt))).ok_or_else(batch_in_float),
        "Where" => chosen(&given),
        "Expand" => expanded(first, given.get(1)),
        _ => return None,
    })
}

fn batch_in_float() -> String {
    "the batch's size becomes a float".into()
}

fn two() -> String {
    "it needs two inputs".into()
}

/// Axes from the attribute, as before opset 13, or from the second input.
pub(super) fn axes(node: &Attributes<'_>, input: Option<&Constant>) -> Result<Vec<i64>, String> {
    match (node.ints("axes"), input) {
        (Some(axes), _) => Ok(axes.to_vec()),
        (None, Some(input)) => input.integers().ok_or_else(|| "its axes are no constant integers".to_owned()),
        (None, None) => Ok(vec![]),
    }
}

/// An axis of `rank`, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let found = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    found.ok_or_else(|| format!("axis {axis} is none of {rank}"))
}

/// A shape with axes of size 1 put in, so that they are the `axes` of the result.
pub(super) fn unsqueezed(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = shape.len() + axes.len();
    let new = axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut old = shape.iter().copied();
    let place = |at: usize| if new.contains(&at) { Some(1) } else { old.next() };
    let shape: Option<Vec<usize>> = (0..rank).map(place).collect();
    shape.filter(|_| old.next().is_none()).ok_or_else(|| "its axes are named twice".into())
}

/// A shape without the `axes`, which must have size 1; without all of size 1 if none are named.
pub(super) fn squeezed(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let gone = match axes {
        [] => (0..shape.len()).filter(|&at| shape[at] == 1).collect(),
        axes => axes.iter().map(|&at| axis(at, shape.len())).collect::<Result<Vec<_>, _>>()?,
    };
    if let Some(&at) = gone.iter().find(|&&at| shape[at] != 1) {
        return Err(format!("axis {at} has size {} and cannot be squeezed", shape[at]));
    }
    Ok(shape.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &size)| size).collect())
}

/// A shape that a constant is made to have: one size may be −1, what is left.
fn target(shape: Option<&&Constant>) -> Result<Vec<i64>, String> {
    shape.and_then(|shape| shape.integers()).ok_or_else(|| "the shape is no list of constant integers".into())
}

fn reshape<T: Copy + TryInto<i64>>(constant: &Constant, shape: &[T]) -> Result<Constant, String> {
    let sizes: Option<Vec<i64>> = shape.iter().map(|&size| size.try_into().ok()).collect();
    let sizes = sizes.ok_or_else(|| "a size is too large".to_owned())?;
    let zero = |at: usize| constant.shape().get(at).copied().unwrap_or(0);
    let known: Option<Vec<usize>> = (sizes.iter().enumerate().filter(|(_, size)| **size != -1))
        .map(|(at, &size)| if size == 0 { Some(zero(at)) } else { usize::try_from(size).ok() })
        .collect();
    let product = known.and_then(|known| known.iter().try_fold(1usize, |product, &size| product.checked_mul(size)));
    let wrong = || format!("a constant of shape {:?} does not become {sizes:?}", constant.shape());
    let product = product.ok_or_else(wrong)?;
    let size = |(at, &size): (usize, &i64)| match size {
        -1 => constant.len().checked_div(product).unwrap_or(0),
        0 => zero(at),
        size => size as usize,
    };
    let shape = IxDyn(&sizes.iter().enumerate().map(size).collect::<Vec<_>>());
    Ok(match constant {
        Constant::Floats(values) => {
            Constant::floats(values.as_ref().clone().into_shape_with_order(shape).map_err(|_| wrong())?)
        }
        Constant::Ints(values) => Constant::Ints(values.clone().into_shape_with_order(shape).map_err(|_| wrong())?),
    })
}

fn transpose(constant: &Constant, order: Option<&[i64]>) -> Result<Constant, String> {
    let rank = constant.shape().len();
    let order: Vec<usize> = match order {
        Some(order) => order.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(format!("{order:?} is no order of {rank} axes"));
    }
    Ok(match constant {
        Constant::Floats(values) => {
            Constant::floats(values.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
        }
        Constant::Ints(values) => {
            Constant::Ints(values.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
        }
    })
}

/// Elements `start` to `end` of a shape, as the node Shape may ask for.
pub(super) fn part_of(dims: &[Dim], node: &Attributes<'_>) -> Result<Constant, String> {
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(node.int("start").unwrap_or(0)), place(node.int("end").unwrap_or(rank)));
    Ok(Constant::ints(dims.get(start..end).unwrap_or(&[]).to_vec()))
}

fn cast(constant: &Constant, to: i64) -> Result<Constant, String> {
    let float = i32::try_from(to).is_ok_and(super::tensor::is_float);
    match (constant, float) {
        (Constant::Floats(values), false) => Ok(Constant::Ints(values.mapv(|value| Dim::Is(value as i64)))),
        (Constant::Ints(_), true) => constant.as_floats().map(Constant::Floats).ok_or_else(batch_in_float),
        (same, _) => Ok(same.clone()),
    }
}

fn lists(constants: &[&Constant]) -> Result<Vec<Vec<Dim>>, String> {
    let list = |constant: &&Constant| constant.dims().filter(|_| constant.shape().len() <= 1);
    let lists: Option<Vec<Vec<Dim>>> = constants.iter().map(list).collect();
    lists.ok_or_else(|| "constants other than lists of integers are not computed with".into())
}

fn concat(constants: &[&Constant]) -> Result<Constant, String> {
    let list = lists(constants)?.concat();
    if list.len() > MOST_INTEGERS {
        return Err(format!("a list of {} integers is no shape", list.len()));
    }
    Ok(Constant::ints(list))
}

fn gather(constants: &[&Constant]) -> Result<Constant, String> {
    let [data, indices] = constants else { return Err(two()) };
    let data = &lists(&[data])?[0];
    let chosen = indices.integers().ok_or_else(|| "its indices are no constant integers".to_owned())?;
    let chosen = chosen.into_iter().map(|at| axis(at, data.len()).map(|at| data[at])).collect::<Result<Vec<_>, _>>()?;
    let shaped = Constant::ints(chosen);
    reshape(&shaped, indices.shape())
}

fn slice(node: &Attributes<'_>, inputs: &[Option<Constant>]) -> Result<Constant, String> {
    let given = |name: &str, place: usize| match (node.ints(name), inputs.get(place).and_then(Option::as_ref)) {
        (Some(list), _) => Some(list.to_vec()),
        (None, Some(input)) => input.integers(),
        (None, None) => None,
    };
    let data = inputs.first().and_then(Option::as_ref).ok_or_else(two)?;
    let data = &lists(&[data])?[0];
    let (starts, ends) = (given("starts", 1), given("ends", 2));
    let (axes, steps) = (given("axes", 3).unwrap_or(vec![0]), given("steps", 4).unwrap_or(vec![1]));
    let (Some(&[start]), Some(&[end]), [0 | -1], &[step @ 1..=i64::MAX]) =
        (starts.as_deref(), ends.as_deref(), axes.as_slice(), steps.as_slice())
    else {
        return Err("only slices of lists of integers, with steps forwards, are computed".into());
    };
    let length = data.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(0, length) as usize;
    let part = data.get(place(start)..place(end)).unwrap_or(&[]);
    Ok(Constant::ints(part.iter().copied().step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect()))
}

fn filled(shape: &[i64], node: &Attributes<'_>) -> Result<Constant, String> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let elements = sizes.as_ref().and_then(|sizes| sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size)));
    let (Some(sizes), Some(0..=MOST_INTEGERS)) = (sizes, elements) else {
        return Err(format!(
            "it makes a constant of shape {shape:?}, and nodes make no more than {MOST_INTEGERS} elements here: put weights into \
             the file"
        ));
    };
    Ok(match node.tensor("value")? {
        None => Constant::floats(ArrayD::zeros(sizes)),
        Some(Constant::Floats(value)) => {
            Constant::floats(ArrayD::from_elem(sizes, value.first().copied().unwrap_or(0.0)))
        }
        Some(Constant::Ints(value)) => {
            Constant::Ints(ArrayD::from_elem(sizes, value.first().copied().unwrap_or(Dim::Is(0))))
        }
    })
}

/// An operation on two sizes, of which one may be the batch's so many times.
fn of_dims(operator: &str, a: Dim, b: Dim) -> Option<Dim> {
    match (operator, a, b) {
        ("Equal", a, b) => Some(Dim::Is(i64::from(a == b))),
        ("Add", Dim::Is(a), Dim::Is(b)) => a.checked_add(b).map(Dim::Is),
        ("Sub", Dim::Is(a), Dim::Is(b)) => a.checked_sub(b).map(Dim::Is),
        ("Mul", Dim::Is(a), Dim::Is(b)) => a.checked_mul(b).map(Dim::Is),
        ("Mul", Dim::Batch(a), Dim::Is(b)) | ("Mul", Dim::Is(a), Dim::Batch(b)) => a.checked_mul(b).map(Dim::Batch),
        ("Div", Dim::Is(a), Dim::Is(b)) => a.checked_div(b).map(Dim::Is),
        ("Mod", Dim::Is(a), Dim::Is(b)) => a.checked_rem(b).map(Dim::Is),
        ("Div", Dim::Batch(a), Dim::Is(b)) => (a.checked_rem(b)? == 0).then_some(Dim::Batch(a / b)),
        ("Div", Dim::Batch(a), Dim::Batch(b)) => (a.checked_rem(b)? == 0).then_some(Dim::Is(a / b)),
        ("Mod", Dim::Batch(a), Dim::Is(b)) => (a.checked_rem(b)? == 0).then_some(Dim::Is(0)),
        _ => None,
    }
}

/// Where: of integers, element by element, as shapes are put together.
fn chosen(constants: &[&Constant]) -> Result<Constant, String> {
    let [condition, a, b] = constants else { return Err("it needs three inputs".into()) };
    let lists = lists(&[condition, a, b])?;
    let length = lists.iter().map(Vec::len).max().unwrap_or(0);
    if lists.iter().any(|list| list.is_empty() || (list.len() != length && list.len() != 1)) {
        return Err("it chooses among lists of different lengths".into());
    }
    let at = |list: &[Dim], place: usize| list[place % list.len()];
    let choose = |place| at(if at(&lists[0], place) == Dim::Is(0) { &lists[2] } else { &lists[1] }, place);
    Ok(Constant::ints((0..length).map(choose).collect()))
}

/// Expand: the batch's axis stays at one element, which is the same for all images.
fn expanded(constant: &Constant, target: Option<&&Constant>) -> Result<Constant, String> {
    let wrong = || "its shape is no list of sizes that the constant can have".to_owned();
    let target = target.and_then(|target| target.dims()).ok_or_else(wrong)?;
    let rank = target.len().max(constant.shape().len());
    let own = |at: usize| (at + constant.shape().len()).checked_sub(rank).map_or(1, |at| constant.shape()[at]);
    let asked = |at: usize| (at + target.len()).checked_sub(rank).map_or(Dim::Is(1), |at| target[at]);
    let size = |at: usize| match (own(at), asked(at)) {
        (1, Dim::Batch(1)) => Some(1),
        (own, Dim::Is(asked)) if asked == 1 || asked == own as i64 => Some(own),
        (1, Dim::Is(asked)) => usize::try_from(asked).ok(),
        _ => None,
    };
    let shape = (0..rank).map(size).collect::<Option<Vec<usize>>>().ok_or_else(wrong)?;
    let elements = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size)).ok_or_else(wrong)?;
    if elements > constant.len().max(1).saturating_mul(MOST_INTEGERS) {
        return Err(wrong());
    }
    match constant {
        Constant::Floats(values) => Ok(Constant::floats(values.broadcast(IxDyn(&shape)).ok_or_else(wrong)?.to_owned())),
        Constant::Ints(values) if elements <= MOST_INTEGERS => {
            Ok(Constant::Ints(values.broadcast(IxDyn(&shape)).ok_or_else(wrong)?.to_owned()))
        }
        Constant::Ints(_) => Err(wrong()),
    }
}

/// One of some operations on two constants, one of which has the shape of the result: nothing grows.
fn binary(operator: &str, a: &Constant, b: &Constant) -> Result<Constant, String> {
    if let (Some(left), Some(right)) = (a.dims(), b.dims()) {
        let shape = if left.len() >= right.len() { a.shape() } else { b.shape() };
        if left.len() != right.len() && left.len() != 1 && right.len() != 1 || left.is_empty() || right.is_empty() {
            return Err("integers of different shapes are not computed with".into());
        }
        let pairs = (0..left.len().max(right.len())).map(|at| (left[at % left.len()], right[at % right.len()]));
        let result: Option<Vec<Dim>> = pairs.map(|(a, b)| of_dims(operator, a, b)).collect();
        let result =
            result.ok_or_else(|| "arithmetic on integers leaves their range, or mixes the batch in".to_owned())?;
        return reshape(&Constant::ints(result), shape);
    }
    let (Some(left), Some(right)) = (a.as_floats(), b.as_floats()) else {
        return Err("arithmetic on the batch's size is not computed".into());
    };
    let operate = |a: f32, b: f32| match operator {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Mod" => a % b,
        "Equal" => f32::from(u8::from(a == b)),
        _ => a / b,
    };
    let result = match (right.broadcast(left.raw_dim()), left.broadcast(right.raw_dim())) {
        (Some(right), _) => ndarray::Zip::from(left.as_ref()).and(&right).map_collect(|&a, &b| operate(a, b)),
        (_, Some(left)) => ndarray::Zip::from(&left).and(right.as_ref()).map_collect(|&a, &b| operate(a, b)),
        _ => return Err(format!("constants of shapes {:?} and {:?} do not fit together", a.shape(), b.shape())),
    };
    Ok(Constant::floats(result.as_standard_layout().into_owned()))
}
