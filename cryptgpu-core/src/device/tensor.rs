//! A buffer with a ring and a shape, row-major. Cloning shares the words; nothing changes them afterwards.

use super::{Binary, Buffer, Device, DeviceError, Unary, View, kernels};
use crate::ring::Ring;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use std::sync::Arc;

/// Elements of a ring, of some shape, on a device. `Debug` shows shape, device and ring, never the words.
///
/// In the ring of 32 bits a word of memory holds two elements. Where their number is odd another one fills the last word, which
/// operations compute like the others and nobody reads (`docs/adr/0049-two-elements-in-a-word.md`).
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    shape: Vec<usize>,
    ring: Ring,
}

impl Tensor {
    /// The words of `buffer` with `shape`, in the ring of 64 bits.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shape has another number of elements.
    pub fn new(buffer: Buffer, shape: &[usize]) -> Result<Self, DeviceError> {
        Tensor::new_in(Ring::Z64, buffer, shape)
    }

    /// The elements of a ring in `buffer` with `shape`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the elements of that shape take another number of words.
    pub fn new_in(ring: Ring, buffer: Buffer, shape: &[usize]) -> Result<Self, DeviceError> {
        if buffer.len() != ring.words(shape.iter().product()) {
            return Err(DeviceError::Shape {
                operation: "tensor",
                lhs: vec![buffer.len()],
                rhs: shape.to_vec(),
                rule: "the shape must have as many elements as there are words",
            });
        }
        Ok(Tensor::of_ring(ring, buffer, shape))
    }

    /// The words of a buffer that has as many as `shape` has elements, by its making.
    pub(crate) fn of(buffer: Buffer, shape: &[usize]) -> Self {
        Tensor::of_ring(Ring::Z64, buffer, shape)
    }

    /// The elements of a buffer that has as many words as those of `shape` take, by its making.
    pub(crate) fn of_ring(ring: Ring, buffer: Buffer, shape: &[usize]) -> Self {
        debug_assert_eq!(buffer.len(), ring.words(shape.iter().product()), "a buffer of another length than its shape");
        Tensor { buffer: Arc::new(buffer), shape: shape.to_vec(), ring }
    }

