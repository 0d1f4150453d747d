//! A run on a time axis: a lane for each party, in which it computes and waits, and messages between the lanes.

use cryptgpu_core::net::{Timeline, Trace};
use cryptgpu_core::show::{bytes_text, number_text};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::arrows::arrows;
use super::lanes::{BAR, COLOURS, Lanes, OTHER, STRIP, TOP};
use super::pen::{Drawn, INK, PALE_INK, arrow_head, centred, duration, fitted, font, text_width};
use super::raster::{self, Axis};
use crate::figure::{Canvas, Figure};
use crate::{NotebookError, Result};

const WIDTH: i32 = 1000;
const LEFT: i32 = 92;
const RIGHT: i32 = 22;
const LEGEND_ROW: i32 = 19;
const GRID: RGBColor = RGBColor(228, 230, 233);
const UNKNOWN: RGBColor = RGBColor(205, 208, 212);

/// A run as three lanes, one for each party, over time. In a lane, strips name the steps (the outermost two levels), and
/// the bar below them is filled as far as the party computes and pale where it waits; where a pixel holds many steps, its
/// height is divided between the two. Arrows are messages, from when they were sent to when the receiving program had
/// them; where there are many, one arrow stands for its neighbours, the thicker the more bytes.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) for a run without any time in it, and [`Draw`](NotebookError::Draw).
pub fn timeline(trace: &Trace) -> Result<Figure> {
    let nanos = 1e9 * trace.seconds();
    if nanos <= 0.0 {
        return Err(NotebookError::Empty { what: "the timeline", hint: "take the trace of a run" });
    }
    let axis = Axis { begin_nanos: trace.begin_nanos(), nanos, left: LEFT, width: WIDTH - LEFT - RIGHT };
    let lanes = Lanes::new(trace);
    let legend = legend_entries(&lanes);
    let rows = legend.last().map_or(0, |entry| entry.row + 1);
    let height = lanes.bottom() + 44 + LEGEND_ROW * rows + if trace.omitted() > 0 { 22 } else { 6 };
    let total = trace.total();
    let text = format!(
        "{}   ·   {} rounds   ·   {} messages   ·   {}",
        duration(nanos),
        total.rounds,
        total.messages(),
        bytes_text(total.bytes())
    );
    let figure = Figure::draw((WIDTH as u32, height as u32), |canvas| {
        canvas.fill(&WHITE)?;
        canvas.draw(&Text::new(text.clone(), (LEFT, 14), font(14, INK)))?;
        ticks(canvas, &axis, &lanes)?;
        arrows(canvas, trace, &axis, &lanes)?;
        for timeline in trace.timelines() {
            lane(canvas, trace, timeline, &axis, &lanes)?;
        }
        draw_legend(canvas, &legend, lanes.bottom() + 44)?;
        if trace.omitted() > 0 {
            let note = "hatched: later calls and messages were counted and not kept one by one";
            canvas.draw(&Text::new(note, (LEFT, height - 20), font(11, PALE_INK)))?;
        }
        Ok(())
    })?;
    Ok(figure.title(format!("timeline of three parties: {text}")))
}

fn pale(colour: RGBColor) -> RGBColor {
    let mix = |part: u8| (f64::from(part) * 0.22 + 255.0 * 0.78) as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

/// Nanoseconds of the unit in which so long a time reads well, and its name.
fn unit_of(nanos: f64) -> (f64, &'static str) {
    match nanos {
        _ if nanos < 1e6 => (1e3, "µs"),
        _ if nanos < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

/// Marks of the time axis, with lines through all lanes.
fn ticks(canvas: &Canvas<'_>, axis: &Axis, lanes: &Lanes) -> Drawn {
    let (unit, name) = unit_of(axis.nanos);
    let rough = axis.nanos / unit / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let bottom = lanes.bottom() + 8;
    let mut index = 0;
    loop {
        let value = f64::from(index) * step;
        let x = axis.left + (value * unit / axis.nanos * f64::from(axis.width)).round() as i32;
        if x > axis.left + axis.width {
            break;
        }
        canvas.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], GRID.stroke_width(1)))?;
        let mark = font(11, PALE_INK).pos(Pos::new(HPos::Center, VPos::Top));
        canvas.draw(&Text::new(number_text(value, 6), (x, bottom + 4), mark))?;
        index += 1;
    }
    canvas
        .draw(&PathElement::new([(axis.left, bottom), (axis.left + axis.width, bottom)], PALE_INK.stroke_width(1)))?;
    let unit = font(11, PALE_INK).pos(Pos::new(HPos::Right, VPos::Top));
    canvas.draw(&Text::new(format!("time in {name}"), (axis.left - 14, bottom + 4), unit))?;
    Ok(())
}

