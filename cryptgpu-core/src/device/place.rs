//! From an operation to the device that runs it: views become slices for a CPU and views on a card for
//! CUDA, everything else goes through as it is.

use super::cpu::truncation::{Opened, TermShare};
use super::steps::{OpenedBits, Pad};
use super::{Binary, ConvGeometry, PoolGeometry, Unary, View, ViewMut, Window, cuda};
use crate::prg::{Stream, Zero};

/// Calls `cpu::family::name` or `cuda::family::name` with the arguments as the device has them.
macro_rules! on_device {
    ($device:expr, $family:ident::$name:ident($($argument:expr),* $(,)?)) => {
        match $device {
            Device::Cpu => super::cpu::$family::$name($(super::place::Place::on_host($argument)),*),
            Device::Cuda(_) => super::cuda::$family::$name($(super::place::Place::on_card($argument)),*),
        }
    };
}
pub(super) use on_device;

/// An argument of an operation.
pub(super) trait Place {
    /// As the CPU's kernels take it.
    type Host;
    /// As those of a card take it.
    type Card;
    fn on_host(self) -> Self::Host;
    fn on_card(self) -> Self::Card;
}

impl<'a> Place for View<'a> {
    type Host = &'a [u64];
    type Card = cuda::View<'a>;
    fn on_host(self) -> &'a [u64] {
        View::on_host(self)
    }
    fn on_card(self) -> cuda::View<'a> {
        View::on_card(self)
    }
}

impl<'a> Place for ViewMut<'a> {
    type Host = &'a mut [u64];
    type Card = cuda::ViewMut<'a>;
    fn on_host(self) -> &'a mut [u64] {
        ViewMut::on_host(self)
    }
    fn on_card(self) -> cuda::ViewMut<'a> {
        ViewMut::on_card(self)
    }
}

impl<T: Place> Place for [T; 2] {
    type Host = [T::Host; 2];
    type Card = [T::Card; 2];
    fn on_host(self) -> Self::Host {
        self.map(T::on_host)
    }
    fn on_card(self) -> Self::Card {
        self.map(T::on_card)
    }
}

impl<A: Place, B: Place> Place for (A, B) {
    type Host = (A::Host, B::Host);
    type Card = (A::Card, B::Card);
    fn on_host(self) -> Self::Host {
        (self.0.on_host(), self.1.on_host())
    }
    fn on_card(self) -> Self::Card {
        (self.0.on_card(), self.1.on_card())
    }
}

impl<'a> Place for OpenedBits<'a> {
    type Host = Opened<'a>;
    type Card = [cuda::View<'a>; 3];
    fn on_host(self) -> Opened<'a> {
        Opened { e: self.e.on_host(), f: self.f.on_host(), pad: self.pad.on_host() }
    }
    fn on_card(self) -> [cuda::View<'a>; 3] {
        [self.e, self.f, self.pad].map(View::on_card)
    }
}

impl<'a> Place for Pad<'a> {
    type Host = TermShare<'a>;
    type Card = Pad<'a>;
    fn on_host(self) -> TermShare<'a> {
        match self {
            Pad::Stream(stream) => TermShare::Stream(stream),
            Pad::Received(view) => TermShare::Planes(view.on_host()),
        }
    }
    fn on_card(self) -> Pad<'a> {
        self
    }
}

/// Arguments that are the same everywhere.
macro_rules! anywhere {
    ($($type:ty),* $(,)?) => {$(
        impl Place for $type {
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

anywhere!(bool, u32, u64, usize, Binary, Unary, Window, &PoolGeometry, &ConvGeometry, &Stream, &Zero);
anywhere!([&Stream; 3], [&Stream; 4], [&Stream; 5]);
