//! Masks that a protocol needs for several of its steps and that depend on nothing that arrives. A card makes all of them
//! in one launch, before the first wait; the CPU makes each where it is used, so that it is still in a cache there.
//! Which nonces they come from, and what they hide, is each protocol's.

use crate::device::{Buffer, Device, kernels};
use crate::mpc::Party;
use crate::prg::Stream;

/// The first words of a stream, which are made already or are yet to be.
pub(super) enum Draw {
    /// On a card.
    Made(Buffer),
    /// So many words of a stream, on the CPU.
    Later(Stream, usize),
}

impl Draw {
    /// The words.
    pub(super) fn take(self) -> Buffer {
        match self {
            Draw::Made(words) => words,
            Draw::Later(stream, words) => {
                let mut drawn = Device::Cpu.alloc(words);
                kernels::fill(&stream, drawn.view_mut());
                drawn
            }
        }
    }
}

impl Party {
    /// So many words of each stream, in the same order.
    pub(super) fn draws<const N: usize>(&self, streams: [(Stream, usize); N]) -> [Draw; N] {
        if self.device() == Device::Cpu {
            return streams.map(|(stream, words)| Draw::Later(stream, words));
        }
        let mut buffers = streams.each_ref().map(|&(_, words)| self.device().alloc(words));
        make(&streams, &mut buffers);
        buffers.map(Draw::Made)
    }

    /// [`Party::draws`] of as many groups as there are.
    pub(super) fn draw_groups<const N: usize>(&self, groups: Vec<[(Stream, usize); N]>) -> Vec<[Draw; N]> {
        if self.device() == Device::Cpu {
            return groups.into_iter().map(|group| self.draws(group)).collect();
        }
        let alloc = |&(_, words): &(Stream, usize)| self.device().alloc(words);
        let mut buffers: Vec<[Buffer; N]> = groups.iter().map(|group| group.each_ref().map(alloc)).collect();
        make(groups.as_flattened(), buffers.as_flattened_mut());
        buffers.into_iter().map(|group| group.map(Draw::Made)).collect()
    }
}

fn make(streams: &[(Stream, usize)], buffers: &mut [Buffer]) {
    let streams = streams.iter().map(|(stream, _)| stream);
    kernels::fills(streams.zip(buffers.iter_mut().map(Buffer::view_mut)).collect());
}
