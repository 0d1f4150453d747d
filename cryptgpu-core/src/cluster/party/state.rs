//! A party's state as bytes, for sealed files: parts with their lengths, and shares as their words.

use crate::cluster::wire::job_error::JobError;
use crate::device::{Device, Tensor};
use crate::mpc::{MpcError, Party, Rep};
use crate::ring::Ring;
use zeroize::Zeroizing;

/// Adds a part: its length, 8 bytes, and the part.
pub(super) fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

/// Takes the next part, by postcard.
pub(super) fn take<'a, T: serde::Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, JobError> {
    let part = bytes.split_off(..8).and_then(|length| {
        let length = u64::from_le_bytes(length.try_into().ok()?);
        bytes.split_off(..usize::try_from(length).ok()?)
    });
    part.and_then(|part| postcard::from_bytes(part).ok()).ok_or_else(unreadable)
}

fn unreadable() -> JobError {
    JobError::Input("a sealed file holds no state that can be read: it is another program's".to_owned())
}

/// The bytes that a share takes.
pub(super) fn bytes_of(rep: &Rep) -> usize {
    16 * rep.ring().words(rep.len())
}

/// Adds a party's two components of a share.
pub(super) fn put_rep(bytes: &mut Vec<u8>, rep: &Rep, p: &Party) -> Result<(), JobError> {
    let (a, b) = rep.components();
    for component in [a, b] {
        let words = Zeroizing::new(p.to_host(component.view())?);
        bytes.extend_from_slice(bytemuck::cast_slice(&words));
    }
    Ok(())
}

/// Takes the next share, of that shape in that ring.
pub(super) fn take_rep(bytes: &mut &[u8], ring: Ring, shape: &[usize], device: Device) -> Result<Rep, JobError> {
    let (a, b) = (tensor(bytes, ring, shape, device)?, tensor(bytes, ring, shape, device)?);
    Ok(Rep::from_components(a, b).map_err(MpcError::from)?)
}

fn tensor(bytes: &mut &[u8], ring: Ring, shape: &[usize], device: Device) -> Result<Tensor, JobError> {
    let elements = shape.iter().try_fold(1usize, |all, axis| all.checked_mul(*axis));
    let length = elements.and_then(|elements| ring.words(elements).checked_mul(8));
    let words = length.and_then(|length| bytes.split_off(..length)).ok_or_else(unreadable)?;
    let words = words.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    Ok(Tensor::new_in(ring, device.upload(words), shape).map_err(MpcError::from)?)
}
