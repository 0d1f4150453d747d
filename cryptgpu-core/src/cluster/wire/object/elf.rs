//! What an object file (ELF, 64 bits, little-endian) says about itself: the bytes of it that are loaded, the name that it
//! goes by, and the libraries that it needs. Only the file is read, nothing is opened as code. The format itself is the
//! business of the `object` crate.

use object::elf::{DT_NEEDED, DT_NULL, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, DynamicTag, FileHeader64, PT_LOAD};
use object::pod::{bytes_of, bytes_of_slice};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, StringTable};
use object::{LittleEndian, elf};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is known of an object's file.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// SHA-256 of all that is loaded of the file: code, constants, the initial values of statics, and where each goes.
    /// (Tables of symbols and notes for debuggers are left out; nothing runs by them.)
    pub(super) digest: [u8; 32],
    pub(super) names: Names,
}

/// What the dynamic loader reads of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// What it goes by (`DT_SONAME`).
    pub(super) own: Option<String>,
    /// What it needs (`DT_NEEDED`).
    pub(super) needed: Vec<String>,
    /// Where that is looked for (`DT_RUNPATH`).
    pub(super) search: Option<String>,
}

type Part = elf::ProgramHeader64<LittleEndian>;

/// An object file's parts, as the loader sees them.
struct Elf<'a> {
    file: &'a File,
    /// Pieces of it that were read.
    pieces: &'a ReadCache<&'a File>,
    header: &'a FileHeader64<LittleEndian>,
    parts: &'a [Part],
}

/// Bytes that are hashed at a time.
const PIECE: usize = 256 << 10;

impl Facts {
    /// Reads them from the file.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let pieces = ReadCache::new(file);
        let elf = Elf::read(file, &pieces)?;
        Ok(Facts { digest: elf.digest()?, names: elf.names()? })
    }
}

/// A version of the GNU C library: 2.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) struct LibcVersion(u32, u32);

impl std::fmt::Display for LibcVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl std::str::FromStr for LibcVersion {
    type Err = std::num::ParseIntError;

    /// A third number says nothing about what is there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.');
        let mut next = || numbers.next().unwrap_or_default().parse();
        Ok(LibcVersion(next()?, next()?))
    }
}

/// The oldest GNU C library that an object file runs with: the newest version of it that the file names. None where it
/// names none.
pub(in crate::cluster) fn libc_needed(file: &File) -> io::Result<Option<LibcVersion>> {
    let pieces = ReadCache::new(file);
    let elf = Elf::read(file, &pieces)?;
    let read = || {
        let sections = elf.header.sections(LittleEndian, elf.pieces)?;
        let Some((mut libraries, link)) = sections.gnu_verneed(LittleEndian, elf.pieces)? else { return Ok(None) };
        let strings = sections.strings(LittleEndian, elf.pieces, link)?;
        let mut newest = None;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(LittleEndian, strings)?);
                newest = newest.max(name.strip_prefix("GLIBC_").and_then(|version| version.parse().ok()));
            }
        }
        Ok(newest)
    };
    read().map_err(|error: object::Error| io::Error::other(error))
}

impl<'a> Elf<'a> {
    fn read(file: &'a File, pieces: &'a ReadCache<&'a File>) -> io::Result<Self> {
        let read = || {
            let header = FileHeader64::<LittleEndian>::parse(pieces)?;
            Ok((header, header.program_headers(header.endian()?, pieces)?))
        };
        let not_one = |error: object::Error| {
            io::Error::other(format!("it is no object file (ELF, 64 bits, little-endian): {error}"))
        };
        let (header, parts) = read().map_err(not_one)?;
        Ok(Elf { file, pieces, header, parts })
    }

    fn loaded(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.p_type(LittleEndian) == PT_LOAD)
    }

    /// See [`Facts::digest`]. What is loaded may be large, so it is read and hashed piece by piece.
    fn digest(&self) -> io::Result<[u8; 32]> {
        let mut digest = Sha256::new();
        digest.update(bytes_of(self.header));
        digest.update(bytes_of_slice(self.parts));
        let mut buffer = vec![0u8; PIECE];
        for part in self.loaded() {
            let (mut offset, mut len) = part.file_range(LittleEndian);
            while len > 0 {
                let piece = &mut buffer[..len.min(PIECE as u64) as usize];
                self.file.read_exact_at(piece, offset)?;
                digest.update(&*piece);
                (offset, len) = (offset.saturating_add(piece.len() as u64), len - piece.len() as u64);
            }
        }
        Ok(digest.finalize().into())
    }

    /// What the dynamic loader reads of it; nothing where it has no such part.
    fn names(&self) -> io::Result<Names> {
        let mut parts = self.parts.iter().filter_map(|part| part.dynamic(LittleEndian, self.pieces).transpose());
        let Some(entries) = parts.next().transpose().map_err(io::Error::other)? else { return Ok(Names::default()) };
        let entries = || entries.iter().take_while(|entry| entry.tag(LittleEndian) != DT_NULL);
        let value = |tag: DynamicTag| {
            entries().find(|entry| entry.tag(LittleEndian) == tag).map(|entry| entry.val(LittleEndian))
        };
        let place = value(DT_STRTAB).and_then(|address| self.place(address));
        let place = place.and_then(|begin| Some((begin, begin.checked_add(value(DT_STRSZ)?)?)));
        let (begin, end) = place.ok_or_else(|| io::Error::other("its names are not to be found"))?;
        let strings = StringTable::new(self.pieces, begin, end);
        let mut names = Names::default();
        for entry in entries() {
            let name = || {
                let name = entry.string(LittleEndian, strings).map_err(io::Error::other)?;
                Ok::<_, io::Error>(String::from_utf8_lossy(name).into_owned())
            };
            match entry.tag(LittleEndian) {
                DT_NEEDED => names.needed.push(name()?),
                DT_SONAME => names.own = Some(name()?),
                DT_RUNPATH => names.search = Some(name()?),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Where in the file lies what is loaded at this address.
    fn place(&self, address: u64) -> Option<u64> {
        self.loaded().find_map(|part| {
            let (offset, len) = part.file_range(LittleEndian);
            address.checked_sub(part.p_vaddr(LittleEndian)).filter(|within| *within < len)?.checked_add(offset)
        })
    }
}
