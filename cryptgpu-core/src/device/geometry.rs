//! Shapes of two-dimensional windows: one place that knows how stride, padding and dilation
//! make an output size, for convolution and pooling, private and plaintext.

/// Why a window does not fit its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// A size that must be at least one is zero.
    #[error("{what} must be at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// The dilated kernel is larger than the padded input.
    #[error("a window of {window} does not fit an input of {input} with padding {before} + {after} ({axis})")]
    TooSmall {
        /// Height or width.
        axis: &'static str,
        /// Extent of the dilated window.
        window: usize,
        /// Input size.
        input: usize,
        /// Padding before.
        before: usize,
        /// Padding after.
        after: usize,
    },
    /// Sizes whose sum or product is no number of this machine.
    #[error("kernel, dilation and padding along the {axis} are too large to add up: use smaller ones")]
    TooLarge {
        /// Height or width.
        axis: &'static str,
    },
    /// Channels do not divide into groups.
    #[error("{channels} {what} channels do not divide into {groups} groups")]
    Groups {
        /// Input or output.
        what: &'static str,
        /// How many channels.
        channels: usize,
        /// How many groups.
        groups: usize,
    },
}

/// A two-dimensional window that slides over an image: kernel, stride, padding on each side
/// (they may differ, as TensorFlow's do), dilation. Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PoolGeometry {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Padding: top, bottom, left, right.
    pub padding: [usize; 4],
    /// Distance between the kernel's taps; 1 is dense.
    pub dilation: [usize; 2],
}

impl PoolGeometry {
    /// A square kernel with the same stride and padding on all sides, dense.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        PoolGeometry { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2] }
    }

    /// Output height and width for an input of `[height, width]`: ⌊(in + pad − dilation·(kernel − 1) − 1) / stride⌋ + 1.
    ///
    /// # Errors
    /// When a size is zero or too large, or the window does not fit.
    pub fn output(&self, input: [usize; 2]) -> Result<[usize; 2], GeometryError> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let (before, after) = (self.padding[2 * axis], self.padding[2 * axis + 1]);
            let checks =
                [("kernel", self.kernel[axis]), ("stride", self.stride[axis]), ("dilation", self.dilation[axis])];
            for (what, value) in checks {
                if value == 0 {
                    return Err(GeometryError::Zero { what });
                }
            }
            let axis_name = ["height", "width"][axis];
            let too_large = || GeometryError::TooLarge { axis: axis_name };
            let reach = self.dilation[axis].checked_mul(self.kernel[axis] - 1);
            let window = reach.and_then(|reach| reach.checked_add(1)).ok_or_else(too_large)?;
            let padded = input[axis].checked_add(before).and_then(|size| size.checked_add(after));
            let padded = padded.ok_or_else(too_large)?;
            if window > padded {
                return Err(GeometryError::TooSmall { axis: axis_name, window, input: input[axis], before, after });
            }
            out[axis] = (padded - window) / self.stride[axis] + 1;
        }
        Ok(out)
    }

    /// These windows over planes of `input` height and width.
    ///
    /// # Errors
    /// As [`PoolGeometry::output`].
    pub fn over(self, input: [usize; 2]) -> Result<PlaneWindows, GeometryError> {
        Ok(PlaneWindows { window: self, input, output: self.output(input)? })
    }
}

/// Windows over image planes of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaneWindows {
    /// The windows.
    pub window: PoolGeometry,
    /// Height and width of an input plane.
    pub input: [usize; 2],
    /// Height and width of an output plane: how many windows there are.
    pub output: [usize; 2],
}

/// The rows and columns of a kernel that see an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeenKernel {
    /// The windows with that part as their kernel, which give as many outputs.
    pub window: PoolGeometry,
    /// The part's first row and column.
    pub first: [usize; 2],
}

