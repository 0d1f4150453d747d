//! Agreement on keys, the first protocol of every session: afterwards each two neighbours have a key in common, and all
//! three have one. It runs before there is a [`super::Party`], so it speaks to the links itself.

use super::protocol::MessageKind;
use crate::net::{NetError, Network, PartyId, Tag};
use crate::prg::{Key, Keys};
use zeroize::Zeroizing;

/// The step that errors of the agreement name.
const STEP: &str = "key agreement";

/// Agrees with the other two parties, who call this too, on the keys of a session.
///
/// Party i draws kᵢ and gives it to party i − 1, so that it holds kᵢ and kᵢ₊₁; party 0 draws the key k of all three and
/// gives it to both. All keys come from the operating system.
///
/// | round | from | to | message | hidden by |
/// |---|---|---|---|---|
/// | 1 | i | i − 1 | kᵢ | the link |
/// | 1 | party 0 | parties 1, 2 | k | the link |
///
/// 80 bytes in all, 1 round ([`super::cost::key_agreement`]).
///
/// # Errors
/// [`NetError::Setup`] when the operating system has no randomness to give; the link's errors. Both name party and step.
pub fn agree_on_keys(network: &dyn Network) -> Result<Keys, NetError> {
    let id = network.id();
    network.endpoint().set_step(STEP);
    let (with_prev, own) = (draw(id)?, draw(id)?);
    give(network, id.prev(), MessageKind::KEY, &with_prev)?;
    let first = PartyId::P0;
    let common = if id == first {
        let common = draw(id)?;
        give(network, id.next(), MessageKind::COMMON_KEY, &common)?;
        give(network, id.prev(), MessageKind::COMMON_KEY, &common)?;
        Some(common)
    } else {
        None
    };
    let with_next = take(network, id.next(), MessageKind::KEY)?;
    let common = common.map_or_else(|| take(network, first, MessageKind::COMMON_KEY), Ok)?;
    Ok(Keys { with_prev, with_next, common, own })
}

fn draw(party: PartyId) -> Result<Key, NetError> {
    Key::from_os().map_err(|error| NetError::Setup {
        party,
        action: "draw a key".into(),
        detail: error.to_string(),
        hint: "The operating system has no randomness to give.".into(),
    })
}

/// No nonce has been drawn yet, so all messages of the agreement are at position 0.
fn tag(kind: MessageKind) -> Tag {
    Tag { position: 0, kind: kind.0 }
}

fn give(network: &dyn Network, to: PartyId, kind: MessageKind, key: &Key) -> Result<(), NetError> {
    // The link wipes what it has sent.
    let words = key.expose().chunks_exact(8).map(bytemuck::pod_read_unaligned);
    network.send(to, tag(kind), words.collect())
}

fn take(network: &dyn Network, from: PartyId, kind: MessageKind) -> Result<Key, NetError> {
    let words = network.recv(from, tag(kind), 2).map(Zeroizing::new)?;
    let mut bytes = Zeroizing::new([0; 16]);
    bytes.copy_from_slice(bytemuck::cast_slice(&words));
    Ok(Key::from_bytes(*bytes))
}
