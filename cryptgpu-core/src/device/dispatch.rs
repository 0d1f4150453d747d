//! Dispatch of an operation to its device: views become slices for the CPU and views on a card for CUDA, every
//! other argument goes through as it is. Which operations there are stands in `kernels.rs`.

use super::{
    Binary, BitTerm, BlockOrder, CloseTerms, Combine, Combined, ConvGeometry, Deal, Draw, MatmulGeometry, OpenTop,
    PlaneWindows, Results, SharedBits, SignWindow, Summed, TermShare, TreeStep, Unary, View, ViewMut, cuda,
};
use crate::prg::{Stream, Zero};
use crate::ring::Word;

/// Calls `cpu::family::name` or `cuda::family::name`, whichever the result `out` lives on, with the arguments as
/// that device has them. An operation on elements of a ring is called for that ring's word: `elements of ring` where every view holds
/// elements, which the CPU gets as slices of them, and `words of ring` where some hold packed bits, of which it gets slices of 64-bit
/// words.
macro_rules! on_device {
    (elements of $ring:ident, at $device:expr, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        crate::device::dispatch::on_device!(@choose $ring, $device, $family::$name, [$($argument),*],
            super::cpu::$family::$name::<u32>($(super::dispatch::Operand::on_host::<u32>($argument)),*),
            super::cpu::$family::$name::<u64>($(super::dispatch::Operand::on_host::<u64>($argument)),*))
    };
    (words of $ring:ident, at $device:expr, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        crate::device::dispatch::on_device!(@choose $ring, $device, $family::$name, [$($argument),*],
            super::cpu::$family::$name::<u32>($(super::dispatch::Operand::on_host::<u64>($argument)),*),
            super::cpu::$family::$name::<u64>($(super::dispatch::Operand::on_host::<u64>($argument)),*))
    };
    (@choose $ring:ident, $device:expr, $family:ident::$name:ident, [$($argument:expr),*], $z32:expr, $z64:expr) => {
        match ($device, $ring) {
            (crate::device::Device::Cpu, crate::ring::Ring::Z32) => $z32,
            (crate::device::Device::Cpu, crate::ring::Ring::Z64) => $z64,
            (crate::device::Device::Cuda(_), crate::ring::Ring::Z32) => {
                super::cuda::$family::$name::<u32>($(super::dispatch::Operand::on_card($argument)),*)
            }
            (crate::device::Device::Cuda(_), crate::ring::Ring::Z64) => {
                super::cuda::$family::$name::<u64>($(super::dispatch::Operand::on_card($argument)),*)
            }
        }
    };
    ($kind:ident of $ring:ident, $out:ident, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        {
            let device = $out.device();
            crate::device::dispatch::on_device!($kind of $ring, at device, $family::$name($($argument),*))
        }
    };
    ($out:ident, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        {
            let device = $out.device();
            crate::device::dispatch::on_device!(at device, $family::$name($($argument),*))
        }
    };
    (at $device:expr, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        match $device {
            crate::device::Device::Cpu => {
                super::cpu::$family::$name($(super::dispatch::Operand::on_host::<u64>($argument)),*)
            }
            crate::device::Device::Cuda(_) => super::cuda::$family::$name($(super::dispatch::Operand::on_card($argument)),*),
        }
    };
}
pub(super) use on_device;

/// An argument of an operation.
pub(super) trait Operand {
    /// As the CPU's kernels take it, with words of memory as elements of this kind.
    type Host<W: Word>;
    /// As the card's kernels take it.
    type Card;
    fn on_host<W: Word>(self) -> Self::Host<W>;
    fn on_card(self) -> Self::Card;
}

impl<'a> Operand for View<'a> {
    type Host<W: Word> = &'a [W];
    type Card = cuda::View<'a>;
    fn on_host<W: Word>(self) -> &'a [W] {
        W::of(View::on_host(self))
    }
    fn on_card(self) -> cuda::View<'a> {
        View::on_card(self)
    }
}

impl<'a> Operand for ViewMut<'a> {
    type Host<W: Word> = &'a mut [W];
    type Card = cuda::ViewMut<'a>;
    fn on_host<W: Word>(self) -> &'a mut [W] {
        W::of_mut(ViewMut::on_host(self))
    }
    fn on_card(self) -> cuda::ViewMut<'a> {
        ViewMut::on_card(self)
    }
}

/// A view with the number of elements that a shape says: of memory where the last of them may only fill a word, those before it.
#[derive(Clone, Copy)]
pub(super) struct Shaped<V>(pub V, pub usize);

impl<'a> Operand for Shaped<View<'a>> {
    type Host<W: Word> = &'a [W];
    type Card = Shaped<cuda::View<'a>>;
    fn on_host<W: Word>(self) -> &'a [W] {
        let elements: &[W] = Operand::on_host::<W>(self.0);
        &elements[..self.1.min(elements.len())]
    }
    fn on_card(self) -> Shaped<cuda::View<'a>> {
        Shaped(View::on_card(self.0), self.1)
    }
}

/// What fills the last word becomes zero: on a card its kernels do that.
impl<'a> Operand for Shaped<ViewMut<'a>> {
    type Host<W: Word> = &'a mut [W];
    type Card = Shaped<cuda::ViewMut<'a>>;
    fn on_host<W: Word>(self) -> &'a mut [W] {
        let elements: &mut [W] = Operand::on_host::<W>(self.0);
        let n = self.1.min(elements.len());
        let (elements, rest) = elements.split_at_mut(n);
        if let Some(filling) = rest.first_mut().filter(|_| !n.is_multiple_of(W::RING.packed())) {
            *filling = W::zero();
        }
        elements
    }
    fn on_card(self) -> Shaped<cuda::ViewMut<'a>> {
        Shaped(ViewMut::on_card(self.0), self.1)
    }
}

