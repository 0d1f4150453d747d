//! Training: the loss as it goes down, where an iteration's time and bytes go, and measurements beside published ones.

use cryptgpu_core::cluster::{AccuracyPoint, LossPoint, StepUsage};
use cryptgpu_core::experiment::training::{TrainingRecord, latest};
use cryptgpu_core::show::{bytes_text, number_text};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::bars::{self, Group};
use super::palette;
use super::pen::{self, Drawn, INK, PALE_INK, font, text_width};
use crate::figure::{Canvas, Figure};
use crate::tables::{arithmetic, curve_records, training_places, training_rows};
use crate::{NotebookError, Result};

const COLOURS: [RGBColor; 8] = [
    palette::SERIES[0],
    RGBColor(150, 150, 150),
    palette::SERIES[4],
    palette::SERIES[1],
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    palette::SERIES[2],
    RGBColor(0, 158, 115),
];
const RULE: RGBColor = palette::RULE;

/// Losses over the iterations, a line for each curve with its name: the mean over neighbouring minibatches in strong
/// colour, those of the minibatches themselves pale behind it. Upright lines part the epochs.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) where no curve has a point; [`Draw`](NotebookError::Draw).
pub fn training_curve(curves: &[(&str, &[LossPoint])]) -> Result<Figure> {
    let hint = "ask for losses when you train: `reveal: Reveal { loss_every: Some(1), ..Reveal::default() }`";
    let empty = NotebookError::Empty { what: "the curve of training", hint };
    let curves = curves.iter().map(|(name, points)| {
        let points: Vec<Point> = points.iter().map(|point| (point.iteration, point.epoch, point.loss)).collect();
        Curve { name, strong: smoothed(&points), points }
    });
    let highest = |all: f64| 1.06 * all.max(1e-3);
    curves_figure(&curves.collect::<Vec<_>>(), "loss of the minibatch", |[_, high]| 0.0..highest(high)).ok_or(empty)?
}

/// Accuracies on held-out examples over the iterations, in percent, a line with a dot for each measurement: of runs
/// ([`TrainingRun::accuracies`](cryptgpu_core::cluster::TrainingRun::accuracies)) and of records
/// ([`TrainingRecord::accuracy_points`]). Upright lines part the epochs.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) where no curve has a point; [`Draw`](NotebookError::Draw).
pub fn accuracy_curve(curves: &[(&str, &[AccuracyPoint])]) -> Result<Figure> {
    let hint = "ask for accuracies when you train: `Reveal { accuracy_every: Some(1), .. }`, and `Start::held_out`";
    let empty = NotebookError::Empty { what: "the curve of accuracies", hint };
    let curves = curves.iter().map(|(name, points)| {
        let percent = points.iter().map(|point| (point.iteration, point.epoch, 100.0 * point.accuracy));
        let points: Vec<Point> = percent.collect();
        Curve { name, strong: points.iter().map(|point| (point.0 as f64 + 1.0, point.2)).collect(), points }
    });
    let range = |[low, high]: [f64; 2]| (low - 2.0).max(0.0)..(high + 2.0).min(100.0);
    curves_figure(&curves.collect::<Vec<_>>(), "% of held-out examples", range).ok_or(empty)?
}

/// Accuracies of the training records of a network from `weights` (none: from scratch), a line for each arithmetic: in the
/// clear, and by fraction bits and truncation. One that left its range ends there.
///
/// # Errors
/// As [`tables::curves`](crate::tables::curves), and [`accuracy_curve`].
pub fn curves(records: &[TrainingRecord], network: &str, dataset: &str, from_trained: bool) -> Result<Figure> {
    let mut records = curve_records(records)?;
    records.retain(|of| of.network == network && of.dataset == dataset && of.weights.is_empty() != from_trained);
    let name = |of: &TrainingRecord| match of.left_range {
        Some(left) => format!("{}: {left}", arithmetic(of)),
        None => arithmetic(of),
    };
    let named: Vec<(String, Vec<AccuracyPoint>)> = records.iter().map(|of| (name(of), of.accuracy_points())).collect();
    let lines: Vec<(&str, &[AccuracyPoint])> =
        named.iter().map(|(name, points)| (name.as_str(), points.as_slice())).collect();
    let begun = if from_trained { "from trained weights" } else { "from scratch" };
    let what = format!("Training {network} on {dataset}, {begun}; higher is better. {}.", training_places(&records));
    Ok(accuracy_curve(&lines)?.noted(&what))
}

