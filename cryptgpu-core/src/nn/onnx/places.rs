//! Elements of a value in other places: entries of an axis in any order, an axis several times over, blocks of pixels as channels. None
//! of it costs anything.

use super::super::Rearrange;
use super::attributes::Attributes;
use super::import::{Failure, Import};
use super::layers::Value;
use super::sequences;

type Result<T> = std::result::Result<T, Failure>;

/// So many entries of an axis of the file: the k-th is entry `place(k)` of what there was.
pub(super) fn selected<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    axis: usize,
    count: usize,
    place: impl Fn(usize) -> usize,
) -> Result<Value> {
    import.take(count)?;
    let entries: Vec<usize> = (0..count).map(place).collect();
    let Some(&start) = entries.first() else { return Err("it takes nothing".to_owned().into()) };
    let step = entries.get(1).map_or(Some(1), |second| second.checked_sub(start)).filter(|&step| step > 0);
    let even = step.filter(|&step| entries.iter().enumerate().all(|(k, &at)| at == start + k * step));
    if let Some(step) = even {
        return sequences::part(import, node, x, axis, [start, step, count]);
    }
    let (x, axes) = import.plain(node, x)?;
    let Some(place) = axes.place(axis).filter(|_| axes.batch != Some(axis)) else {
        return Err("it takes images of the batch in another order".to_owned().into());
    };
    let layer = import.rearranged(node, &x, Rearrange::Select { axis: place, entries })?.layer;
    Ok(axes.with(axis, count).value(layer))
}

/// Tile: each axis so many times over.
pub(super) fn tile<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let times = import.constant(node, 1)?.and_then(|times| times.integers());
    let times = times.ok_or_else(|| "its repeats are not known before it runs".to_owned())?;
    let (mut y, mut axes) = import.plain(node, &x)?;
    if times.len() != axes.sizes.len() {
        return Err(format!("it repeats {} axes, and its input has {}", times.len(), axes.sizes.len()).into());
    }
    for (axis, times) in times.into_iter().enumerate().filter(|(_, times)| *times != 1) {
        let Some(place) = axes.place(axis).filter(|_| axes.batch != Some(axis)) else {
            return Err("it repeats images of the batch".to_owned().into());
        };
        let times = usize::try_from(times).ok().filter(|&times| times > 0);
        let times = times.ok_or_else(|| "it repeats an axis less than once".to_owned())?;
        let mut dims = import.layers.shape(y.layer).to_vec();
        dims.insert(place, 1);
        let apart = import.shaped(node, &y, dims.clone())?;
        let repeated = import.rearranged(node, &apart, Rearrange::Repeat { axis: place, times })?;
        dims.remove(place);
        dims[place] *= times;
        axes = axes.with(axis, dims[place]);
        y = import.shaped(node, &repeated, dims)?;
    }
    Ok(axes.value(y.layer))
}

/// DepthToSpace and SpaceToDepth: channels as blocks of pixels, and blocks of pixels as channels.
pub(super) fn blocks<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let (x, axes) = import.plain(node, &x)?;
    let (&[_, channels, height, width], Some(0)) = (&axes.sizes[..], axes.batch) else {
        return Err(format!("its input, {:?} without the batch, is no image", x.dims).into());
    };
    let block =
        node.int("blocksize").and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=1 << 15).contains(size));
    let block = block.ok_or_else(|| "it does not say how large its blocks are".to_owned())?;
    let refused = || format!("an image of {channels} channels, {height}×{width}, has no blocks of {block}×{block}");
    let (parts, order, result) = if node.operator() == "DepthToSpace" {
        if channels % (block * block) != 0 {
            return Err(refused().into());
        }
        let less = channels / (block * block);
        let result = vec![less, height * block, width * block];
        match node.text("mode").unwrap_or("DCR") {
            // Depth, column, row: the channels of a block come first.
            "DCR" => (vec![block, block, less, height, width], vec![2, 3, 0, 4, 1], result),
            "CRD" => (vec![less, block, block, height, width], vec![0, 3, 1, 4, 2], result),
            other => return Err(format!("its mode is {}", super::import::harmless(other)).into()),
        }
    } else {
        if height % block != 0 || width % block != 0 {
            return Err(refused().into());
        }
        let (down, right) = (height / block, width / block);
        (vec![channels, down, block, right, block], vec![2, 4, 0, 1, 3], vec![channels * block * block, down, right])
    };
    let apart = import.shaped(node, &x, parts)?;
    let moved = import.rearranged(node, &apart, Rearrange::Permute(order))?;
    let image = import.shaped(node, &moved, result.clone())?;
    let axes = result.into_iter().enumerate().fold(axes, |axes, (at, size)| axes.with(at + 1, size));
    Ok(axes.value(image.layer))
}
