//! Arrays of 64-bit words in jobs and outputs, carried as bytes: no slower than a copy.

use serde::de::{Error, Visitor};
use std::fmt;

/// Words that a job carries, such as shares. They are encoded as one block of bytes, so 100 MB
/// cost two copies and no loop over elements. `Debug` shows their number only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<u64>);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} words)", self.0.len())
    }
}

impl From<Vec<u64>> for Words {
    fn from(words: Vec<u64>) -> Self {
        Words(words)
    }
}

impl serde::Serialize for Words {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytemuck::cast_slice(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Words {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(WordsVisitor)
    }
}

struct WordsVisitor;

impl Visitor<'_> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64-bit words")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Words, E> {
        if !bytes.len().is_multiple_of(8) {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        let mut words = vec![0u64; bytes.len() / 8];
        bytemuck::cast_slice_mut(&mut words).copy_from_slice(bytes);
        Ok(Words(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_at_any_alignment_and_are_not_shown() {
        let words = Words(vec![1, u64::MAX, 1 << 63]);
        for prefix in 0..9usize {
            let bytes = postcard::to_stdvec(&(vec![7u8; prefix], &words)).unwrap();
            assert_eq!(bytes.len(), 1 + prefix + 1 + 24);
            let (_, back): (Vec<u8>, Words) = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(back, words);
        }
        assert_eq!(format!("{words:?}"), "Words(3 words)");
    }

    #[test]
    fn a_part_of_a_word_is_refused() {
        let bytes = postcard::to_stdvec(&[3u8, 1, 2, 3][..]).unwrap();
        assert!(postcard::from_bytes::<Words>(&bytes).is_err());
    }
}