/// Iteration and epoch, from 0, and what was measured there.
type Point = (usize, usize, f64);

/// A line of a figure over iterations.
struct Curve<'a> {
    name: &'a str,
    points: Vec<Point>,
    /// What is drawn in strong colour, over the pale points.
    strong: Vec<(f64, f64)>,
}

/// All curves over their iterations, on a scale that `range` makes of the least and the largest value; `None` without a point.
fn curves_figure(
    curves: &[Curve<'_>],
    what: &str,
    range: impl Fn([f64; 2]) -> std::ops::Range<f64>,
) -> Option<Result<Figure>> {
    let points = || curves.iter().flat_map(|curve| &curve.points).filter(|point| point.2.is_finite());
    let last = points().map(|point| point.0).max()?;
    let extremes = points().fold([f64::INFINITY, 0.0], |[low, high], point| [point.2.min(low), point.2.max(high)]);
    let range = range(extremes);
    let mut epochs: Vec<_> = points().filter(|point| point.1 > 0).map(|point| (point.1, point.0)).collect();
    epochs.sort_unstable();
    epochs.dedup_by_key(|(epoch, _)| *epoch);
    let figure = Figure::draw((820, 360), |canvas| {
        canvas.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(canvas)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..(last + 1) as f64, range.clone())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RULE)
            .x_desc("iteration")
            .y_desc(what)
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| number_text(*x, 4))
            .y_label_formatter(&|y| number_text(*y, 3))
            .draw()?;
        for (_, at) in &epochs {
            let upright = [(*at as f64, range.start), (*at as f64, range.end)];
            chart.draw_series(std::iter::once(PathElement::new(upright, PALE_INK.mix(0.4).stroke_width(1))))?;
        }
        for (curve, colour) in curves.iter().zip(COLOURS.into_iter().cycle()) {
            let raw = || curve.points.iter().map(|point| (point.0 as f64 + 1.0, point.2));
            if curve.points.len() <= FEW {
                chart.draw_series(raw().map(|at| Circle::new(at, 3, colour.filled())))?;
            }
            chart.draw_series(LineSeries::new(raw(), colour.mix(0.3).stroke_width(1)))?;
        }
        for (place, (curve, colour)) in curves.iter().zip(COLOURS.into_iter().cycle()).enumerate() {
            // The first is broad, so that it can be seen behind one that runs over it.
            let stroke = if place == 0 { colour.mix(0.5).stroke_width(6) } else { colour.mix(1.0).stroke_width(2) };
            chart
                .draw_series(LineSeries::new(curve.strong.clone(), stroke))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .background_style(WHITE.mix(0.85))
            .border_style(RULE)
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    });
    let names = curves.iter().map(|curve| curve.name).collect::<Vec<_>>().join(", ");
    Some(figure.map(|figure| figure.title(format!("lines: {what} by iteration, {names}"))))
}

/// Measurements of so few are marked by dots.
const FEW: usize = 40;

/// Each point as the mean over its neighbours, a twentieth of all points; the points themselves where there are few.
fn smoothed(points: &[Point]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    let mean = |at: usize| {
        // As far to one side as to the other, so that the ends are not drawn towards the middle.
        let reach = reach.min(at).min(points.len() - 1 - at);
        let around = &points[at - reach..=at + reach];
        around.iter().map(|point| point.2).sum::<f64>() / around.len() as f64
    };
    points.iter().enumerate().map(|(at, point)| (point.0 as f64 + 1.0, mean(at))).collect()
}

/// Private training, time of an iteration on the left and its bytes of all parties on the right, both on a logarithmic
/// scale: ours, CryptGPU's and Falcon's. Hollow bars are figures that nobody could check. Bytes of CryptGPU are those that
/// its code really sends. Times of an emulated card are left out.
///
/// # Errors
/// As [`tables::training`](crate::tables::training), and [`Draw`](crate::NotebookError::Draw).
pub fn training(records: &[TrainingRecord]) -> Result<Figure> {
    let rows = training_rows(records)?;
    let name = |row: &cryptgpu_core::experiment::training::TrainingRow| format!("{}, {}", row.label(), row.batch);
    let seconds = rows.iter().map(|row| {
        let ours = (!row.emulated).then_some(row.seconds);
        Group::of(name(row), ours, [&row.cryptgpu_seconds, &row.falcon_seconds], 1.0)
    });
    let bytes = rows.iter().map(|row| {
        Group::of(
            name(row),
            (row.bytes > 0).then_some(row.bytes as f64),
            [&row.cryptgpu_bytes_sent, &row.falcon_bytes],
            1e6,
        )
    });
    let figure = bars::draw([("seconds an iteration", seconds.collect()), ("MB, all parties", bytes.collect())])?;
    let places = training_places(&latest(records));
    let note = format!("An iteration of private training; less is better. {places}. Published: sources in the table.");
    let title = format!("bars: seconds and bytes of training {} network(s), ours, CryptGPU's and Falcon's", rows.len());
    Ok(figure.title(title).noted(&note))
}

