//! Inputs and openings.

use super::wire::{Kind, Side};
use crate::device::{Binary, Tensor};
use crate::mpc::{MpcError, Party, Rep, RepBits, cost};
use crate::net::PartyId;

impl Party {
    /// Shares a tensor that `owner` holds; the others pass only its shape.
    ///
    /// With o the owner: component o is F(kₒ), component o + 1 is x − F(kₒ), component o + 2 is
    /// zero. The owner sends component o + 1 to party o + 1, who does not know kₒ; party o + 2 has
    /// everything it needs. 8 bytes an element, 1 round.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the owner brings no value, another party brings one, or the
    /// shapes differ; the link's errors.
    pub fn input(&mut self, owner: PartyId, value: Option<&Tensor>, shape: &[usize]) -> Result<Rep, MpcError> {
        let n: usize = shape.iter().product();
        if value.is_some() != (owner == self.id()) || value.is_some_and(|v| v.shape() != shape) {
            let detail = format!("party {owner} alone brings the value, with shape {shape:?}");
            return Err(self.argument_error("input", detail));
        }
        value.map_or(Ok(()), |value| self.check_here("input", value.device()))?;
        self.declare(cost::input(n));
        let nonce = self.prg.nonce();
        let device = self.device();
        if let Some(value) = value {
            let mut first = device.alloc(n);
            device.fill(&self.prg.with_prev(nonce), first.view_mut());
            let mut second = device.alloc(n);
            device.binary(Binary::Sub, value.view(), first.view(), second.view_mut());
            self.post_copy(Side::Next, Kind::Input, second.view())?;
            self.rep(first, second, shape)
        } else if owner.next() == self.id() {
            let first = self.take(Side::Prev, Kind::Input, n)?;
            self.rep(first, device.zeros(n), shape)
        } else {
            let mut second = device.alloc(n);
            device.fill(&self.prg.with_next(nonce), second.view_mut());
            self.rep(device.zeros(n), second, shape)
        }
    }

    /// Opens a value to all three parties.
    ///
    /// Party i sends xᵢ to party i + 1. 24 bytes an element, 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open(&mut self, x: &Rep) -> Result<Tensor, MpcError> {
        self.check_here("open", x.device())?;
        self.declare(cost::open(x.len()));
        self.post_copy(Side::Next, Kind::Open, x.a.view())?;
        let third = self.take(Side::Prev, Kind::Open, x.len())?;
        self.sum_components(x, third)
    }

    /// Opens a value to one party; the others get nothing.
    ///
    /// The party before `to` sends it the component it lacks. 8 bytes an element, 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_to(&mut self, to: PartyId, x: &Rep) -> Result<Option<Tensor>, MpcError> {
        self.check_here("open", x.device())?;
        self.declare(cost::open_to(x.len()));
        if to == self.id() {
            let third = self.take(Side::Prev, Kind::OpenTo, x.len())?;
            return self.sum_components(x, third).map(Some);
        }
        if to == self.id().next() {
            self.post_copy(Side::Next, Kind::OpenTo, x.a.view())?;
        }
        Ok(None)
    }

    fn sum_components(&self, x: &Rep, third: crate::device::Buffer) -> Result<Tensor, MpcError> {
        let third = Tensor::new(third, x.shape()).map_err(|e| self.device_error(e))?;
        let add = |x: &Tensor, y: &Tensor| x.binary("open", Binary::Add, y).map_err(|e| self.device_error(e));
        add(&add(&x.a, &x.b)?, &third)
    }

    /// Opens bits to all three parties, one `bool` an element in row-major order.
    ///
    /// 3 bits an element, 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_bits(&mut self, x: &RepBits) -> Result<Vec<bool>, MpcError> {
        self.check_here("open bits", x.device())?;
        self.declare(cost::open(x.a.len()));
        self.post_copy(Side::Next, Kind::Open, x.a.view())?;
        let third = self.take(Side::Prev, Kind::Open, x.a.len())?;
        let words = self.xor3(x.a.view(), x.b.view(), third.view()).into_host().map_err(|e| self.device_error(e))?;
        Ok(crate::ring::Layout::new(x.len()).unpack(&words))
    }
}
