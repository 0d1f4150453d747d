//! Images of data sets as pictures in a notebook.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cryptgpu_core::show::{Show, emit, escape};
use ndarray::{ArrayView3, s};

use crate::{NotebookError, Result};

/// Height in pixels below which a picture is enlarged, by a whole factor, so that a 28-pixel digit can be seen.
const MIN_SIDE: usize = 140;

/// An image, ready to be shown: a PNG with a caption.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
/// use ndarray::Array3;
///
/// let grey = Array3::from_shape_fn((1, 28, 28), |(_, row, _)| 9 * row as u8); // channels, height, width
/// let picture = Picture::new(grey.view())?.caption("a ramp");
/// assert!(picture.html().starts_with("<figure"));
/// # Ok::<(), NotebookError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Picture {
    png: String,
    caption: String,
    shape: [usize; 3],
}

impl Picture {
    /// A picture of bytes in the order channel, row, column; one channel is grey, three are red, green and blue.
    ///
    /// # Errors
    /// [`PictureShape`](NotebookError::PictureShape) for any other number of channels, or no pixels.
    pub fn new(pixels: ArrayView3<'_, u8>) -> Result<Self> {
        let shape: [usize; 3] = pixels.dim().into();
        let [channels, height, width] = shape;
        let colour = match channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            _ => return Err(NotebookError::PictureShape { shape }),
        };
        if height == 0 || width == 0 {
            return Err(NotebookError::PictureShape { shape });
        }
        let scale = MIN_SIDE.div_ceil(height.max(width));
        let mut bytes = Vec::with_capacity(pixels.len() * scale * scale);
        for row in 0..height * scale {
            for column in 0..width * scale {
                bytes.extend(pixels.slice(s![.., row / scale, column / scale]));
            }
        }
        let side = |n: usize| u32::try_from(n * scale).map_err(|_| NotebookError::PictureShape { shape });
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side(width)?, side(height)?);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()?;
        Ok(Self { png: STANDARD.encode(file), caption: String::new(), shape })
    }

    /// A picture of numbers, the smallest black and the largest white (or full red, green and blue).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn scaled(values: ArrayView3<'_, f32>) -> Result<Self> {
        let (low, high) =
            values.iter().filter(|v| v.is_finite()).fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let range = if high > low { high - low } else { 1.0 };
        Self::new(values.mapv(|v| (255.0 * (v - low) / range).round() as u8).view())
    }

    /// Sets the line below the picture.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }
}

impl Show for Picture {
    fn html(&self) -> String {
        format!(
            "<figure style=\"margin:0\"><img src=\"data:image/png;base64,{}\" alt=\"{caption}\">\
             <figcaption>{caption}</figcaption></figure>",
            self.png,
            caption = escape(&self.caption)
        )
    }

    fn text(&self) -> String {
        let [channels, height, width] = self.shape;
        format!("[picture, {height}×{width}, {channels} channel(s)] {}", self.caption)
    }

    fn evcxr_display(&self) {
        if self.caption.is_empty() {
            emit(&[("image/png", &self.png), ("text/plain", &self.text())]);
        } else {
            emit(&[("text/html", &self.html()), ("text/plain", &self.text())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn decoded(picture: &Picture) -> (png::OutputInfo, Vec<u8>) {
        let file = STANDARD.decode(&picture.png).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        (reader.next_frame(&mut bytes).unwrap(), bytes)
    }

    #[test]
    fn a_small_picture_is_enlarged_pixel_by_pixel() {
        let pixels = Array3::from_shape_fn((3, 2, 70), |(c, row, column)| (100 * c + 50 * row + column % 50) as u8);
        let (info, bytes) = decoded(&Picture::new(pixels.view()).unwrap());
        assert_eq!((info.width, info.height), (140, 4));
        let at = |row: usize, column: usize, c: usize| bytes[(row * 140 + column) * 3 + c];
        for (row, column, c) in [(0, 0, 0), (3, 139, 2), (2, 77, 1)] {
            assert_eq!(at(row, column, c), pixels[[c, row / 2, column / 2]]);
        }
    }

    #[test]
    fn numbers_are_stretched_over_the_range() {
        let values = Array3::from_shape_vec((1, 1, 3), vec![-1.0f32, 0.0, 1.0]).unwrap();
        let (info, bytes) = decoded(&Picture::scaled(values.view()).unwrap());
        let step = info.width as usize / 3;
        assert_eq!([bytes[0], bytes[step], bytes[2 * step]], [0, 128, 255]);
        assert!(Picture::scaled(Array3::zeros((1, 4, 4)).view()).is_ok());
    }

    #[test]
    fn other_shapes_are_refused() {
        for shape in [(2, 4, 4), (1, 0, 4), (0, 4, 4)] {
            let error = Picture::new(Array3::zeros(shape).view()).unwrap_err();
            assert!(matches!(error, NotebookError::PictureShape { .. }), "{error}");
        }
    }
}
