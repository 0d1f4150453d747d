//! plotters drawings as figures in a notebook.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use cryptgpu_core::show::{Show, emit, escape};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};

use crate::{NotebookError, Result};

/// The area that [`Figure::draw`] hands to its closure.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A drawing, ready to be shown.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
/// use plotters::prelude::*;
///
/// let figure = Figure::draw((400, 200), |canvas| {
///     canvas.fill(&WHITE)?;
///     let mut chart = ChartBuilder::on(canvas).margin(10).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
///     chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], &BLUE))?;
///     Ok(())
/// })?;
/// assert!(figure.html().contains("<svg"));
/// # Ok::<(), NotebookError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Figure {
    svg: String,
    title: String,
}

impl Figure {
    /// Runs `draw` on an empty canvas of `size` pixels (width, height).
    ///
    /// # Errors
    /// [`Draw`](NotebookError::Draw) with whatever `draw` returns.
    pub fn draw(
        size: (u32, u32),
        draw: impl FnOnce(&Canvas<'_>) -> std::result::Result<(), Box<dyn std::error::Error>>,
    ) -> Result<Self> {
        let mut svg = String::new();
        {
            let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&canvas).map_err(|error| NotebookError::Draw(error.to_string()))?;
            canvas.present().map_err(|error| NotebookError::Draw(error.to_string()))?;
        }
        Ok(Self { svg, title: "figure".to_owned() })
    }

    /// Says in words what the figure shows, for readers who see text only.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds lines in small type below the drawing, each of them where the drawing is too narrow for it in several: where it was
    /// measured, and what is better, for a reader who sees the figure alone.
    pub fn noted(mut self, note: &str) -> Self {
        const LINE: u32 = 16;
        let Some((width, height)) = self.size() else { return self };
        let lines = wrapped(note, (width.saturating_sub(24) as f64 / 6.2) as usize);
        if lines.is_empty() {
            return self;
        }
        let taller = height + LINE * lines.len() as u32 + 6;
        let head = |height: u32| (format!("height=\"{height}\""), format!("viewBox=\"0 0 {width} {height}\""));
        let ((was, was_box), (is, is_box)) = (head(height), head(taller));
        self.svg = self.svg.replacen(&was, &is, 1).replacen(&was_box, &is_box, 1);
        let mut added = format!(
            "<rect x=\"0\" y=\"{height}\" width=\"{width}\" height=\"{}\" fill=\"#FFFFFF\"/>\n",
            taller - height
        );
        for (row, line) in lines.iter().enumerate() {
            let y = height + LINE * (row as u32 + 1) - 3;
            added += &format!(
                "<text x=\"12\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#6E747C\">{}</text>\n",
                escape(line)
            );
        }
        if let Some(end) = self.svg.rfind("</svg>") {
            self.svg.insert_str(end, &added);
        }
        self
    }

    /// Width and height in pixels.
    fn size(&self) -> Option<(u32, u32)> {
        let number = |name: &str| self.svg.split_once(&format!("{name}=\""))?.1.split('"').next()?.parse().ok();
        Some((number("width")?, number("height")?))
    }

    /// The drawing as SVG, to write to a file.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// Writes the drawing into a folder that is made if it is not there: as SVG, and as PNG where the path ends in `.png`, which
    /// `rsvg-convert` makes of it (Debian's package `librsvg2-bin`; `scripts/setup` installs it).
    ///
    /// # Errors
    /// [`Write`](NotebookError::Write); [`Draw`](NotebookError::Draw) without `rsvg-convert`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |source| NotebookError::Write { path: path.into(), source };
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        match path.extension() {
            Some(end) if end == "png" => std::fs::write(path, self.png()?).map_err(failed),
            _ => std::fs::write(path, &self.svg).map_err(failed),
        }
    }

    /// Writes `NAME.svg` and, where this machine has `rsvg-convert`, `NAME.png` into a folder.
    ///
    /// # Errors
    /// As [`save`](Self::save), but for a missing `rsvg-convert`.
    pub fn export(&self, folder: impl AsRef<Path>, name: &str) -> Result<()> {
        let folder = folder.as_ref();
        self.save(folder.join(format!("{name}.svg")))?;
        if converter().arg("--version").output().is_ok() {
            self.save(folder.join(format!("{name}.png")))?;
        }
        Ok(())
    }

    /// The drawing as the bytes of a PNG file, twice as large as on a screen, for print.
    ///
    /// # Errors
    /// [`Draw`](NotebookError::Draw) without `rsvg-convert`, or with what it says.
    pub fn png(&self) -> Result<Vec<u8>> {
        let failed = |reason: String| {
            NotebookError::Draw(format!("`rsvg-convert` makes PNG files, of Debian's package librsvg2-bin: {reason}"))
        };
        let mut program = converter();
        program.args(["--zoom", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = program.spawn().map_err(|error| failed(error.to_string()))?;
        let mut input = running.stdin.take();
        // It reads all before it writes anything.
        let written = input.as_mut().map_or(Ok(()), |input| input.write_all(self.svg.as_bytes()));
        drop(input);
        let output = running.wait_with_output().map_err(|error| failed(error.to_string()))?;
        match (written, output.status.success()) {
            (Ok(()), true) => Ok(output.stdout),
            (Err(error), true) => Err(failed(error.to_string())),
            _ => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

fn converter() -> Command {
    Command::new("rsvg-convert")
}

/// A text in lines of about so many letters, cut at spaces.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > letters {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

impl Show for Figure {
    fn html(&self) -> String {
        format!("<div>{}</div>", self.svg)
    }

    fn text(&self) -> String {
        format!("[{}]", self.title)
    }

    fn evcxr_display(&self) {
        emit(&[("image/svg+xml", &self.svg), ("text/plain", &self.text())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stand_below_the_drawing_and_are_cut_at_spaces() {
        let figure = Figure::draw((200, 100), |_| Ok(())).unwrap();
        let svg = figure.clone().noted("less is better; measured on a & b with many more words than fit").svg;
        assert!(svg.contains("height=\"138\"") || svg.contains("height=\"154\""), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(figure.clone().noted("").svg, figure.svg);
    }

    #[test]
    fn a_figure_becomes_a_png_or_says_what_is_missing() {
        let figure = Figure::draw((200, 100), |_| Ok(())).unwrap();
        match figure.png() {
            Ok(bytes) => assert_eq!(bytes[1..4], *b"PNG"),
            Err(error) => assert!(error.to_string().contains("librsvg2-bin"), "{error}"),
        }
        let folder = std::env::temp_dir().join(format!("cryptgpu-figure-{}", std::process::id()));
        figure.export(&folder, "one").unwrap();
        assert!(folder.join("one.svg").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