/// The passes of an iteration, in the order in which they run, with their colours.
const PASSES: [(&str, RGBColor); 5] = [
    ("input", RGBColor(127, 127, 127)),
    ("forward", palette::OURS),
    ("loss", RGBColor(204, 121, 167)),
    ("backward", RGBColor(230, 159, 0)),
    ("update", RGBColor(0, 158, 115)),
];
const WIDTH: i32 = 960;
const HEAD: i32 = 66;
const ROW: i32 = 24;

/// A layer: what each pass of [`PASSES`] takes there.
#[derive(Debug, Default, PartialEq)]
struct Layer {
    name: String,
    seconds: [f64; 5],
    bytes: [f64; 5],
}

/// Where an iteration's time and bytes go: a row for each layer, a colour for each pass, on linear scales.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a step; [`Draw`](NotebookError::Draw).
pub fn training_steps(steps: &[StepUsage]) -> Result<Figure> {
    layers_figure(&layers(steps.iter().map(|step| (&*step.pass, &*step.layer, step.seconds, step.bytes))))
}

/// Steps by layer, in the order in which a layer is first met.
fn layers<'a>(steps: impl Iterator<Item = (&'a str, &'a str, f64, f64)>) -> Vec<Layer> {
    let mut layers: Vec<Layer> = vec![];
    for (pass, name, seconds, bytes) in steps {
        let Some(pass) = PASSES.iter().position(|(known, _)| *known == pass) else { continue };
        let at = layers.iter().position(|layer| layer.name == name).unwrap_or_else(|| {
            layers.push(Layer { name: name.to_owned(), ..Layer::default() });
            layers.len() - 1
        });
        layers[at].seconds[pass] += seconds;
        layers[at].bytes[pass] += bytes;
    }
    layers
}

fn layers_figure(layers: &[Layer]) -> Result<Figure> {
    if layers.is_empty() {
        let hint = "take the steps of a run of at least one iteration: `run.steps()`";
        return Err(NotebookError::Empty { what: "the figure of an iteration's steps", hint });
    }
    let longest = layers.iter().map(|layer| text_width(&layer.name, 12)).max().unwrap_or(0);
    let left = longest.clamp(60, 240) + 24;
    let height = HEAD + ROW * layers.len() as i32 + 10;
    let figure = Figure::draw((WIDTH as u32, height as u32), |canvas| {
        canvas.fill(&WHITE)?;
        passes(canvas, left)?;
        for (row, layer) in layers.iter().enumerate() {
            let right = Pos::new(HPos::Right, VPos::Center);
            let y = HEAD + ROW * row as i32 + ROW / 2;
            canvas.draw(&Text::new(layer.name.clone(), (left - 12, y), font(12, INK).pos(right)))?;
        }
        let width = (WIDTH - left) / 2;
        let seconds: Vec<_> = layers.iter().map(|layer| layer.seconds).collect();
        let bytes: Vec<_> = layers.iter().map(|layer| layer.bytes).collect();
        stacks(canvas, "time", &seconds, (left, width), |value| pen::duration(1e9 * value))?;
        stacks(canvas, "bytes, all parties", &bytes, (left + width, width), |value| bytes_text(value as u64))
    })?;
    Ok(figure.title(format!("bars: time and bytes of an iteration, {} layers by pass", layers.len())))
}

/// What the colours mean.
fn passes(canvas: &Canvas<'_>, left: i32) -> Drawn {
    let mut x = left;
    for (name, colour) in PASSES {
        canvas.draw(&Rectangle::new([(x, 10), (x + 12, 22)], colour.filled()))?;
        canvas.draw(&Text::new(name, (x + 18, 16), font(12, INK).pos(Pos::new(HPos::Left, VPos::Center))))?;
        x += 18 + text_width(name, 12) + 24;
    }
    Ok(())
}