    /// A copy of an array on `device`, in the ring of 64 bits.
    pub fn from_array<S, D>(device: Device, array: &ArrayBase<S, D>) -> Self
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        Tensor::of(device.upload(array.iter().copied().collect()), array.shape())
    }

    /// A copy of an array on `device`, modulo the size of the ring.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// use cryptgpu_core::ring::Ring;
    /// let x = Tensor::from_array_in(Ring::Z32, Device::Cpu, &ndarray::array![u64::MAX, 2, 3]);
    /// assert_eq!((x.len(), x.view().len()), (3, 2), "three elements in two words");
    /// assert_eq!(x.add(&x)?.to_array()?, ndarray::array![0xffff_fffe, 4, 6].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    pub fn from_array_in<S, D>(ring: Ring, device: Device, array: &ArrayBase<S, D>) -> Self
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        Tensor::of_ring(ring, device.upload(ring.pack(array.iter().copied())), array.shape())
    }

    /// Words that are all `value`, in the ring of 64 bits.
    pub fn full(device: Device, shape: &[usize], value: u64) -> Self {
        Tensor::full_in(Ring::Z64, device, shape, value)
    }

    /// Elements of a ring that are all `value`, modulo its size.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// use cryptgpu_core::ring::Ring;
    /// let x = Tensor::full_in(Ring::Z32, Device::Cpu, &[3], u64::MAX);
    /// assert_eq!((x.ring(), x.view().len()), (Ring::Z32, 2), "three elements in two words");
    /// assert_eq!(x.to_array()?, ndarray::array![0xffff_ffff, 0xffff_ffff, 0xffff_ffff].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    pub fn full_in(ring: Ring, device: Device, shape: &[usize], value: u64) -> Self {
        Tensor::constant(ring, device, shape, value)
    }

    /// Elements that are all `value`, in the ring and on the device of this tensor.
    pub(crate) fn full_like(&self, shape: &[usize], value: u64) -> Self {
        Tensor::constant(self.ring, self.device(), shape, value)
    }

    /// Elements that are all `value`, what fills the last word among them: it is no secret.
    fn constant(ring: Ring, device: Device, shape: &[usize], value: u64) -> Self {
        Tensor::of_ring(ring, device.full(ring.words(shape.iter().product()), ring.splat(value)), shape)
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The ring that its elements are of.
    pub fn ring(&self) -> Ring {
        self.ring
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
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
        Ok(Tensor { buffer: Arc::clone(&self.buffer), shape: shape.to_vec(), ring: self.ring })
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
    /// [`DeviceError::Shape`], [`DeviceError::Rings`] or [`DeviceError::Mixed`].
    pub fn binary(&self, operation: &'static str, op: Binary, rhs: &Tensor) -> Result<Self, DeviceError> {
        if self.shape != rhs.shape {
            return Err(DeviceError::Shape {
                operation,
                lhs: self.shape.clone(),
                rhs: rhs.shape.clone(),
                rule: "both must have the same shape",
            });
        }
        self.check_alike(operation, rhs)?;
        Ok(self.binary_alike(op, rhs))
    }

    /// x ∘ y element by element, of tensors of one ring and shape that live on one device, by their making.
    pub(crate) fn binary_alike(&self, op: Binary, rhs: &Tensor) -> Self {
        let mut out = self.alloc();
        kernels::binary(self.ring, op, self.view(), rhs.view(), out.view_mut());
        Tensor::of_ring(self.ring, out, &self.shape)
    }

    /// Memory for as many elements, that is written before it is read.
    fn alloc(&self) -> Buffer {
        self.device().alloc(self.buffer.len())
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
        let mut out = self.alloc();
        kernels::unary(self.ring, op, self.view(), out.view_mut());
        Tensor::of_ring(self.ring, out, &self.shape)
    }

    /// Bits `low .. low + width` of every element, packed in planes as [`crate::ring::Layout`]
    /// tells, for as many as fill words ([`Ring::filled`]): `width`·⌈n/64⌉ words.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] unless 1 ≤ width and low + width are bits of the ring.
    pub fn to_planes(&self, low: u32, width: u32) -> Result<Buffer, DeviceError> {
        check_bits("to_planes", self.ring, low, width)?;
        let device = self.device();
        let mut planes = device.alloc(width as usize * self.len().div_ceil(64));
        kernels::to_planes(self.ring, low, width, self.view(), planes.view_mut());
        Ok(planes)
    }

    /// Elements below 2^width of the ring of 64 bits from their packed bits: the inverse of [`Tensor::to_planes`] at low 0.
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
    /// [`DeviceError::Bits`] for a width outside 1 to 64 (in another ring, to its bits), [`DeviceError::Shape`] when there are not
    /// `width`·⌈n/64⌉ words.
    pub fn from_planes(width: u32, planes: View, device: Device, shape: &[usize]) -> Result<Self, DeviceError> {
        Tensor::from_planes_in(Ring::Z64, width, planes, device, shape)
    }

    /// [`Tensor::from_planes`] in a ring.
    ///
    /// # Errors
    /// As [`Tensor::from_planes`].
    pub fn from_planes_in(
        ring: Ring,
        width: u32,
        planes: View,
        device: Device,
        shape: &[usize],
    ) -> Result<Self, DeviceError> {
        check_bits("from_planes", ring, 0, width)?;
        let n: usize = shape.iter().product();
        if planes.len() != width as usize * n.div_ceil(64) {
            return Err(DeviceError::Shape {
                operation: "from_planes",
                lhs: vec![planes.len()],
                rhs: shape.to_vec(),
                rule: "there must be width · ⌈n/64⌉ words",
            });
        }
        let mut out = device.alloc(ring.words(n));
        kernels::from_planes(ring, width, planes, out.view_mut());
        Ok(Tensor::of_ring(ring, out, shape))
    }

    /// The sum of all elements, as a tensor of shape `[1]`.
    pub fn sum(&self) -> Self {
        let mut out = self.device().alloc(1);
        kernels::sum(self.ring, self.len(), self.view(), out.view_mut());
        Tensor::of_ring(self.ring, out, &[1])
    }

    /// Elements `first .. first + n` to `out`, from its element `at` on.
    fn copy_to(&self, first: usize, n: usize, out: &mut Buffer, at: usize) {
        match self.ring {
            Ring::Z64 => out.slice_mut(at..at + n).copy_from(self.buffer.slice(first..first + n)),
            // In the middle of a word, perhaps.
            Ring::Z32 => kernels::copy_part(self.ring, n, first, self.view(), at, out.view_mut()),
        }
    }

    /// Memory for `n` elements of this ring on this device, whose last word is zero where an element but fills it.
    fn alloc_part(&self, n: usize) -> Buffer {
        let mut out = self.device().alloc(self.ring.words(n));
        if self.ring.filled(n) > n {
            let last = out.len() - 1;
            out.slice_mut(last..last + 1).fill(0);
        }
        out
    }

    /// Elements `first .. first + n` in row-major order, as a tensor of that shape; a part of this by its making.
    pub(crate) fn part(&self, first: usize, shape: &[usize]) -> Self {
        let n = shape.iter().product();
        let mut out = self.alloc_part(n);
        self.copy_to(first, n, &mut out, 0);
        Tensor::of_ring(self.ring, out, shape)
    }

    /// Tensors one after the other along the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when there are none or their other axes differ, [`DeviceError::Rings`], [`DeviceError::Mixed`].
    pub fn concat(parts: &[&Tensor]) -> Result<Self, DeviceError> {
        let bad = |lhs: &[usize], rhs: &[usize]| DeviceError::Shape {
            operation: "concat",
            lhs: lhs.to_vec(),
            rhs: rhs.to_vec(),
            rule: "all axes but the first must be equal",
        };
        let first = parts.first().ok_or_else(|| bad(&[], &[]))?;
        let (rows, rest) = first.shape.split_first().ok_or_else(|| bad(&first.shape, &[]))?;
        let mut rows = *rows;
        for part in &parts[1..] {
            first.check_alike("concat", part)?;
            match part.shape.split_first() {
                Some((more, other)) if other == rest => rows += more,
                _ => return Err(bad(&first.shape, &part.shape)),
            }
        }
        let mut out = first.alloc_part(parts.iter().map(|part| part.len()).sum());
        let mut at = 0;
        for part in parts {
            part.copy_to(0, part.len(), &mut out, at);
            at += part.len();
        }
        Ok(Tensor::of_ring(first.ring, out, &[&[rows], rest].concat()))
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
        Ok(self.part(range.start * inner, &[&[range.len()], rest].concat()))
    }

    /// The same words on another device; nothing is copied where they are there.
    ///
    /// # Errors
    /// What went wrong on the device that they came from.
    pub fn to_device(&self, device: Device) -> Result<Self, DeviceError> {
        if self.device() == device {
            return Ok(self.clone());
        }
        Tensor::new_in(self.ring, device.upload(self.view().to_host()?), &self.shape)
    }

    /// The same words on `device`, of a tensor in main memory; nothing is copied where they are there.
    pub(crate) fn uploaded(&self, device: Device) -> Self {
        match device {
            Device::Cpu => self.clone(),
            device => Tensor::of_ring(self.ring, device.upload(self.view().on_host().to_vec()), &self.shape),
        }
    }

    /// The elements of a tensor of 64 bits modulo 2^32; what fills the last word is zero. One of 32 bits as it is.
    pub(crate) fn reduced(&self) -> Self {
        if self.ring == Ring::Z32 {
            return self.clone();
        }
        let mut out = self.device().alloc(Ring::Z32.words(self.len()));
        kernels::reduce(self.view(), out.view_mut());
        Tensor::of_ring(Ring::Z32, out, &self.shape)
    }

    /// Refuses a tensor that lives elsewhere.
    ///
    /// # Errors
    /// [`DeviceError::Mixed`].
    pub(crate) fn check_on(&self, operation: &'static str, expected: Device) -> Result<(), DeviceError> {
        let found = self.device();
        if found == expected { Ok(()) } else { Err(DeviceError::Mixed { operation, found, expected }) }
    }

    /// Refuses a second operand of another ring, or that lives elsewhere.
    ///
    /// # Errors
    /// [`DeviceError::Rings`], [`DeviceError::Mixed`].
    pub(crate) fn check_alike(&self, operation: &'static str, rhs: &Tensor) -> Result<(), DeviceError> {
        if self.ring != rhs.ring {
            let (lhs, lhs_ring, rhs, rhs_ring) = (self.shape.clone(), self.ring, rhs.shape.clone(), rhs.ring);
            return Err(DeviceError::Rings { operation, lhs, lhs_ring, rhs, rhs_ring });
        }
        rhs.check_on(operation, self.device())
    }

    /// The buffer, without a copy when this is its only owner.
    pub fn into_buffer(self) -> Buffer {
        Arc::try_unwrap(self.buffer).unwrap_or_else(|shared| (*shared).clone())
    }

    /// The elements as an array in main memory, below 2^32 in the ring of 32 bits.
    ///
    /// # Errors
    /// What went wrong on the device while the words were computed, or as they were fetched. On a
    /// CPU nothing does.
    pub fn to_array(&self) -> Result<ArrayD<u64>, DeviceError> {
        let elements = self.ring.unpack(self.view().to_host()?, self.len());
        // The lengths agree by construction, so the fallback is never taken.
        Ok(ArrayD::from_shape_vec(IxDyn(&self.shape), elements).unwrap_or_default())
    }

    /// The elements in main memory, in row-major order; without a copy when this is the only owner of elements of 64 bits.
    ///
    /// # Errors
    /// As [`Tensor::to_array`].
    pub fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        let (ring, n) = (self.ring, self.len());
        let words = match Arc::try_unwrap(self.buffer) {
            Ok(buffer) => buffer.into_host(),
            Err(shared) => shared.view().to_host(),
        };
        Ok(ring.unpack(words?, n))
    }
}

