//! Dispatch of an operation to its device: views become slices for the CPU and views on a card for CUDA, every
//! other argument goes through as it is. Which operations there are stands in `kernels.rs`.

use super::{
    Binary, BlockOrder, ConvGeometry, MatmulGeometry, OpenedBits, PlaneWindows, SignWindow, TermShare, Unary, View,
    ViewMut, cuda,
};
use crate::prg::{Stream, Zero};

/// Calls `cpu::family::name` or `cuda::family::name`, whichever the result `out` lives on, with the arguments as
/// that device has them.
macro_rules! on_device {
    ($out:ident, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        match $out.device() {
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

impl<T: Operand> Operand for [T; 2] {
    type Host = [T::Host; 2];
    type Card = [T::Card; 2];
    fn on_host(self) -> Self::Host {
        self.map(T::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
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

impl<V: Operand> Operand for OpenedBits<V> {
    type Host = OpenedBits<V::Host>;
    type Card = OpenedBits<V::Card>;
    fn on_host(self) -> Self::Host {
        self.map(V::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map(V::on_card)
    }
}

impl<'s, V: Operand> Operand for TermShare<&'s Stream, V> {
    type Host = TermShare<&'s Stream, V::Host>;
    type Card = TermShare<&'s Stream, V::Card>;
    fn on_host(self) -> Self::Host {
        self.map_received(V::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map_received(V::on_card)
    }
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
    Unary,
    SignWindow,
    &BlockOrder,
    &PlaneWindows,
    &MatmulGeometry,
    &ConvGeometry,
    &Stream,
    &Zero
);
anywhere!([&Stream; 3], [&Stream; 4], [&Stream; 5]);
