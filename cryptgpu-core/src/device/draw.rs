//! Masks that are yet to be made. A card makes all of a protocol's in one launch, before the first wait, and its kernels read
//! them from memory; the CPU makes each where a kernel uses it, so that it is in a cache there. Which nonces they come
//! from, and what they hide, is each protocol's.

use super::{Buffer, Device, ViewMut, cuda, kernels};
use crate::prg::Stream;

/// The first words of a stream, which are made already or are yet to be.
#[derive(Debug)]
pub struct Draw {
    stream: Stream,
    words: usize,
    made: Option<Buffer>,
}

/// Words of a stream that belong in a place of a result: there already, or put there later.
#[derive(Debug)]
pub struct Placed {
    stream: Stream,
    done: bool,
}

impl Draw {
    /// So many words of a stream, not made yet.
    pub fn of(stream: Stream, words: usize) -> Self {
        Draw { stream, words, made: None }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The words on a device, made now where they are not.
    pub fn into_buffer(self, device: Device) -> Buffer {
        let Draw { stream, words, made } = self;
        made.unwrap_or_else(|| {
            let mut drawn = device.alloc(words);
            kernels::fill(&stream, drawn.view_mut());
            drawn
        })
    }

    /// What they are made from.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The words, where they are made.
    pub(super) fn made(&self) -> Option<&Buffer> {
        self.made.as_ref()
    }
}

impl Placed {
    /// The first words of a stream, not in their place yet.
    pub fn of(stream: Stream) -> Self {
        Placed { stream, done: false }
    }

    /// Puts them in their place where they are not.
    pub fn put(self, place: ViewMut) {
        if !self.done {
            kernels::fill(&self.stream, place);
        }
    }
}

/// What [`make`] is asked for at once.
#[derive(Default)]
pub struct Masks<'a> {
    /// Words in memory of their own.
    pub draws: Vec<&'a mut Draw>,
    /// Words in a place of a result.
    pub placed: Vec<(&'a mut Placed, ViewMut<'a>)>,
}

impl<'a> Masks<'a> {
    /// Words in memory of their own, and nothing else.
    pub fn draws(draws: impl IntoIterator<Item = &'a mut Draw>) -> Self {
        Masks { draws: draws.into_iter().collect(), ..Masks::default() }
    }
}

/// Makes masks on a card, all in one launch. On the CPU each waits for where it is used.
pub fn make(device: Device, masks: Masks) {
    let Masks { draws, placed } = masks;
    if device == Device::Cpu {
        return;
    }
    let mut fills = Vec::with_capacity(draws.len() + placed.len());
    for Draw { stream, words, made } in draws {
        fills.push((&*stream, made.insert(device.alloc(*words)).view_mut().on_card()));
    }
    for (Placed { stream, done }, place) in placed {
        *done = true;
        fills.push((&*stream, place.on_card()));
    }
    cuda::elementwise::fills(fills);
}