fn check_bits(operation: &'static str, ring: Ring, low: u32, width: u32) -> Result<(), DeviceError> {
    match width >= 1 && low.saturating_add(width) <= ring.bits() {
        true => Ok(()),
        false => Err(DeviceError::Bits { operation, ring, low, width }),
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ring {
            Ring::Z64 => write!(f, "Tensor({:?}, {})", self.shape, self.device()),
            Ring::Z32 => write!(f, "Tensor({:?}, {}, {})", self.shape, self.device(), self.ring),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Word;
    use ndarray::Array1;

    const RINGS: [Ring; 2] = [Ring::Z32, Ring::Z64];

    fn tensor(ring: Ring, elements: impl IntoIterator<Item = u64>) -> Tensor {
        Tensor::from_array_in(ring, Device::Cpu, &Array1::from_iter(elements))
    }

    /// What fills the last word of a tensor.
    fn filling(x: &Tensor) -> Option<u32> {
        (x.ring() == Ring::Z32 && x.len() % 2 == 1).then(|| u32::of(x.view().on_host())[x.len()])
    }

    #[test]
    fn parts_take_nothing_along() {
        for ring in RINGS {
            let x = tensor(ring, 100..117);
            for (start, end) in [(0, 17), (0, 1), (1, 4), (3, 8), (4, 9), (16, 17), (5, 5)] {
                let part = x.narrow(start..end).unwrap();
                let expected: Vec<u64> = (100 + start as u64..100 + end as u64).collect();
                assert!(filling(&part).is_none_or(|filling| filling == 0), "{ring}, {start}..{end}");
                assert_eq!((part.len(), part.into_host().unwrap()), (end - start, expected), "{ring}");
            }
            let parts = [x.narrow(0..3).unwrap(), x.narrow(3..4).unwrap(), x.narrow(4..9).unwrap()];
            let all = Tensor::concat(&parts.each_ref()).unwrap();
            assert!(filling(&all).is_none_or(|filling| filling == 0));
            assert_eq!(all.to_array().unwrap(), x.narrow(0..9).unwrap().to_array().unwrap());
            assert_eq!(
                x.part(5, &[3, 2]).to_array().unwrap(),
                ndarray::array![[105, 106], [107, 108], [109, 110]].into_dyn()
            );
        }
    }

    #[test]
    fn operations_are_modulo_the_size_of_the_ring() {
        for ring in RINGS {
            let (a, b) = (ring.residue(0x8765_4321_fedc_ba98), ring.residue(0xfedc_ba98_7654_3210));
            let (x, y) = (tensor(ring, [a, b, 7]), tensor(ring, [b, a, 5]));
            let check = |z: Tensor, f: &dyn Fn(u64, u64) -> u64| {
                assert_eq!(z.into_host().unwrap(), [f(a, b), f(b, a), f(7, 5)].map(|z| ring.residue(z)), "{ring}");
            };
            check(x.add(&y).unwrap(), &u64::wrapping_add);
            check(x.sub(&y).unwrap(), &u64::wrapping_sub);
            check(x.mul(&y).unwrap(), &u64::wrapping_mul);
            check(x.xor(&y).unwrap(), &|a, b| a ^ b);
            check(x.and(&y).unwrap(), &|a, b| a & b);
            check(x.unary(Unary::Add(u64::MAX)), &|a, _| a.wrapping_sub(1));
            check(x.unary(Unary::Sar(3)), &|a, _| (ring.signed(a) >> 3) as u64);
            check(x.unary(Unary::Shr(3)), &|a, _| a >> 3);
            assert_eq!(x.sum().into_host().unwrap(), [ring.residue(a.wrapping_add(b).wrapping_add(7))]);
            assert_eq!(x.full_like(&[3], 9).into_host().unwrap(), [9; 3]);
        }
    }

    #[test]
    fn planes_hold_the_bits_of_elements() {
        for ring in RINGS {
            for n in [1, 2, 511, 512, 513, 577] {
                let x = tensor(ring, (0..n as u64).map(|i| ring.residue(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
                let planes = x.to_planes(3, 20).unwrap();
                let back = Tensor::from_planes_in(ring, 20, planes.view(), Device::Cpu, &[n]).unwrap();
                let expected = x.to_array().unwrap().mapv(|x| x >> 3 & 0xf_ffff);
                assert_eq!(back.to_array().unwrap(), expected, "{ring}, n = {n}");
            }
            let error = tensor(ring, [1]).to_planes(ring.bits() - 3, 4).unwrap_err().to_string();
            assert!(error.ends_with(&format!("within 0 to {}", ring.bits())), "{error}");
        }
    }

    #[test]
    fn a_reduction_keeps_the_lower_halves() {
        for n in [0, 1, 2, 511, 1000] {
            let x = tensor(Ring::Z64, (0..n as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let y = x.reduced();
            assert_eq!((y.ring(), y.shape()), (Ring::Z32, [n].as_slice()));
            assert!(filling(&y).is_none_or(|filling| filling == 0));
            assert_eq!(y.to_array().unwrap(), x.to_array().unwrap().mapv(|x| x & 0xffff_ffff));
            assert_eq!(y.reduced().to_array().unwrap(), y.to_array().unwrap());
        }
    }

    #[test]
    fn rings_do_not_mix() {
        let (x, y) = (tensor(Ring::Z32, [1, 2, 3]), tensor(Ring::Z64, [1, 2, 3]));
        for error in [x.add(&y).unwrap_err(), Tensor::concat(&[&y, &x]).unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(error, DeviceError::Rings { .. }), "{text}");
            assert!(text.contains("[3]") && text.contains("32 bits") && text.contains("64 bits"), "{text}");
        }
        let error = Tensor::new_in(Ring::Z32, Device::Cpu.zeros(3), &[3]).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { .. }), "{error}");
        assert_eq!(format!("{x:?}, {y:?}"), "Tensor([3], cpu, 32 bits), Tensor([3], cpu)");
    }
}
