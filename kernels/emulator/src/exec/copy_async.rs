//! `cp.async`: the copies of each thread happen when the thread waits for them, and not before.

use super::copies::Copy;
use super::shared::Shared;
use super::warp::Warp;
use super::{AtLane, LaneFault, fault};
use crate::checks::Check;
use crate::ir::Op;
use crate::lanes::{LANES, NONE};
use crate::memory::address::aligned;
use crate::memory::global::Touch;

impl Warp {
    /// Starts copies.
    pub fn copy_async(&mut self, shared: &mut Shared<'_>, op: &Op, active: u32) -> Result<(), LaneFault> {
        let Op::CopyAsync { to, from, bytes, size } = op else { return Ok(()) };
        let (to, from, bytes) = (self.addresses(to), self.addresses(from), usize::from(*bytes));
        for lane in (0..LANES).filter(|lane| active >> lane & 1 == 1) {
            aligned(to[lane], bytes).at_lane(lane)?;
            aligned(from[lane], bytes).at_lane(lane)?;
            let offset = shared.memory.bounds(to[lane], bytes).at_lane(lane)?;
            let size = if *size == NONE { bytes } else { self.file.words(*size)[lane] as usize };
            if size > bytes {
                let message = format!("`cp.async` of {bytes} bytes reads {size}");
                return Err(fault(Check::OutOfBounds, message, 1 << lane));
            }
            // Another warp's access between here and the wait is a race with the copy, wherever the copy happens.
            shared.memory.touch(offset, bytes, Touch::Write, self.index).at_lane(lane)?;
            shared.memory.pending(offset, bytes);
            let group = self.copies.group(lane);
            self.copies.start(Copy { lane, group, to: offset, from: from[lane], bytes, size });
        }
        Ok(())
    }

    /// Finishes all copies of the lanes but those of the last `groups` groups.
    pub fn copy_wait(&mut self, shared: &mut Shared<'_>, groups: Option<u32>, active: u32) -> Result<(), LaneFault> {
        for copy in self.copies.take_due(groups, active) {
            let mut bytes = [0; 16];
            if copy.size > 0 {
                let actor = shared.actor(self.index);
                let (allocation, offset) = shared.launch.memory.find(copy.from, copy.size).at_lane(copy.lane)?;
                allocation.touch(offset, copy.size, Touch::Read, &actor).at_lane(copy.lane)?;
                allocation.read_bytes(offset, &mut bytes[..copy.size]);
                self.note_touched(allocation.number);
            }
            shared.memory.touch(copy.to, copy.bytes, Touch::Write, self.index).at_lane(copy.lane)?;
            shared.memory.bytes_mut(copy.to, copy.bytes).copy_from_slice(&bytes[..copy.bytes]);
        }
        Ok(())
    }
}
