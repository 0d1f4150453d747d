//! A buffer with a shape, row-major. Cloning shares the words; nothing changes them afterwards.

use super::{Binary, Buffer, Device, DeviceError, Unary, View, kernels};
use crate::ring::Ring;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use std::sync::Arc;

/// Ring words of some shape on a device. `Debug` shows shape and device, never the words.
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    shape: Vec<usize>,
}

impl Tensor {
    /// The words of `buffer` with `shape`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shape has another number of elements.
    pub fn new(buffer: Buffer, shape: &[usize]) -> Result<Self, DeviceError> {
        if buffer.len() != shape.iter().product::<usize>() {
            return Err(DeviceError::Shape {
                operation: "tensor",
                lhs: vec![buffer.len()],
                rhs: shape.to_vec(),
                rule: "the shape must have as many elements as there are words",
            });
        }
        Ok(Tensor::of(buffer, shape))
    }

    /// The words of a buffer that has as many as `shape` has elements, by its making.
    pub(crate) fn of(buffer: Buffer, shape: &[usize]) -> Self {
        debug_assert_eq!(buffer.len(), shape.iter().product::<usize>(), "a buffer of another length than its shape");
        Tensor { buffer: Arc::new(buffer), shape: shape.to_vec() }
    }

    /// A copy of an array on `device`.
    pub fn from_array<S, D>(device: Device, array: &ArrayBase<S, D>) -> Self
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        Tensor { buffer: Arc::new(device.upload(array.iter().copied().collect())), shape: array.shape().to_vec() }
    }

    /// Words that are all `value`.
    pub fn full(device: Device, shape: &[usize], value: u64) -> Self {
        Tensor { buffer: Arc::new(device.full(shape.iter().product(), value)), shape: shape.to_vec() }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The device it lives on.
    pub fn device(&self) -> Device {
        self.buffer.device()
    }

    /// The buffer that holds the words.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The words.
    pub fn view(&self) -> View<'_> {
        self.buffer.view()
    }

    /// The same words with another shape; nothing is copied.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shape has another number of elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, DeviceError> {
        if self.len() != shape.iter().product::<usize>() {
            return Err(DeviceError::Shape {
                operation: "reshape",
                lhs: self.shape.clone(),
                rhs: shape.to_vec(),
                rule: "both must have the same number of elements",
            });
        }
        Ok(Tensor { buffer: Arc::clone(&self.buffer), shape: shape.to_vec() })
    }

    /// The same, to be held for long: of a larger buffer's memory what is not needed is given back.
    pub(crate) fn settled(mut self) -> Self {
        if let Some(Buffer::Cpu(words)) = Arc::get_mut(&mut self.buffer) {
            words.settle();
        }
        self
    }

    /// x ∘ y element by element. `operation` is the caller's name for it, for errors.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Mixed`].
    pub fn binary(&self, operation: &'static str, op: Binary, rhs: &Tensor) -> Result<Self, DeviceError> {
        if self.shape != rhs.shape {
            return Err(DeviceError::Shape {
                operation,
                lhs: self.shape.clone(),
                rhs: rhs.shape.clone(),
                rule: "both must have the same shape",
            });
        }
        rhs.check_on(operation, self.device())?;
        Ok(self.binary_alike(op, rhs))
    }

    /// x ∘ y element by element, of tensors that have one shape and live on one device, by their making.
    pub(crate) fn binary_alike(&self, op: Binary, rhs: &Tensor) -> Self {
        let mut out = self.device().alloc(self.len());
        kernels::binary(Ring::Z64, op, self.view(), rhs.view(), out.view_mut());
        Tensor::of(out, &self.shape)
    }

    /// x + y element by element.
    ///
    /// # Errors
    /// As [`Tensor::binary`].
    pub fn add(&self, rhs: &Tensor) -> Result<Self, DeviceError> {
        self.binary("add", Binary::Add, rhs)
    }

    /// x − y element by element.
    ///
    /// # Errors
    /// As [`Tensor::binary`].
    pub fn sub(&self, rhs: &Tensor) -> Result<Self, DeviceError> {
        self.binary("subtract", Binary::Sub, rhs)
    }

    /// x · y element by element.
    ///
    /// # Errors
    /// As [`Tensor::binary`].
    pub fn mul(&self, rhs: &Tensor) -> Result<Self, DeviceError> {
        self.binary("multiply", Binary::Mul, rhs)
    }

    /// x ⊕ y element by element.
    ///
    /// # Errors
    /// As [`Tensor::binary`].
    pub fn xor(&self, rhs: &Tensor) -> Result<Self, DeviceError> {
        self.binary("xor", Binary::Xor, rhs)
    }

    /// x ∧ y element by element.
    ///
    /// # Errors
    /// As [`Tensor::binary`].
    pub fn and(&self, rhs: &Tensor) -> Result<Self, DeviceError> {
        self.binary("and", Binary::And, rhs)
    }

    /// x ∘ c element by element.
    pub fn unary(&self, op: Unary) -> Self {
        let device = self.device();
        let mut out = device.alloc(self.len());
        kernels::unary(Ring::Z64, op, self.view(), out.view_mut());
        Tensor { buffer: Arc::new(out), shape: self.shape.clone() }
    }

    /// Bits `low .. low + width` of every element, packed in planes as [`crate::ring::Layout`]
    /// tells: `width`·⌈n/64⌉ words.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] unless 1 ≤ width and low + width ≤ 64.
    pub fn to_planes(&self, low: u32, width: u32) -> Result<Buffer, DeviceError> {
        check_bits("to_planes", low, width)?;
        let device = self.device();
        let mut planes = device.alloc(width as usize * self.len().div_ceil(64));
        kernels::to_planes(Ring::Z64, low, width, self.view(), planes.view_mut());
        Ok(planes)
    }

    /// Elements below 2^width from their packed bits: the inverse of [`Tensor::to_planes`] at low 0.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// let x = Tensor::from_array(Device::Cpu, &ndarray::array![5, 0, 7, 2]);
    /// let planes = x.to_planes(0, 3)?;
    /// assert_eq!(planes.len(), 3, "three planes of one word each");
    /// assert_eq!(Tensor::from_planes(3, planes.view(), x.device(), &[4])?.to_array()?, x.to_array()?);
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Bits`] for a width outside 1 to 64, [`DeviceError::Shape`] when there are not
    /// `width`·⌈n/64⌉ words.
    pub fn from_planes(width: u32, planes: View, device: Device, shape: &[usize]) -> Result<Self, DeviceError> {
        check_bits("from_planes", 0, width)?;
        let n: usize = shape.iter().product();
        if planes.len() != width as usize * n.div_ceil(64) {
            return Err(DeviceError::Shape {
                operation: "from_planes",
                lhs: vec![planes.len()],
                rhs: shape.to_vec(),
                rule: "there must be width · ⌈n/64⌉ words",
            });
        }
        let mut out = device.alloc(n);
        kernels::from_planes(Ring::Z64, width, planes, out.view_mut());
        Tensor::new(out, shape)
    }

    /// The sum of all elements, as a tensor of shape `[1]`.
    pub fn sum(&self) -> Self {
        let device = self.device();
        let mut out = device.alloc(1);
        kernels::sum(Ring::Z64, self.len(), self.view(), out.view_mut());
        Tensor::of(out, &[1])
    }

    /// Tensors one after the other along the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when there are none or their other axes differ, [`DeviceError::Mixed`].
    pub fn concat(parts: &[&Tensor]) -> Result<Self, DeviceError> {
        let bad = |lhs: &[usize], rhs: &[usize]| DeviceError::Shape {
            operation: "concat",
            lhs: lhs.to_vec(),
            rhs: rhs.to_vec(),
            rule: "all axes but the first must be equal",
        };
        let first = parts.first().ok_or_else(|| bad(&[], &[]))?;
        let (rows, rest) = first.shape.split_first().ok_or_else(|| bad(&first.shape, &[]))?;
        let (mut rows, device) = (*rows, first.device());
        for part in &parts[1..] {
            part.check_on("concat", device)?;
            match part.shape.split_first() {
                Some((more, other)) if other == rest => rows += more,
                _ => return Err(bad(&first.shape, &part.shape)),
            }
        }
        let mut out = device.alloc(parts.iter().map(|part| part.len()).sum());
        let mut at = 0;
        for part in parts {
            out.slice_mut(at..at + part.len()).copy_from(part.view());
            at += part.len();
        }
        Tensor::new(out, &[&[rows], rest].concat())
    }

    /// Entries `range` of the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the range reaches beyond the axis.
    pub fn narrow(&self, range: std::ops::Range<usize>) -> Result<Self, DeviceError> {
        let bad = || DeviceError::Shape {
            operation: "narrow",
            lhs: self.shape.clone(),
            rhs: vec![range.start, range.end],
            rule: "the range must lie within the first axis",
        };
        let (&rows, rest) = self.shape.split_first().ok_or_else(bad)?;
        if range.start > range.end || range.end > rows {
            return Err(bad());
        }
        let inner: usize = rest.iter().product();
        let words = self.view().slice(range.start * inner..range.end * inner).to_buffer();
        Tensor::new(words, &[&[range.len()], rest].concat())
    }

    /// The same words on another device; nothing is copied where they are there.
    ///
    /// # Errors
    /// What went wrong on the device that they came from.
    pub fn to_device(&self, device: Device) -> Result<Self, DeviceError> {
        if self.device() == device {
            return Ok(self.clone());
        }
        Tensor::new(device.upload(self.view().to_host()?), &self.shape)
    }

    /// The same words on `device`, of a tensor in main memory; nothing is copied where they are there.
    pub(crate) fn uploaded(&self, device: Device) -> Self {
        match device {
            Device::Cpu => self.clone(),
            Device::Cuda(_) => Tensor::of(device.upload(self.view().on_host().to_vec()), &self.shape),
        }
    }

    /// Refuses a tensor that lives elsewhere.
    ///
    /// # Errors
    /// [`DeviceError::Mixed`].
    pub(crate) fn check_on(&self, operation: &'static str, expected: Device) -> Result<(), DeviceError> {
        let found = self.device();
        if found == expected { Ok(()) } else { Err(DeviceError::Mixed { operation, found, expected }) }
    }

    /// The buffer, without a copy when this is its only owner.
    pub fn into_buffer(self) -> Buffer {
        Arc::try_unwrap(self.buffer).unwrap_or_else(|shared| (*shared).clone())
    }

    /// The words as an array in main memory.
    ///
    /// # Errors
    /// What went wrong on the device while the words were computed, or as they were fetched. On a
    /// CPU nothing does.
    pub fn to_array(&self) -> Result<ArrayD<u64>, DeviceError> {
        let words = self.view().to_host()?;
        // The lengths agree by construction, so the fallback is never taken.
        Ok(ArrayD::from_shape_vec(IxDyn(&self.shape), words).unwrap_or_default())
    }

    /// The words in main memory, without a copy when this is their only owner.
    ///
    /// # Errors
    /// As [`Tensor::to_array`].
    pub fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        match Arc::try_unwrap(self.buffer) {
            Ok(buffer) => buffer.into_host(),
            Err(shared) => shared.view().to_host(),
        }
    }
}

fn check_bits(operation: &'static str, low: u32, width: u32) -> Result<(), DeviceError> {
    match width >= 1 && low.saturating_add(width) <= 64 {
        true => Ok(()),
        false => Err(DeviceError::Bits { operation, low, width }),
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?}, {})", self.shape, self.device())
    }
}