/// One party: its name, the strips of its steps, and its bar.
fn lane(canvas: &Canvas<'_>, trace: &Trace, timeline: &Timeline, axis: &Axis, lanes: &Lanes) -> Drawn {
    let (top, party) = (lanes.top(timeline.party), timeline.party);
    let counted = trace.total().parties[party.index()];
    let computing = 100.0 * counted.compute_nanos() as f64 / (counted.wall_nanos.max(1)) as f64;
    let right = Pos::new(HPos::Right, VPos::Center);
    let middle = top + lanes.height() / 2;
    // Messages between the outer lanes pass behind this one.
    let block = [(axis.x(timeline.begin_nanos), top), (axis.x(timeline.end_nanos), top + lanes.height())];
    canvas.draw(&Rectangle::new(block, WHITE.filled()))?;
    canvas.draw(&Text::new(format!("party {party}"), (LEFT - 12, middle - 8), font(14, INK).pos(right)))?;
    let share = format!("{computing:.0} % computing");
    canvas.draw(&Text::new(share, (LEFT - 12, middle + 9), font(10, PALE_INK).pos(right)))?;
    for level in 0..lanes.strips {
        strip(canvas, timeline, axis, lanes, (level, top + STRIP * level as i32))?;
    }
    bar(canvas, timeline, axis, lanes, top + STRIP * lanes.strips as i32)
}

/// The calls of steps of one level, with their names where there is room.
fn strip(canvas: &Canvas<'_>, timeline: &Timeline, axis: &Axis, lanes: &Lanes, (level, top): (usize, i32)) -> Drawn {
    let calls = timeline.calls.iter().filter(|call| raster::depth(timeline, call.step) == level);
    let mut drawn_to = 0;
    for call in calls {
        let Some(path) = timeline.steps.get(call.step as usize).map(|step| step.path.as_str()) else { continue };
        let (from, to) = (axis.x(call.begin_nanos), axis.x(call.end_nanos));
        if to <= drawn_to {
            continue;
        }
        // Of calls that share a pixel, the first is drawn.
        let (from, to) = (from.max(drawn_to), to.max(from + 1));
        drawn_to = to;
        let own = lanes.own_colour(path).filter(|_| level <= lanes.level);
        let colour = own.unwrap_or(if level == lanes.level { OTHER } else { UNKNOWN });
        canvas.draw(&Rectangle::new([(from, top), (to, top + STRIP - 1)], colour.filled()))?;
        if to - from > 4 {
            canvas.draw(&PathElement::new([(to, top), (to, top + STRIP - 1)], WHITE.stroke_width(1)))?;
        }
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        if let Some(text) = fitted(name, to - from - 6, 10) {
            let ink = if colour == UNKNOWN { INK } else { WHITE };
            canvas.draw(&Text::new(text, ((from + to) / 2, top + STRIP / 2), centred(10, ink)))?;
        }
    }
    Ok(())
}

