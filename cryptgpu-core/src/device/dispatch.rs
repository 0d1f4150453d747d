//! Dispatch of an operation to its device: views become slices for the CPU and views on a card for CUDA, every
//! other argument goes through as it is. Which operations there are stands in `kernels.rs`.

use super::{
    Binary, BitTerm, BlockOrder, CloseTerms, Combine, Combined, ConvGeometry, Deal, Draw, MatmulGeometry, OpenTop,
    PlaneWindows, Results, SignWindow, Summed, TermShare, TreeStep, Unary, View, ViewMut, cuda,
};
use crate::prg::{Stream, Zero};

/// Calls `cpu::family::name` or `cuda::family::name`, whichever the result `out` lives on, with the arguments as
/// that device has them.
macro_rules! on_device {
    ($out:ident, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        {
            let device = $out.device();
            crate::device::dispatch::on_device!(at device, $family::$name($($argument),*))
        }
    };
    (at $device:expr, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        match $device {
            crate::device::Device::Cpu => super::cpu::$family::$name($(super::dispatch::Operand::on_host($argument)),*),
            crate::device::Device::Cuda(_) => super::cuda::$family::$name($(super::dispatch::Operand::on_card($argument)),*),
        }
    };
}
pub(super) use on_device;

/// An argument of an operation.
pub(super) trait Operand {
    /// As the CPU's kernels take it.
    type Host;
    /// As the card's kernels take it.
    type Card;
    fn on_host(self) -> Self::Host;
    fn on_card(self) -> Self::Card;
}

impl<'a> Operand for View<'a> {
    type Host = &'a [u64];
    type Card = cuda::View<'a>;
    fn on_host(self) -> &'a [u64] {
        View::on_host(self)
    }
    fn on_card(self) -> cuda::View<'a> {
        View::on_card(self)
    }
}

impl<'a> Operand for ViewMut<'a> {
    type Host = &'a mut [u64];
    type Card = cuda::ViewMut<'a>;
    fn on_host(self) -> &'a mut [u64] {
        ViewMut::on_host(self)
    }
    fn on_card(self) -> cuda::ViewMut<'a> {
        ViewMut::on_card(self)
    }
}

/// A mask: the CPU makes it from the stream, a card has the words.
impl<'a> Operand for &'a Draw {
    type Host = &'a Stream;
    type Card = &'a Draw;
    fn on_host(self) -> &'a Stream {
        self.stream()
    }
    fn on_card(self) -> &'a Draw {
        self
    }
}

impl<T: Operand, const N: usize> Operand for [T; N] {
    type Host = [T::Host; N];
    type Card = [T::Card; N];
    fn on_host(self) -> Self::Host {
        self.map(T::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
    }
}

impl<T: Operand> Operand for Vec<T> {
    type Host = Vec<T::Host>;
    type Card = Vec<T::Card>;
    fn on_host(self) -> Self::Host {
        self.into_iter().map(T::on_host).collect()
    }
    fn on_card(self) -> Self::Card {
        self.into_iter().map(T::on_card).collect()
    }
}

impl<A: Operand, B: Operand> Operand for (A, B) {
    type Host = (A::Host, B::Host);
    type Card = (A::Card, B::Card);
    fn on_host(self) -> Self::Host {
        (self.0.on_host(), self.1.on_host())
    }
    fn on_card(self) -> Self::Card {
        (self.0.on_card(), self.1.on_card())
    }
}

impl<T: Operand> Operand for Option<T> {
    type Host = Option<T::Host>;
    type Card = Option<T::Card>;
    fn on_host(self) -> Self::Host {
        self.map(T::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
    }
}

impl<V: Operand> Operand for Summed<V> {
    type Host = Summed<V::Host>;
    type Card = Summed<V::Card>;
    fn on_host(self) -> Self::Host {
        Summed(self.0.on_host(), self.1.on_host())
    }
    fn on_card(self) -> Self::Card {
        Summed(self.0.on_card(), self.1.on_card())
    }
}

impl<S: Operand, V: Operand> Operand for TermShare<S, V> {
    type Host = TermShare<S::Host, V::Host>;
    type Card = TermShare<S::Card, V::Card>;
    fn on_host(self) -> Self::Host {
        match self {
            TermShare::Drawn { share, y1 } => TermShare::Drawn { share: share.on_host(), y1: y1.on_host() },
            TermShare::Received(words) => TermShare::Received(words.on_host()),
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
            type Host = $name<$($view::Host),*>;
            type Card = $name<$($view::Card),*>;
            fn on_host(self) -> Self::Host {
                let $name { $($field),* } = self;
                $name { $($field: $field.on_host()),* }
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
            type Host = Self;
            type Card = Self;
            fn on_host(self) -> Self {
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
