//! Copies of a few words, as there are many of where blocks are small.

use crate::ring::Word;

/// Copies words: of so few as a row of a tile has, a call of `memcpy`, which a loop over blocks would become too, costs more than
/// its work.
#[inline(always)]
pub(crate) fn copy_few<T: Word>(target: &mut [T], source: &[T]) {
    if target.len() >= 64 {
        return target.copy_from_slice(source);
    }
    let rest = copy_block::<T, 32>((target, source));
    let rest = copy_block::<T, 16>(rest);
    let rest = copy_block::<T, 8>(rest);
    let rest = copy_block::<T, 4>(rest);
    let rest = copy_block::<T, 2>(rest);
    copy_block::<T, 1>(rest);
}

/// Copies the first `N` words, where there are as many; what is left.
#[inline(always)]
fn copy_block<'a, 'b, T: Word, const N: usize>((to, from): (&'a mut [T], &'b [T])) -> (&'a mut [T], &'b [T]) {
    if to.len() < N {
        return (to, from);
    }
    let ((block, to), (words, from)) = (to.split_at_mut(N), from.split_at(N));
    if let (Some(block), Some(words)) = (block.first_chunk_mut::<N>(), words.first_chunk::<N>()) {
        *block = *words;
    }
    (to, from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lengths_are_copied() {
        let words: Vec<u32> = (1..200).collect();
        for len in 0..words.len() {
            let mut target = vec![0; len];
            copy_few(&mut target, &words[..len]);
            assert_eq!(target, words[..len]);
        }
    }
}
