//! Messages between the lanes of a timeline.

use std::collections::BTreeMap;

use cryptgpu_core::net::{MessageTrace, PartyId, Trace};
use plotters::prelude::*;

use super::lanes::Lanes;
use super::pen::{Drawn, INK, arrow_head, pixel};
use super::raster::Axis;
use crate::figure::Canvas;

/// Where messages are many, there are at most so many arrows for each direction of each link.
const BINS: i64 = 50;

/// Messages that are drawn as one.
#[derive(Default)]
struct Sheaf {
    messages: u64,
    bytes: u64,
    /// Sums, in nanoseconds since the run began.
    sent: f64,
    received: f64,
}

/// Messages, from when they were sent to when their receivers had them. Those that nobody received are not drawn.
pub(super) fn arrows(canvas: &Canvas<'_>, trace: &Trace, axis: &Axis, lanes: &Lanes) -> Drawn {
    let messages = trace.messages();
    let single = lanes.single;
    let sheaves = sheaves(&messages, single, axis);
    let most = sheaves.iter().map(|(_, _, sheaf)| sheaf.bytes).max().unwrap_or(1).max(1) as f64;
    for (from, to, sheaf) in &sheaves {
        let (lane, other) = (lanes.top(*from), lanes.top(*to));
        let (y0, y1) =
            if lane < other { (lane + lanes.height(), other - 1) } else { (lane, other + lanes.height() + 1) };
        let x = |sum: f64| f64::from(axis.left) + sum / sheaf.messages as f64 / axis.nanos * f64::from(axis.width);
        let (from, to) = ((x(sheaf.sent), f64::from(y0)), (x(sheaf.received), f64::from(y1)));
        // Thickness by bytes, on a logarithmic scale of four decades below the largest.
        let weight = (1.0 + (sheaf.bytes.max(1) as f64 / most).log10() / 4.0).clamp(0.0, 1.0);
        let opacity = if single { 0.75 } else { 0.15 + 0.3 * weight };
        let style = INK.mix(opacity).stroke_width(if weight > 0.8 { 2 } else { 1 });
        canvas.draw(&PathElement::new([pixel(from), pixel(to)], style))?;
        arrow_head(canvas, from, to, if single { 6.0 } else { 4.0 })?;
    }
    Ok(())
}

fn sheaves(messages: &[MessageTrace], single: bool, axis: &Axis) -> Vec<(PartyId, PartyId, Sheaf)> {
    let mut sheaves: BTreeMap<(PartyId, PartyId, i64), Sheaf> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        let Some(receipt) = &message.receipt else { continue };
        let bin = if single { index as i64 } else { message.sent_nanos * BINS / (axis.nanos as i64).max(1) };
        let sheaf = sheaves.entry((message.from, message.to, bin)).or_default();
        sheaf.messages += 1;
        sheaf.bytes += message.bytes;
        sheaf.sent += message.sent_nanos as f64;
        sheaf.received += receipt.at_nanos as f64;
    }
    sheaves.into_iter().map(|((from, to, _), sheaf)| (from, to, sheaf)).collect()
}
