//! Places for registers. PTX names thousands of registers that live for a few instructions each; sharing places keeps a
//! warp's file in the cache. Intervals are hulls of liveness over the order of the code, placed by a linear scan. All
//! writes are masked by lane, so that lanes at different places of the code never disturb each other.

use std::collections::BTreeSet;

use super::{Class, Instr, Op, Role};
use crate::lanes::{NONE, Reg};

/// What `allocate` found.
pub struct Allocation {
    /// Place of every register by number, in words.
    pub places: Vec<Reg>,
    /// Words of the whole file.
    pub words: usize,
    /// The most 32-bit registers alive at once.
    pub live_words: u32,
}

/// Gives every register a place and rewrites the code. `pinned` registers keep theirs to themselves.
pub fn allocate(code: &mut [Instr], classes: &[Class], pinned: &[bool]) -> Allocation {
    let intervals = intervals(code, classes.len());
    let mut order: Vec<usize> = (0..classes.len()).filter(|&reg| intervals[reg].0 <= intervals[reg].1).collect();
    order.sort_by_key(|&reg| intervals[reg].0);
    let mut slots = vec![NONE; classes.len()];
    let (mut free, mut used) = ([BTreeSet::new(), BTreeSet::new(), BTreeSet::new()], [0u32; 3]);
    let mut active: BTreeSet<(u32, usize)> = BTreeSet::new();
    let (mut live, mut live_words) = (0u32, 0u32);
    let weight = |class: Class| match class {
        Class::Predicate => 0,
        Class::Word => 1,
        Class::Long => 2,
    };
    for reg in (0..classes.len()).filter(|&reg| pinned[reg]) {
        slots[reg] = used[classes[reg] as usize];
        used[classes[reg] as usize] += 1;
    }
    for reg in order.into_iter().filter(|&reg| !pinned[reg]) {
        let (start, end) = intervals[reg];
        while let Some(&(over, old)) = active.first()
            && over < start
        {
            active.pop_first();
            free[classes[old] as usize].insert(slots[old]);
            live -= weight(classes[old]);
        }
        let class = classes[reg] as usize;
        slots[reg] = free[class].pop_first().unwrap_or_else(|| {
            used[class] += 1;
            used[class] - 1
        });
        active.insert((end, reg));
        live += weight(classes[reg]);
        live_words = live_words.max(live);
    }
    // 64-bit registers first, so that all are aligned; predicates last.
    let base = [64 * used[Class::Long as usize] + 32 * used[Class::Word as usize], 64 * used[Class::Long as usize], 0];
    let stride = [1, 32, 64];
    let places: Vec<Reg> = (0..classes.len())
        .map(|reg| match slots[reg] {
            NONE => NONE,
            slot => base[classes[reg] as usize] + stride[classes[reg] as usize] * slot,
        })
        .collect();
    for instr in code.iter_mut() {
        instr.registers(&mut |reg, _| *reg = places[*reg as usize]);
    }
    Allocation { places, words: (base[0] + used[0]) as usize, live_words }
}

/// First and last instruction at which each register is alive; `(1, 0)` for those never used.
fn intervals(code: &mut [Instr], registers: usize) -> Vec<(u32, u32)> {
    let mut found = vec![(u32::MAX, 0u32); registers];
    let mut extend = |reg: usize, at: usize| {
        found[reg].0 = found[reg].0.min(at as u32);
        found[reg].1 = found[reg].1.max(at as u32);
    };
    let blocks = blocks(code);
    let live = liveness(code, &blocks, registers);
    for (at, instr) in code.iter_mut().enumerate() {
        instr.registers(&mut |reg, _| extend(*reg as usize, at));
    }
    for (block, (live_in, live_out)) in blocks.iter().zip(&live) {
        live_in.iter().for_each(|&reg| extend(reg as usize, block.start));
        live_out.iter().for_each(|&reg| extend(reg as usize, block.end - 1));
    }
    found.into_iter().map(|(start, end)| if start == u32::MAX { (1, 0) } else { (start, end) }).collect()
}

struct Block {
    start: usize,
    end: usize,
    next: Vec<usize>,
}

fn blocks(code: &[Instr]) -> Vec<Block> {
    let mut starts = BTreeSet::from([0]);
    for (at, instr) in code.iter().enumerate() {
        match &instr.op {
            Op::Branch(target) => {
                starts.extend([*target as usize, at + 1]);
            }
            Op::BranchTable { targets, .. } => {
                starts.extend(targets.iter().map(|&target| target as usize));
                starts.insert(at + 1);
            }
            Op::Exit => {
                starts.insert(at + 1);
            }
            _ => {}
        }
    }
    let starts: Vec<usize> = starts.into_iter().filter(|&start| start < code.len()).collect();
    let of = |at: usize| starts.partition_point(|&start| start <= at) - 1;
    (0..starts.len())
        .map(|index| {
            let end = starts.get(index + 1).copied().unwrap_or(code.len());
            let last = &code[end - 1];
            let mut next: Vec<usize> = match &last.op {
                Op::Branch(target) => vec![of(*target as usize)],
                Op::BranchTable { targets, .. } => targets.iter().map(|&target| of(target as usize)).collect(),
                _ => Vec::new(),
            };
            let falls = !matches!(last.op, Op::Branch(_) | Op::BranchTable { .. } | Op::Exit) || last.guard != NONE;
            if falls && end < code.len() {
                next.push(of(end));
            }
            Block { start: starts[index], end, next }
        })
        .collect()
}

/// Registers alive at the start and the end of every block, by iteration to a fixed point.
fn liveness(code: &mut [Instr], blocks: &[Block], registers: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let words = registers.div_ceil(64);
    let mut used = vec![vec![0u64; words]; blocks.len()];
    let mut killed = used.clone();
    for (index, block) in blocks.iter().enumerate() {
        for instr in &mut code[block.start..block.end] {
            let guarded = instr.guard != NONE;
            let (mut uses, mut defs) = (Vec::new(), Vec::new());
            instr.registers(&mut |reg, role| if role == Role::Use { uses.push(*reg) } else { defs.push(*reg) });
            // A guarded write keeps the old value in some lanes: it does not end the register's life.
            for reg in uses {
                if killed[index][reg as usize / 64] >> (reg % 64) & 1 == 0 {
                    used[index][reg as usize / 64] |= 1 << (reg % 64);
                }
            }
            if !guarded {
                defs.iter().for_each(|reg| killed[index][*reg as usize / 64] |= 1 << (reg % 64));
            }
        }
    }
    let mut live_in = used.clone();
    let mut live_out = vec![vec![0u64; words]; blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for index in (0..blocks.len()).rev() {
            for word in 0..words {
                let out = blocks[index].next.iter().fold(0, |bits, &next| bits | live_in[next][word]);
                let into = used[index][word] | (out & !killed[index][word]);
                changed |= into != live_in[index][word];
                live_out[index][word] = out;
                live_in[index][word] = into;
            }
        }
    }
    let list = |bits: &Vec<u64>| -> Vec<u32> {
        (0..registers as u32).filter(|reg| bits[*reg as usize / 64] >> (reg % 64) & 1 == 1).collect()
    };
    live_in.iter().zip(&live_out).map(|(into, out)| (list(into), list(out))).collect()
}
