//! Shuffles, votes, matches and reductions over the lanes of a warp.

use super::shared::Shared;
use super::warp::Warp;
use super::{LaneFault, fault};
use crate::checks::Check;
use crate::ir::{Op, Reduction, ShuffleMode, VoteMode};
use crate::lanes::{LANES, NONE};

impl Warp {
    /// Executes an instruction for which all its lanes are here.
    pub fn collective(&mut self, shared: &mut Shared<'_>, op: &Op, here: u32) -> Result<(), LaneFault> {
        match op {
            Op::WarpSync { .. } => {}
            Op::Shuffle { .. } => self.shuffle(op, here)?,
            Op::Vote { mode, d, a, .. } => {
                let bits = self.file.predicate(*a) & here;
                let truth = |value: bool| if value { u32::MAX } else { 0 };
                match mode {
                    VoteMode::Ballot => self.file.set_words(*d, here, &[bits; LANES]),
                    VoteMode::All => self.file.set_predicate(*d, here, truth(bits == here)),
                    VoteMode::Any => self.file.set_predicate(*d, here, truth(bits != 0)),
                    VoteMode::Uni => self.file.set_predicate(*d, here, truth(bits == 0 || bits == here)),
                }
            }
            Op::Match { all, long, d, p, a, .. } => self.matching(*all, *long, [*d, *p, *a], here),
            Op::Redux { op, signed, d, a, .. } => {
                let values = *self.file.words(*a);
                let chosen = (0..LANES).filter(|lane| here >> lane & 1 == 1).map(|lane| values[lane]);
                let result = chosen.reduce(|x, y| reduction(*op, *signed, x, y)).unwrap_or(0);
                self.file.set_words(*d, here, &[result; LANES]);
            }
            Op::Mma(mma) => {
                self.whole_warp(here)?;
                self.matrix_product(mma);
            }
            Op::LoadMatrix { .. } => {
                self.whole_warp(here)?;
                self.load_matrix(shared, op)?;
            }
            _ => unreachable!("not an instruction of several lanes"),
        }
        Ok(())
    }

    fn whole_warp(&self, here: u32) -> Result<(), LaneFault> {
        if here == u32::MAX {
            return Ok(());
        }
        let message = format!("a matrix instruction with only the lanes {here:#010x} of its warp");
        Err(fault(Check::WarpMask, message, here))
    }

    fn shuffle(&mut self, op: &Op, here: u32) -> Result<(), LaneFault> {
        let Op::Shuffle { mode, d, p, a, b, c, .. } = op else { return Ok(()) };
        let (values, distances, controls) = (*self.file.words(*a), *self.file.words(*b), *self.file.words(*c));
        let mut out = [0; LANES];
        let mut inside = 0;
        for lane in (0..LANES as u32).filter(|lane| here >> lane & 1 == 1) {
            let at = lane as usize;
            let (clamp, segment, distance) = (controls[at] & 31, controls[at] >> 8 & 31, distances[at] & 31);
            let last = (lane & segment) | (clamp & !segment);
            let first = lane & segment;
            let (source, valid) = match mode {
                ShuffleMode::Up => (lane.wrapping_sub(distance), lane as i32 - distance as i32 >= last as i32),
                ShuffleMode::Down => (lane + distance, lane + distance <= last),
                ShuffleMode::Bfly => (lane ^ distance, lane ^ distance <= last),
                ShuffleMode::Idx => {
                    let source = first | (distance & !segment);
                    (source, source <= last)
                }
            };
            let source = if valid { source } else { lane };
            if here >> source & 1 == 0 {
                let message = format!("lane {lane} reads lane {source} by a shuffle in which that lane takes no part");
                return Err(fault(Check::WarpMask, message, 1 << lane));
            }
            out[at] = values[source as usize];
            inside |= u32::from(valid) << lane;
        }
        self.file.set_words(*d, here, &out);
        if *p != NONE {
            self.file.set_predicate(*p, here, inside);
        }
        Ok(())
    }

    fn matching(&mut self, all: bool, long: bool, [d, p, a]: [u32; 3], here: u32) {
        let values: [u64; LANES] = if long { *self.file.longs(a) } else { self.file.words(a).map(u64::from) };
        let alike = |lane: usize| {
            (0..LANES)
                .filter(|&other| here >> other & 1 == 1 && values[other] == values[lane])
                .fold(0, |m, l| m | 1 << l)
        };
        let masks: [u32; LANES] = std::array::from_fn(alike);
        if !all {
            self.file.set_words(d, here, &masks);
            return;
        }
        let same = masks[here.trailing_zeros() as usize] == here;
        self.file.set_words(d, here, &[if same { here } else { 0 }; LANES]);
        if p != NONE {
            self.file.set_predicate(p, here, if same { u32::MAX } else { 0 });
        }
    }
}

fn reduction(op: Reduction, signed: bool, x: u32, y: u32) -> u32 {
    match op {
        Reduction::Add => x.wrapping_add(y),
        Reduction::Min if signed => (x as i32).min(y as i32) as u32,
        Reduction::Min => x.min(y),
        Reduction::Max if signed => (x as i32).max(y as i32) as u32,
        Reduction::Max => x.max(y),
        Reduction::And => x & y,
        Reduction::Or => x | y,
        Reduction::Xor => x ^ y,
    }
}
