//! Shares that somebody outside the three parties deals: a caller, or a client of a service.

use crate::cluster::marshal::words::Words;
use crate::device::{Device, DeviceError, Tensor};
use crate::mpc::deal;
use crate::prg::{Correlated, Key, Keys, Randomness};
use crate::ring::Ring;
use ndarray::{ArrayBase, Data, Dimension};
use std::fmt;

/// Why nothing could be dealt.
#[derive(Debug)]
pub(in crate::cluster) struct NotDealt(String);

impl fmt::Display for NotDealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two components of each party, of ring elements, with randomness of the operating system's that nobody else has.
pub(in crate::cluster) fn deal_words<S, D>(ring: Ring, array: &ArrayBase<S, D>) -> Result<[[Words; 2]; 3], NotDealt>
where
    S: Data<Elem = u64>,
    D: Dimension,
{
    let key = Key::from_os().map_err(|error| NotDealt(error.to_string()))?;
    let mut prg = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(key));
    let fail = |error: DeviceError| NotDealt(error.to_string());
    let value = Tensor::from_array_in(ring, Device::Cpu, array);
    let [p0, p1, p2] = deal(&value, &mut prg).map(|rep| {
        let (a, b) = rep.components();
        Ok([Words(a.view().to_host()?), Words(b.view().to_host()?)])
    });
    Ok([p0.map_err(fail)?, p1.map_err(fail)?, p2.map_err(fail)?])
}