/// What the party does: full colour while it computes, pale while it waits.
fn bar(canvas: &Canvas<'_>, timeline: &Timeline, axis: &Axis, lanes: &Lanes, top: i32) -> Drawn {
    let path =
        |step: Option<u32>| step.and_then(|step| timeline.steps.get(step as usize)).map_or("", |step| &step.path);
    let mut palette: Vec<RGBColor> = vec![];
    let mut keys = vec![];
    for (begin, end, step) in raster::pieces(timeline, lanes.level) {
        let colour = lanes.colour(path(step));
        let key = palette.iter().position(|known| *known == colour).unwrap_or_else(|| {
            palette.push(colour);
            palette.len() - 1
        });
        keys.push((begin, end, key));
    }
    // Beyond the last message that was kept nobody knows when it waited.
    let known = match timeline.transfers.last() {
        Some(last) if timeline.is_cut() => axis.x(last.at_nanos),
        _ => axis.left + axis.width,
    };
    let shades = if lanes.single { 1 } else { BAR as u32 };
    for run in raster::activity(axis, timeline, &keys, shades) {
        let Some(colour) = run.key.map(|key| palette[key]) else { continue };
        let (from, to) = (axis.left + run.from as i32, axis.left + run.to as i32);
        if from >= known {
            break;
        }
        let split = top + (f64::from(BAR) * run.waiting).round() as i32;
        canvas.draw(&Rectangle::new([(from, top), (to, split)], pale(colour).filled()))?;
        canvas.draw(&Rectangle::new([(from, split), (to, top + BAR)], colour.filled()))?;
    }
    hatch(canvas, (known, axis.x(timeline.end_nanos)), top)
}

/// A part of a bar of which nothing is known.
fn hatch(canvas: &Canvas<'_>, (from, to): (i32, i32), top: i32) -> Drawn {
    for x in (from..to).step_by(7) {
        let end = (x + BAR).min(to);
        canvas.draw(&PathElement::new([(x, top + BAR), (end, top + BAR - (end - x))], UNKNOWN.stroke_width(1)))?;
    }
    Ok(())
}

/// What an entry of the legend shows.
enum Sign {
    Filled(RGBColor),
    Arrow,
}

/// An entry of the legend, and where it is.
struct Entry {
    sign: Sign,
    text: String,
    x: i32,
    row: i32,
}

/// Signs first, then colours of steps, in as many rows as they need.
fn legend_entries(lanes: &Lanes) -> Vec<Entry> {
    let mut entries = vec![
        (Sign::Filled(INK), "computing".to_owned()),
        (Sign::Filled(pale(INK)), "waiting".to_owned()),
        (Sign::Arrow, if lanes.single { "message" } else { "messages" }.to_owned()),
    ];
    entries.extend(lanes.coloured.iter().zip(COLOURS).map(|(kind, colour)| (Sign::Filled(colour), kind.clone())));
    if let Some(others) = lanes.others {
        entries.push((Sign::Filled(OTHER), others.to_owned()));
    }
    let (mut x, mut row) = (LEFT, 0);
    let place = |(sign, text): (Sign, String)| {
        let text = fitted(&text, 260, 11).unwrap_or(text);
        let width = 18 + text_width(&text, 11) + 20;
        if x + width > WIDTH && x > LEFT {
            (x, row) = (LEFT, row + 1);
        }
        let entry = Entry { sign, text, x, row };
        x += width;
        entry
    };
    entries.into_iter().map(place).collect()
}

fn draw_legend(canvas: &Canvas<'_>, entries: &[Entry], top: i32) -> Drawn {
    for Entry { sign, text, x, row } in entries {
        let y = top + row * LEGEND_ROW;
        match sign {
            Sign::Filled(colour) => canvas.draw(&Rectangle::new([(*x, y), (x + 12, y + 12)], colour.filled()))?,
            Sign::Arrow => {
                canvas.draw(&PathElement::new([(*x, y + 6), (x + 9, y + 6)], INK.stroke_width(1)))?;
                arrow_head(canvas, (f64::from(x - 8), f64::from(y + 6)), (f64::from(x + 13), f64::from(y + 6)), 5.0)?;
            }
        }
        let left = Pos::new(HPos::Left, VPos::Center);
        canvas.draw(&Text::new(text.clone(), (x + 18, y + 6), font(11, INK).pos(left)))?;
    }
    Ok(())
}