/// A bar for each layer, of a part for each pass, with the sum at its end; all layers' sum in the title.
fn stacks(
    canvas: &Canvas<'_>,
    title: &str,
    layers: &[[f64; 5]],
    (left, width): (i32, i32),
    text: impl Fn(f64) -> String,
) -> Drawn {
    let sum = |parts: &[f64; 5]| parts.iter().sum::<f64>();
    let all: f64 = layers.iter().map(sum).sum();
    canvas.draw(&Text::new(format!("{title}: {}", text(all)), (left, 38), font(13, INK)))?;
    let most = layers.iter().map(sum).fold(0.0, f64::max).max(1e-12);
    // Room for the number at the end of the longest bar.
    let room = f64::from(width - 84);
    for (row, parts) in layers.iter().enumerate() {
        let y = HEAD + ROW * row as i32;
        let mut so_far = 0.0;
        let at = |value: f64| left + (value / most * room).round() as i32;
        for (part, (_, colour)) in parts.iter().zip(PASSES) {
            let corners = [(at(so_far), y + 4), (at(so_far + part), y + ROW - 4)];
            so_far += part;
            if corners[1].0 > corners[0].0 {
                canvas.draw(&Rectangle::new(corners, colour.filled()))?;
            }
        }
        let style = font(10, INK).pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw(&Text::new(text(so_far), (at(so_far) + 5, y + ROW / 2), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;
    use crate::tables::training_record;
    use cryptgpu_core::show::Show;

    #[test]
    fn curves_are_drawn_with_their_names_and_without_points_there_is_none() {
        let points: Vec<_> =
            (0..80).map(|i| LossPoint { iteration: i, epoch: i / 40, loss: 2.3 / (1.0 + i as f64) }).collect();
        let figure = training_curve(&[("private", &points), ("in the clear", &points[..2])]).unwrap();
        let svg = figure.html();
        assert!(svg.contains("private") && svg.contains("in the clear") && svg.contains("iteration"), "{svg}");
        let losses: Vec<Point> = points.iter().map(|point| (point.iteration, point.epoch, point.loss)).collect();
        assert_eq!(smoothed(&losses).len(), 80);
        assert_eq!(smoothed(&losses)[0], (1.0, 2.3));
        assert!(smoothed(&losses)[1].1 > points[1].loss, "the mean of a falling, flattening curve is above it");
        let error = training_curve(&[("private", &[])]).unwrap_err().to_string();
        assert!(error.contains("loss_every"), "{error}");
        let mut record = training_record("lenet", 128, 0.75);
        record.accuracies = vec![(6, 0.9), (13, 0.95)];
        let svg = accuracy_curve(&[("lenet", &record.accuracy_points())]).unwrap().html();
        assert!(svg.contains("lenet") && svg.contains("% of held-out") && svg.contains("circle"), "{svg}");
        assert!(accuracy_curve(&[]).unwrap_err().to_string().contains("accuracy_every"));
    }

    #[test]
    fn steps_are_stacked_by_layer_and_unknown_passes_left_out() {
        let steps = [
            ("forward", "conv1", 0.25, 1000.0),
            ("forward", "fc1", 0.5, 10.0),
            ("backward", "fc1", 0.5, 30.0),
            ("backward", "conv1", 0.25, 2000.0),
            ("pause", "conv1", 9.0, 9.0),
        ];
        let layers = layers(steps.into_iter());
        assert_eq!(layers.iter().map(|layer| &*layer.name).collect::<Vec<_>>(), ["conv1", "fc1"]);
        assert_eq!((layers[0].bytes[1], layers[0].bytes[3], layers[1].seconds[3]), (1000.0, 2000.0, 0.5));
        let svg = layers_figure(&layers).unwrap().html();
        assert!(svg.contains("conv1") && svg.contains("backward") && svg.contains("time: 1.5"), "{svg}");
        assert!(matches!(training_steps(&[]), Err(NotebookError::Empty { .. })));
    }

    #[test]
    fn measurements_stand_beside_published_ones_and_emulated_times_are_not_drawn() {
        let mut emulated = training_record("vgg16-tiny", 8, 0.4321);
        emulated.cards = ["an emulator", "", ""].map(String::from);
        let svg = training(&[training_record("lenet", 128, 0.75), emulated]).unwrap().html();
        assert!(
            svg.contains("lenet") && svg.contains(", 128") && svg.contains("0.75") && svg.contains("2.21"),
            "{svg}"
        );
        assert!(!svg.contains("0.432"), "{svg}");
        for error in [training(&[]).unwrap_err(), tables::training(&[]).unwrap_err()] {
            assert!(error.to_string().contains("cryptgpu run train"), "{error}");
        }
    }
}
