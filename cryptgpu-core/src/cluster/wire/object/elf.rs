//! What an object file (ELF, 64 bits, little-endian) says about itself: the bytes of it that are loaded, the name that it
//! goes by, and the libraries that it needs. Only the file is read, nothing is opened as code.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// An object file's header and table of parts.
pub(super) struct Elf<'a> {
    file: &'a File,
    header: [u8; 64],
    table: Vec<u8>,
}

/// What the dynamic loader reads of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// What it goes by (`DT_SONAME`).
    pub(super) own: Option<String>,
    /// What it needs (`DT_NEEDED`).
    pub(super) needed: Vec<String>,
}

/// One part of the file.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: u32,
    offset: u64,
    address: u64,
    len: u64,
}

const PART_BYTES: usize = 56;
const DYNAMIC_BYTES: u64 = 1 << 20;
const NAME_BYTES: usize = 4096;

/// Kinds of entries of the dynamic table.
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const OWN_NAME: u64 = 14;

impl<'a> Elf<'a> {
    pub(super) fn read(file: &'a File) -> io::Result<Self> {
        let mut header = [0u8; 64];
        file.read_exact_at(&mut header, 0)?;
        let (begins, part_bytes, parts) = (word(&header, 32), half(&header, 54), half(&header, 56));
        if !header.starts_with(b"\x7fELF\x02\x01") || part_bytes != PART_BYTES {
            return Err(io::Error::other("it is no object file (ELF, 64 bits, little-endian)"));
        }
        let mut table = vec![0u8; parts * PART_BYTES];
        file.read_exact_at(&mut table, begins)?;
        Ok(Elf { file, header, table })
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        self.table.chunks_exact(PART_BYTES).map(|part| Part {
            kind: word(part, 0) as u32,
            offset: word(part, 8),
            address: word(part, 16),
            len: word(part, 32),
        })
    }

    /// SHA-256 of all that is loaded of the file: code, constants, the initial values of statics, and where each goes.
    /// (Tables of symbols and notes for debuggers are left out; nothing runs by them.)
    pub(super) fn digest(&self) -> io::Result<[u8; 32]> {
        let mut digest = Sha256::new();
        digest.update(self.header);
        digest.update(&self.table);
        let mut buffer = vec![0u8; 256 << 10];
        for Part { mut offset, mut len, .. } in self.parts().filter(|part| part.kind == libc::PT_LOAD) {
            while len > 0 {
                let piece = &mut buffer[..len.min(256 << 10) as usize];
                self.file.read_exact_at(piece, offset)?;
                digest.update(&*piece);
                (offset, len) = (offset + piece.len() as u64, len - piece.len() as u64);
            }
        }
        Ok(digest.finalize().into())
    }

    /// What the dynamic loader reads of it; nothing where it has no such part.
    pub(super) fn names(&self) -> io::Result<Names> {
        let Some(part) = self.parts().find(|part| part.kind == libc::PT_DYNAMIC) else { return Ok(Names::default()) };
        let mut table = vec![0u8; part.len.min(DYNAMIC_BYTES) as usize];
        self.file.read_exact_at(&mut table, part.offset)?;
        let entries =
            || table.chunks_exact(16).map(|entry| (word(entry, 0), word(entry, 8))).take_while(|entry| entry.0 != 0);
        let strings = entries().find(|entry| entry.0 == STRINGS).and_then(|(_, address)| self.place(address));
        let strings = strings.ok_or_else(|| io::Error::other("its names are not to be found"))?;
        let mut names = Names::default();
        for (tag, at) in entries() {
            match tag {
                NEEDED => names.needed.push(self.name(strings.saturating_add(at))?),
                OWN_NAME => names.own = Some(self.name(strings.saturating_add(at))?),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Where in the file lies what is loaded at this address.
    fn place(&self, address: u64) -> Option<u64> {
        let mut loaded = self.parts().filter(|part| part.kind == libc::PT_LOAD);
        loaded.find_map(|part| {
            address.checked_sub(part.address).filter(|within| *within < part.len)?.checked_add(part.offset)
        })
    }

    fn name(&self, offset: u64) -> io::Result<String> {
        let mut bytes = vec![0u8; NAME_BYTES];
        let read = self.file.read_at(&mut bytes, offset)?;
        let end = bytes[..read].iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| io::Error::other("a name in it has no end"))?;
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

fn half(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0u8; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
