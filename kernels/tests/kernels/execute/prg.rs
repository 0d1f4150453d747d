//! Streams: the core's words at any nonce and offset.

use crate::support::card::{Card, cards};
use crate::support::data::{Draws, words};
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::Word;
use cryptgpu_kernels::ZeroShare;

const KINDS: [Randomness; 2] = [Randomness::Aes128Ctr, Randomness::InsecurePhilox];

/// Fills `n` words from `offset` on, `shift` words behind a 16-byte boundary.
fn check_fill(card: &Card, draws: &mut Draws, offset: usize, n: usize, shift: usize) {
    let (stream, nonce) = draws.next();
    let mut expected = vec![0; n];
    stream.fill(offset, &mut expected);
    let mut out = card.up(&vec![99; n + shift]);
    card.kernels.fill(&card.stream, draws.device(nonce), offset as u64, out.words_mut_from(shift)).unwrap();
    let found = card.down(&out);
    assert_eq!(found[..shift], vec![99; shift], "before the words, {}", card.name);
    assert_eq!(found[shift..], expected, "offset {offset}, {n} words, shifted by {shift}, {}", card.name);
}

#[test]
fn words_agree_at_every_offset_and_length() {
    for card in cards() {
        for kind in KINDS {
            let mut draws = Draws::new(kind, 7);
            for offset in [0, 1, 2, 3, 4, 5, 127, 1000] {
                for n in [0, 1, 2, 3, 4, 5, 8, 33, 64, 1023] {
                    check_fill(card, &mut draws, offset, n, offset % 2);
                    check_fill(card, &mut draws, offset, n, 0);
                }
            }
        }
    }
}

#[test]
fn words_agree_where_a_counter_carries_and_beyond_one_grid() {
    for card in cards() {
        for kind in KINDS {
            let mut draws = Draws::new(kind, 8);
            for offset in [(1 << 8) - 4, (1 << 33) - 6, (1 << 34) - 6, (1 << 40) + 1] {
                check_fill(card, &mut draws, offset, 21, 0);
            }
            check_fill(card, &mut draws, 3, 200_001, 1);
        }
    }
}

/// More streams than one launch has room for, of two kinds, of more keys than it has room for, some of them empty.
#[test]
fn many_streams_in_few_launches_agree() {
    for card in cards() {
        let kinds = [Randomness::Aes128Ctr, Randomness::Aes128Ctr, Randomness::InsecurePhilox];
        let mut draws: Vec<Draws> = (0..6).map(|seed| Draws::new(kinds[usize::from(seed) % 3], seed)).collect();
        let sizes = [1, 0, 700, 64, 5, 100_001, 2, 33];
        let drawn: Vec<_> = (0..120).map(|i| (i % 6, draws[i % 6].next(), sizes[i % 8])).collect();
        let mut outs: Vec<_> = drawn.iter().map(|&(_, _, n)| card.blank(n)).collect();
        let jobs = drawn.iter().zip(&mut outs);
        let fills = jobs.map(|(&(of, (_, nonce), _), out)| (draws[of].device(nonce), out.words_mut())).collect();
        card.kernels.fills(&card.stream, fills).unwrap();
        for ((_, (stream, _), n), out) in drawn.iter().zip(&outs) {
            let mut expected = vec![0; *n];
            stream.fill(0, &mut expected);
            assert_eq!(card.down(out), expected, "{n} words, {}", card.name);
        }
    }
}

#[test]
fn zero_shares_agree() {
    for card in cards() {
        for kind in KINDS {
            let (mut plus, mut minus) = (Draws::new(kind, 1), Draws::new(kind, 2));
            for (n, offset) in [(0, 0), (1, 0), (2, 1), (65, 0), (512, 512), (777, 5)] {
                let ((ps, pn), (ms, mn)) = (plus.next(), minus.next());
                let (mut p, mut m) = (vec![0; n], vec![0; n]);
                ps.fill(offset, &mut p);
                ms.fill(offset, &mut m);
                let z = words(11, n);
                // Of elements of 32 bits two stand in a word.
                let mut dz = card.up(&z);
                let streams = [plus.device(pn), minus.device(mn)];
                let arithmetic = ZeroShare::Arithmetic;
                card.kernels.add_zero::<u32>(&card.stream, arithmetic, streams, offset as u64, dz.words_mut()).unwrap();
                let mut expected = z.clone();
                for (z, (p, m)) in u32::of_mut(&mut expected).iter_mut().zip(u32::of(&p).iter().zip(u32::of(&m))) {
                    *z = z.wrapping_add(*p).wrapping_sub(*m);
                }
                assert_eq!(card.down(&dz), expected, "of 32 bits, n = {n}, {kind}, {}", card.name);
                for share in [ZeroShare::Arithmetic, ZeroShare::Binary] {
                    let mut dz = card.up(&z);
                    let streams = [plus.device(pn), minus.device(mn)];
                    card.kernels.add_zero::<u64>(&card.stream, share, streams, offset as u64, dz.words_mut()).unwrap();
                    let each = |i: usize| match share {
                        ZeroShare::Arithmetic => z[i].wrapping_add(p[i]).wrapping_sub(m[i]),
                        ZeroShare::Binary => z[i] ^ p[i] ^ m[i],
                    };
                    let expected: Vec<u64> = (0..n).map(each).collect();
                    assert_eq!(card.down(&dz), expected, "{share:?}, n = {n}, {kind}, {}", card.name);
                }
            }
        }
    }
}

#[test]
fn a_known_answer_of_fips_197_comes_from_the_card() {
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let keys = cryptgpu_kernels::RoundKeys::expand(&key);
    for card in cards() {
        // The counter block 00112233445566778899aabbccddeeff: its low half is the block number.
        let (nonce, block) = (0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff_u64);
        let stream = cryptgpu_kernels::Stream::Aes128Ctr { keys: &keys, nonce };
        // Word 2·block is beyond 2⁶⁴, so the stream is read from half of it, with the top bit of the block cleared.
        let mut out = card.blank(2);
        let result = card.kernels.fill(&card.stream, stream, (block & !(1 << 63)) * 2, out.words_mut());
        result.unwrap();
        let aes = cryptgpu_core::prg::Aes128Ctr::new(&cryptgpu_core::prg::Key::from_bytes(key));
        let mut expected = [0; 2];
        aes.keystream(u128::from(nonce) << 64 | u128::from(block & !(1 << 63)), &mut expected);
        assert_eq!(card.down(&out), expected, "{}", card.name);
    }
}
