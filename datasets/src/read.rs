//! Reading files with a bound on memory, plain or gzipped, and the SHA-256 of one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use crate::{DatasetError, Result};

/// An open file, or bytes in memory under the name of one; gzip is recognised by its first two
/// bytes and undone on the way.
pub(crate) struct Source<'a> {
    path: &'a Path,
    reader: Packing<'a>,
    taken: u64,
}

/// How the bytes of a source are packed.
enum Packing<'a> {
    Plain(Box<dyn BufRead + 'a>),
    /// One or more gzip members, one after another, which are one file; zeros behind the last are padding.
    Gzip(GzDecoder<Box<dyn BufRead + 'a>>),
    /// Behind the last gzip member: whether something follows that is no gzip.
    After {
        junk: bool,
    },
}

/// How gzip begins.
pub(crate) const GZIP: &[u8] = &[0x1f, 0x8b];

impl Read for Packing<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self {
                Packing::Plain(reader) => return reader.read(to),
                Packing::After { .. } => return Ok(0),
                Packing::Gzip(member) => match member.read(to)? {
                    0 if !to.is_empty() => self.next_member()?,
                    count => return Ok(count),
                },
            }
        }
    }
}

impl Packing<'_> {
    /// Goes on behind the end of a gzip member.
    fn next_member(&mut self) -> std::io::Result<()> {
        let Packing::Gzip(member) = std::mem::replace(self, Packing::After { junk: false }) else { return Ok(()) };
        let mut rest = member.into_inner();
        let mut padded = false;
        loop {
            let buffer = rest.fill_buf()?;
            match buffer.first() {
                None => return Ok(()),
                Some(0) => {
                    let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
                    rest.consume(zeros);
                    padded = true;
                }
                // The second byte may not be buffered yet; if it is not gzip's, the decoder says so.
                first if first == GZIP.first() && !padded => {
                    *self = Packing::Gzip(GzDecoder::new(rest));
                    return Ok(());
                }
                Some(_) => {
                    *self = Packing::After { junk: true };
                    return Ok(());
                }
            }
        }
    }
}

impl<'a> Source<'a> {
    /// Opens a file.
    pub(crate) fn open(path: &'a Path) -> Result<Self> {
        Ok(Self::new(path, BufReader::with_capacity(1 << 16, open(path)?)))
    }

    /// Reads from memory; `path` is the name that errors give.
    pub(crate) fn bytes(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self::new(path, bytes)
    }

    fn new(path: &'a Path, mut reader: impl BufRead + 'a) -> Self {
        // An error here shows again, with its own report, at the first real read.
        let gzipped = reader.fill_buf().is_ok_and(|start| start.starts_with(GZIP));
        let reader: Box<dyn BufRead + 'a> = Box::new(reader);
        let reader = if gzipped { Packing::Gzip(GzDecoder::new(reader)) } else { Packing::Plain(reader) };
        Self { path, reader, taken: 0 }
    }

    /// Whether the file is compressed with gzip, which reading undoes.
    pub(crate) fn is_gzipped(&self) -> bool {
        !matches!(self.reader, Packing::Plain(_))
    }

    /// The next `count` bytes. Memory grows with what arrives, so a header that lies about a short
    /// file costs nothing.
    pub(crate) fn take(&mut self, count: u64, what: &'static str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(count).read_to_end(&mut bytes).map_err(|source| self.read_error(source))?;
        let found = bytes.len() as u64;
        self.taken += found;
        if found < count {
            return Err(DatasetError::Truncated { path: self.path.to_path_buf(), what, expected: count, found });
        }
        Ok(bytes)
    }

    /// The next four bytes as a number, most significant first.
    pub(crate) fn take_u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(self.take(4, what)?.into_iter().fold(0, |number, byte| number << 8 | u32::from(byte)))
    }

    /// Tests that nothing is left.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut one = [0];
        match self.reader.read(&mut one) {
            Ok(0) if !matches!(self.reader, Packing::After { junk: true }) => Ok(()),
            Ok(_) => Err(DatasetError::TrailingBytes { path: self.path.to_path_buf(), expected: self.taken }),
            Err(source) => Err(self.read_error(source)),
        }
    }

    fn read_error(&self, source: std::io::Error) -> DatasetError {
        DatasetError::Io { path: self.path.to_path_buf(), action: "read", source }
    }
}

/// Opens a file for reading; a file that is not there is an error of its own.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => DatasetError::Missing { path: path.to_path_buf() },
        _ => DatasetError::Io { path: path.to_path_buf(), action: "open", source },
    })
}

/// The whole of a file that has at most `limit` bytes.
pub(crate) fn read_up_to(path: &Path, limit: u64, what: &'static str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|source| DatasetError::Io {
        path: path.to_path_buf(),
        action: "read",
        source,
    })?;
    if bytes.len() as u64 > limit {
        return Err(DatasetError::TooLarge { path: path.to_path_buf(), what, declared: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, in hexadecimal, read in pieces.
pub(crate) fn sha256_file(path: &Path) -> Result<String> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(count) => hash.update(piece.get(..count).unwrap_or_default()),
            Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(DatasetError::Io { path: path.to_path_buf(), action: "read", source }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