impl PlaneWindows {
    /// The part of the kernel beyond which it only ever sees padding: of 3 × 3 with padding 1 on a plane of 1 × 1 the middle. None
    /// where that is the whole kernel, nothing, or a part of which padding cannot say where it begins.
    ///
    /// ```
    /// use cryptgpu_core::device::PoolGeometry;
    /// let seen = PoolGeometry::square(3, 1, 1).over([1, 1])?.seen().ok_or("not all of it")?;
    /// assert_eq!((seen.window, seen.first), (PoolGeometry::square(1, 1, 0), [1, 1]));
    /// assert_eq!(PoolGeometry::square(3, 1, 1).over([2, 2])?.seen(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seen(&self) -> Option<SeenKernel> {
        let PlaneWindows { window, input, output } = *self;
        let (mut first, mut seen) = ([0; 2], window);
        for axis in 0..2 {
            let (stride, dilation, before) = (window.stride[axis], window.dilation[axis], window.padding[2 * axis]);
            // The first window under whose tap an input lies, if any, is the first that begins late enough.
            let sees = |tap: &usize| {
                let from = before.saturating_sub(tap * dilation).div_ceil(stride);
                from < output[axis] && from * stride + tap * dilation < input[axis] + before
            };
            let last = (0..window.kernel[axis]).rev().find(sees)?;
            first[axis] = (0..=last).find(sees).unwrap_or(last).min(before / dilation);
            seen.kernel[axis] = last + 1 - first[axis];
            seen.padding[2 * axis] = before - first[axis] * dilation;
            let reach = (output[axis] - 1) * stride + dilation * (seen.kernel[axis] - 1) + 1;
            seen.padding[2 * axis + 1] = reach.saturating_sub(input[axis] + seen.padding[2 * axis]);
        }
        let pays = seen.kernel != window.kernel && seen.output(input) == Ok(output);
        pays.then_some(SeenKernel { window: seen, first })
    }
}

/// The sizes of two matrix products that are added: xₜ `[m, kₜ]` (stored as `[kₜ, m]` where the left factors are
/// `transposed`) times yₜ `[kₜ, n]` (stored as `[n, kₜ]` where the right ones are).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatmulGeometry {
    /// Rows and columns of the result, [m, n].
    pub size: [usize; 2],
    /// The inner dimensions [k₀, k₁].
    pub depths: [usize; 2],
    /// Whether the left and whether the right factors are stored transposed.
    pub transposed: [bool; 2],
}

/// A two-dimensional convolution: input NCHW, weight `[out, in / groups, kernel height, kernel width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ConvGeometry {
    /// Images in the batch.
    pub batch: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Input height and width.
    pub input: [usize; 2],
    /// Output channels.
    pub out_channels: usize,
    /// The window.
    pub window: PoolGeometry,
    /// Groups: each output channel sees `in_channels / groups` input channels.
    pub groups: usize,
}

impl ConvGeometry {
    /// Output height and width.
    ///
    /// # Errors
    /// As [`ConvGeometry::windows`].
    pub fn output(&self) -> Result<[usize; 2], GeometryError> {
        Ok(self.windows()?.output)
    }

    /// The windows over a channel of the input.
    ///
    /// # Errors
    /// When the window does not fit, or channels do not divide into groups.
    pub fn windows(&self) -> Result<PlaneWindows, GeometryError> {
        if self.groups == 0 {
            return Err(GeometryError::Zero { what: "groups" });
        }
        for (what, channels) in [("input", self.in_channels), ("output", self.out_channels)] {
            if channels % self.groups != 0 {
                return Err(GeometryError::Groups { what, channels, groups: self.groups });
            }
        }
        self.window.over(self.input)
    }

    /// Shape of the input: batch, channels, height, width.
    pub fn input_shape(&self) -> [usize; 4] {
        [self.batch, self.in_channels, self.input[0], self.input[1]]
    }

    /// Shape of the weight.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups.max(1), self.window.kernel[0], self.window.kernel[1]]
    }

    /// Shape of the output: batch, out channels, height, width.
    ///
    /// # Errors
    /// As [`ConvGeometry::output`].
    pub fn output_shape(&self) -> Result<[usize; 4], GeometryError> {
        let [height, width] = self.output()?;
        Ok([self.batch, self.out_channels, height, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_near_the_end_of_the_integers_are_errors() {
        let dense = PoolGeometry::square(3, 1, 0);
        let far = PoolGeometry { dilation: [1, 1 << 63], ..dense };
        assert_eq!(far.output([8, 8]), Err(GeometryError::TooLarge { axis: "width" }));
        let padded = PoolGeometry { padding: [usize::MAX, 1, 0, 0], ..dense };
        assert_eq!(padded.output([8, 8]), Err(GeometryError::TooLarge { axis: "height" }));
        assert_eq!(dense.output([8, 8]), Ok([6, 6]));
    }
}
