//! plotters drawings as figures in a notebook.

use std::path::Path;

use cryptgpu_core::show::{Show, emit};
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

    /// The drawing as SVG, to write to a file.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// Writes the drawing as an SVG file, into a folder that is made if it is not there.
    ///
    /// # Errors
    /// [`Write`](NotebookError::Write).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |source| NotebookError::Write { path: path.into(), source };
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        std::fs::write(path, &self.svg).map_err(failed)
    }
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