/// A mask: the CPU makes it from the stream, a card has the words.
impl<'a> Operand for &'a Draw {
    type Host<W: Word> = &'a Stream;
    type Card = &'a Draw;
    fn on_host<W: Word>(self) -> &'a Stream {
        self.stream()
    }
    fn on_card(self) -> &'a Draw {
        self
    }
}

impl<T: Operand, const N: usize> Operand for [T; N] {
    type Host<W: Word> = [T::Host<W>; N];
    type Card = [T::Card; N];
    fn on_host<W: Word>(self) -> Self::Host<W> {
        self.map(T::on_host::<W>)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
    }
}

impl<T: Operand> Operand for Vec<T> {
    type Host<W: Word> = Vec<T::Host<W>>;
    type Card = Vec<T::Card>;
    fn on_host<W: Word>(self) -> Self::Host<W> {
        self.into_iter().map(T::on_host::<W>).collect()
    }
    fn on_card(self) -> Self::Card {
        self.into_iter().map(T::on_card).collect()
    }
}

impl<A: Operand, B: Operand> Operand for (A, B) {
    type Host<W: Word> = (A::Host<W>, B::Host<W>);
    type Card = (A::Card, B::Card);
    fn on_host<W: Word>(self) -> Self::Host<W> {
        (self.0.on_host::<W>(), self.1.on_host::<W>())
    }
    fn on_card(self) -> Self::Card {
        (self.0.on_card(), self.1.on_card())
    }
}

impl<T: Operand> Operand for Option<T> {
    type Host<W: Word> = Option<T::Host<W>>;
    type Card = Option<T::Card>;
    fn on_host<W: Word>(self) -> Self::Host<W> {
        self.map(T::on_host::<W>)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
    }
}

impl<V: Operand> Operand for Summed<V> {
    type Host<W: Word> = Summed<V::Host<W>>;
    type Card = Summed<V::Card>;
    fn on_host<W: Word>(self) -> Self::Host<W> {
        Summed(self.0.on_host::<W>(), self.1.on_host::<W>())
    }
    fn on_card(self) -> Self::Card {
        Summed(self.0.on_card(), self.1.on_card())
    }
}

impl<S: Operand, V: Operand> Operand for SharedBits<S, V> {
    type Host<W: Word> = SharedBits<S::Host<W>, V::Host<W>>;
    type Card = SharedBits<S::Card, V::Card>;
    fn on_host<W: Word>(self) -> Self::Host<W> {
        match self {
            SharedBits::Drawn(stream) => SharedBits::Drawn(stream.on_host::<W>()),
            SharedBits::Received(words) => SharedBits::Received(words.on_host::<W>()),
        }
    }
    fn on_card(self) -> Self::Card {
        match self {
            SharedBits::Drawn(stream) => SharedBits::Drawn(stream.on_card()),
            SharedBits::Received(words) => SharedBits::Received(words.on_card()),
        }
    }
}

impl<S: Operand, V: Operand> Operand for TermShare<S, V> {
    type Host<W: Word> = TermShare<S::Host<W>, V::Host<W>>;
    type Card = TermShare<S::Card, V::Card>;
    fn on_host<W: Word>(self) -> Self::Host<W> {
        match self {
            TermShare::Drawn { share, y1 } => TermShare::Drawn { share: share.on_host::<W>(), y1: y1.on_host::<W>() },
            TermShare::Received(words) => TermShare::Received(words.on_host::<W>()),
        }
    }
    fn on_card(self) -> Self::Card {
        match self {
            TermShare::Drawn { share, y1 } => TermShare::Drawn { share: share.on_card(), y1: y1.on_card() },
            TermShare::Received(words) => TermShare::Received(words.on_card()),
        }
    }
}

/// Operands of several fields.
macro_rules! of_fields {
    ($($name:ident<$($view:ident),*> { $($field:ident),* })*) => {$(
        impl<$($view: Operand),*> Operand for $name<$($view),*> {
            type Host<W: Word> = $name<$($view::Host<W>),*>;
            type Card = $name<$($view::Card),*>;
            fn on_host<W: Word>(self) -> Self::Host<W> {
                let $name { $($field),* } = self;
                $name { $($field: $field.on_host::<W>()),* }
            }
            fn on_card(self) -> Self::Card {
                let $name { $($field),* } = self;
                $name { $($field: $field.on_card()),* }
            }
        }
    )*};
}

of_fields! {
    BitTerm<V, S, M> { bits, x, opened, mask, message }
    CloseTerms<V, M> { v, terms, y2 }
    Combined<V, M> { how, parts, constant, out }
    Deal<V, S, M> { z, halves, gamma, message }
    OpenTop<V, M> { z, alpha, message }
    Results<M> { message, a, b }
    TreeStep<V, M> { elements, half, x, mask, out }
}

/// Arguments that are the same everywhere.
macro_rules! anywhere {
    ($($type:ty),* $(,)?) => {$(
        impl Operand for $type {
            type Host<W: Word> = Self;
            type Card = Self;
            fn on_host<W: Word>(self) -> Self {
                self
            }
            fn on_card(self) -> Self {
                self
            }
        }
    )*};
}

anywhere!(
    bool,
    u32,
    u64,
    usize,
    Binary,
    Combine,
    Unary,
    SignWindow,
    &BlockOrder,
    &PlaneWindows,
    &MatmulGeometry,
    &ConvGeometry,
    &Stream,
    &Zero
);
