//! Matrix products and the loads of their fragments. The layouts are those of the PTX manual, "Matrix Fragments for
//! mma": a fragment's element in lane `l` lies in row or column `l / 4` and, four bytes or one double at a time, in
//! group `l % 4`.

use super::shared::Shared;
use super::warp::Warp;
use super::{AtLane, LaneFault};
use crate::ir::{Mma, Op};
use crate::lanes::{LANES, NONE, Reg};
use crate::memory::address::aligned;
use crate::memory::shared::Touch;

/// The dot product of two rows of bytes: below 2²² in magnitude.
#[inline(always)]
fn dot(x: &[i16; 32], y: &[i16; 32]) -> i32 {
    x.iter().zip(y).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

impl Warp {
    /// `mma.sync`: D = A·B + C.
    pub fn matrix_product(&mut self, mma: &Mma) {
        if mma.shape.double {
            self.product_of_doubles(mma);
        } else {
            self.product_of_bytes(mma);
        }
    }

    /// The byte of a fragment's word.
    #[inline(always)]
    fn byte(&self, reg: Reg, lane: usize, index: usize, signed: bool) -> i16 {
        let byte = (self.file.words(reg)[lane] >> (8 * index)) as u8;
        if signed { i16::from(byte as i8) } else { i16::from(byte) }
    }

    fn product_of_bytes(&mut self, mma: &Mma) {
        let shape = mma.shape;
        let (m, k) = (usize::from(shape.m), usize::from(shape.k));
        let mut a = [[0i16; 32]; 16];
        let mut b = [[0i16; 32]; 8];
        for lane in 0..LANES {
            let (group, place) = (lane / 4, lane % 4);
            // A's words: rows `group` and `group + 8` alternate (16 rows only), then columns from 16 on.
            let a_words = if m == 16 { k / 8 } else { k / 16 };
            for (word, &reg) in mma.a.iter().enumerate().take(a_words) {
                let (row, column) = if m == 16 { (group + 8 * (word % 2), 16 * (word / 2)) } else { (group, 0) };
                for index in 0..4 {
                    a[row][column + 4 * place + index] = self.byte(reg, lane, index, shape.a_signed);
                }
            }
            for (word, &reg) in mma.b.iter().enumerate().take(k / 16) {
                for index in 0..4 {
                    b[group][16 * word + 4 * place + index] = self.byte(reg, lane, index, shape.b_signed);
                }
            }
        }
        let mut outs = [[0u32; LANES]; 4];
        let words = if m == 16 { 4 } else { 2 };
        for (word, out) in outs.iter_mut().enumerate().take(words) {
            let c = self.file.words(mma.c[word]);
            for lane in 0..LANES {
                let (row, column) = (lane / 4 + 8 * (word / 2), 2 * (lane % 4) + word % 2);
                let sum = i64::from(c[lane] as i32) + i64::from(dot(&a[row], &b[column]));
                out[lane] = if shape.saturate {
                    sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as u32
                } else {
                    sum as u32
                };
            }
        }
        for (word, out) in outs.iter().enumerate().take(words) {
            self.file.set_words(mma.d[word], u32::MAX, out);
        }
    }

    /// `m8n8k4` of doubles: sums in the order of k, each step one fused multiply-add.
    fn product_of_doubles(&mut self, mma: &Mma) {
        let value = |file: &super::warp::File, reg: Reg, lane: usize| f64::from_bits(file.longs(reg)[lane]);
        let mut outs = [[0u64; LANES]; 2];
        for (word, out) in outs.iter_mut().enumerate() {
            for (lane, out) in out.iter_mut().enumerate() {
                let (row, column) = (lane / 4, 2 * (lane % 4) + word);
                let mut sum = value(&self.file, mma.c[word], lane);
                for k in 0..4 {
                    let a = value(&self.file, mma.a[0], 4 * row + k);
                    let b = value(&self.file, mma.b[0], 4 * column + k);
                    sum = a.mul_add(b, sum);
                }
                *out = sum.to_bits();
            }
        }
        for (word, out) in outs.iter().enumerate() {
            self.file.set_longs(mma.d[word], u32::MAX, out);
        }
    }

    /// `ldmatrix`: lanes 8i to 8i + 7 give the addresses of the rows of matrix i, each of 16 bytes; lane l gets elements
    /// 2(l % 4) and the next of row l / 4 (of column l / 4, if transposed).
    pub fn load_matrix(&mut self, shared: &mut Shared<'_>, op: &Op) -> Result<(), LaneFault> {
        let Op::LoadMatrix { count, transposed, at, d } = op else { return Ok(()) };
        let addresses = self.addresses(at);
        for (matrix, &reg) in d.iter().enumerate().take(usize::from(*count)).filter(|(_, reg)| **reg != NONE) {
            let mut elements = [[0u16; 8]; 8];
            for (row, elements) in elements.iter_mut().enumerate() {
                let lane = 8 * matrix + row;
                aligned(addresses[lane], 16).at_lane(lane)?;
                let offset = shared.memory.bounds(addresses[lane], 16).at_lane(lane)?;
                shared.memory.touch(offset, 16, Touch::Read, self.index).at_lane(lane)?;
                for (column, element) in elements.iter_mut().enumerate() {
                    *element = shared.memory.load(offset + 2 * column, 2) as u16;
                }
            }
            let out = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                let pair = if *transposed {
                    [elements[column][row], elements[column + 1][row]]
                } else {
                    [elements[row][column], elements[row][column + 1]]
                };
                u32::from(pair[0]) | u32::from(pair[1]) << 16
            });
            self.file.set_words(reg, u32::MAX, &out);
        }
        Ok(())
    }
}
