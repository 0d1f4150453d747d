//! What protocols are made of: rounds, messages by hand, draws, words, claims, recorded views.

use super::array;
use crate::device::Tensor;
use crate::mpc::{CheckedClaim, Claim, Cost, MpcError, Party, PartyView, Rep, RepXor, Sharing, Side, World};
use crate::net::{Options, PartyId};
use crate::ring::Ring;
use std::time::Duration;

fn impatient() -> World {
    World { options: Options { deadline: Duration::from_millis(300), ..Options::default() }, ..World::seeded(3) }
}

fn tensor(words: Vec<u64>) -> Tensor {
    Tensor::from_array(Default::default(), &array(&[words.len()], words))
}

#[test]
fn m_products_that_do_not_need_each_other_cost_one_round() {
    let world = World::seeded(1);
    let x = world.deal(&array(&[2000], super::samples(2000, 1)));
    let results = world.run_counted(|p| {
        let x = &x[p.id().index()];
        let z = [x.local_mul(x).unwrap(), x.local_mul(&x.mul_word(3)).unwrap(), x.to_additive()];
        p.round(|r| z.into_iter().map(|z| r.reshare(z)).collect::<Result<Vec<_>, _>>()).unwrap().len()
    });
    for (len, stats) in &results {
        assert_eq!((*len, stats.rounds, stats.messages()), (3, 1, 1));
    }
    assert_eq!(results.iter().map(|(_, stats)| stats.payload_bytes()).sum::<u64>(), 3 * 24 * 2000);
}

#[test]
fn everything_of_a_round_arrives_in_order_whatever_its_type() {
    let results = World::seeded(1).run_counted(|p| {
        let me = p.id().index() as u64;
        let bits = tensor((0..70).map(|i| i * me % 2).collect());
        let got = p.round(|r| {
            for to in [Side::Next, Side::Prev] {
                r.send_integers(to, &[me as u8, 9, 200]);
                r.send(to, &bits, 1)?;
                r.send_integers(to, &[-5i64 - me as i64]);
                r.send_integers(to, &[70_000u32; 3]);
                r.send_integers::<u16>(to, &[]);
            }
            let from = |r: &mut crate::mpc::Round<'_>, side| {
                let first = r.receive_integers::<u8>(side, 3);
                let second = r.receive(side, &[7, 10], 1)?;
                let rest = (r.receive_integers::<i64>(side, 1), r.receive_integers::<u32>(side, 3));
                Ok::<_, MpcError>((first, second, rest, r.receive_integers::<u16>(side, 0)))
            };
            Ok([from(r, Side::Next)?, from(r, Side::Prev)?])
        });
        for ((bytes, bits, (signed, words), none), peer) in got.unwrap().into_iter().zip([p.id().next(), p.id().prev()])
        {
            let peer = peer.index() as u64;
            assert_eq!((bytes, signed, words), (vec![peer as u8, 9, 200], vec![-5 - peer as i64], vec![70_000; 3]));
            assert_eq!((bits.shape(), none.len()), ([7, 10].as_slice(), 0));
            assert!(bits.into_host().unwrap().into_iter().enumerate().all(|(i, bit)| bit == i as u64 * peer % 2));
        }
    });
    // 3 bytes, 70 bits, 8 bytes and 12 bytes, in whole words: 1 + 2 + 1 + 2.
    assert!(results.iter().all(|(_, stats)| stats.messages() == 2 && stats.payload_bytes() == 2 * 6 * 8));
}

#[test]
fn another_type_than_expected_is_an_error_that_names_both() {
    let [_, error, _] = impatient().run(|p| match p.id().index() {
        0 => p.send_integers(Side::Next, &[1u8; 32]).map(drop),
        1 => p.receive_integers::<u16>(Side::Prev, 16).map(drop),
        _ => Ok(()),
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("expected integers of 16 bits (4 words) from party 0, got integers of 8 bits"), "{text}");
    // Of equal length in words, but other types within a round.
    let [_, error, _] = impatient().run(|p| match p.id().index() {
        0 => p.round(|r| {
            r.send_integers(Side::Next, &[1u64]);
            r.send(Side::Next, &tensor(vec![1]), 1)
        }),
        1 => p.round(|r| Ok((r.receive(Side::Prev, &[1], 1)?, r.receive_integers::<u64>(Side::Prev, 1)))).map(drop),
        _ => Ok(()),
    });
    assert!(matches!(error.unwrap_err(), MpcError::Message { .. }));
    // Another length is an error of the link, as everywhere.
    let [_, error, _] = impatient().run(|p| match p.id().index() {
        0 => p.send(Side::Next, &tensor(vec![1; 3]), 64),
        1 => p.receive(Side::Prev, &[4], 64).map(drop),
        _ => Ok(()),
    });
    assert!(matches!(error.unwrap_err(), MpcError::Net(_)));
    for width in [0, 65] {
        let [error, ..] = World::seeded(1).run(|p| p.send(Side::Next, &tensor(vec![1]), width));
        assert!(matches!(error, Err(MpcError::Device { .. })));
    }
}

#[test]
fn a_party_that_takes_other_nonces_is_found_out() {
    let [error, ..] = impatient().run(|p| {
        if p.id().index() == 1 {
            let [_unused] = p.nonces();
        }
        let z = tensor(vec![1, 2]);
        p.reshare(crate::mpc::Additive::from_summand(z)).map(drop)
    });
    assert!(matches!(error.unwrap_err(), MpcError::Net(crate::net::NetError::Diverged { .. })));
}

#[test]
fn draws_are_common_to_whom_they_say_and_of_the_width_they_say() {
    let draws = World::seeded(4).run(|p| {
        let [next, prev, all, own] = p.nonces();
        [
            p.with_next(next, &[300], 20).unwrap(),
            p.with_prev(prev, &[300], 20).unwrap(),
            p.with_all(all, &[300], 7).unwrap(),
            p.with_nobody(own, &[300], 64).unwrap(),
        ]
        .map(|tensor| tensor.into_host().unwrap())
    });
    let [a, b, c] = &draws;
    assert!(a[2] == b[2] && b[2] == c[2] && a[3] != b[3] && b[3] != c[3]);
    for (i, draw) in draws.iter().enumerate() {
        assert!(
            draw[0].iter().chain(&draw[1]).all(|word| word >> 20 == 0) && draw[2].iter().all(|word| word >> 7 == 0)
        );
        assert!(draw[0].iter().any(|word| word >> 19 == 1), "all bits are used");
        assert_ne!(draw[0], draws[(i + 1) % 3][1], "another nonce gives other words");
    }
    // The same nonce at both ends of a key.
    let [a, b, c] = World::seeded(4).run(|p| {
        let [nonce] = p.nonces();
        let at = |side| if side { p.with_next(nonce, &[300], 20) } else { p.with_prev(nonce, &[300], 20) };
        at(p.id().index() == 0).unwrap().into_host().unwrap()
    });
    assert!(a == b && b != c);
}

#[test]
fn zero_shares_sum_to_zero_and_are_not_zero() {
    for ring in super::RINGS {
        let shares = World::seeded(1).in_ring(ring).run(|p| {
            let sum = p.zero_share(&[101]);
            let bits = p.zero_share_xor(&[101], 5).unwrap();
            [sum.mine().clone().into_host().unwrap(), bits.mine().clone().into_host().unwrap()]
        });
        for i in 0..101 {
            let of = |which: usize| shares.each_ref().map(|share| share[which][i]);
            assert_eq!(ring.residue(of(0).into_iter().fold(0, u64::wrapping_add)), 0);
            assert_eq!(of(1).into_iter().fold(0, |a, b| a ^ b), 0);
            assert!(of(0).iter().all(|&word| word != 0) && of(1).iter().all(|word| word >> 5 == 0));
        }
    }
}

#[test]
fn words_compute_what_words_compute() {
    // 511 bits are packed for 512 elements in the ring of 32 bits, which is another packing.
    for (ring, n) in super::RINGS.into_iter().flat_map(|ring| [(ring, 130), (ring, 511)]) {
        let world = World::seeded(8).in_ring(ring);
        let [x, y] = [1, 2].map(|seed| super::samples_in(ring, n, seed));
        let tensor = |words: &[u64]| Tensor::from_array_in(ring, Default::default(), &array(&[n], words.to_vec()));
        for width in [ring.bits(), 13, 1] {
            let mask = u64::MAX >> (64 - width);
            let opened = world.run(|p| {
                let owner = PartyId::P2;
                let mine = p.id() == owner;
                let (x, y) = (tensor(&x), tensor(&y));
                let a = p.input_xor(owner, mine.then_some(&x), &[n], width)?;
                let b = RepXor::public(p.id(), &y, width)?;
                let and = p.reshare(a.local_and(&b)?)?;
                let c = and.xor(&a.not(p.id()))?.xor_word(p.id(), 5).xor_public(p.id(), &y)?;
                let c = c.and_word(!2).and_public(&x)?.shl(3).shr(1);
                let both = RepXor::concat(&[c.clone(), a])?.narrow(0..n)?.reshape(&[1, n])?;
                assert_eq!((both.width(), both.shape(), both.len(), both.is_empty()), (width, &[1, n][..], n, false));
                let bit = p.open_bits(&c.bit(width - 1)?)?;
                let low = p.open_xor(&c.field(1, 1)?)?;
                Ok::<_, MpcError>((p.open_xor(&both)?.into_host()?, bit, low.into_host()?))
            });
            let (words, bits, low) = opened.into_iter().next().unwrap().unwrap();
            for i in 0..n {
                let (x, y) = (x[i] & mask, y[i] & mask);
                let c = ((x & y) ^ (!x & mask) ^ (5 & mask) ^ y) & !2 & x;
                let c = ((c << 3) & mask) >> 1;
                let found = (words[i], bits[i], low[i]);
                assert_eq!(found, (c, c >> (width - 1) & 1 == 1, c >> 1 & 1), "{width} bits of {ring}, {i}");
            }
        }
    }
    let world = World::seeded(8);
    let [error, ..] = world.run(|p| RepXor::public(p.id(), &tensor(vec![1]), 65).map(drop));
    assert!(error.unwrap_err().to_string().contains("a word has no bits 0 to 0 + 65"));
}

#[test]
fn words_of_few_bits_send_few_bits() {
    let results = World::seeded(8).run_counted(|p| {
        let x = p.input_xor(PartyId::P0, (p.id().index() == 0).then(|| tensor(vec![5; 640])).as_ref(), &[640], 3);
        let x = x.unwrap();
        let before = p.stats();
        p.reshare(x.local_and(&x).unwrap()).map(drop).unwrap();
        p.stats().since(&before).payload_bytes()
    });
    assert!(results.iter().all(|(bytes, _)| *bytes == 3 * 80));
}

#[test]
fn bits_and_words_of_bits_are_the_same() {
    let world = World::seeded(8);
    let x = world.deal(&array(&[700], super::samples(700, 3)));
    let [(bits, words), ..] = world.run(|p| {
        let bits = p.sign(&x[p.id().index()]).unwrap();
        let words = bits.to_words();
        let back = words.bit(0).unwrap();
        (p.open_bits(&back).unwrap(), p.open_xor(&words).unwrap().into_host().unwrap())
    });
    assert_eq!(bits, words.iter().map(|&word| word == 1).collect::<Vec<_>>());
    assert_eq!(bits, super::samples(700, 3).iter().map(|&x| (x as i64) < 0).collect::<Vec<_>>());
}

fn claims(protocol: impl Fn(&mut Party, &Rep) -> Result<(), MpcError> + Sync) -> Vec<CheckedClaim> {
    let world = World::seeded(1);
    let x = world.deal(&array(&[2000], super::samples(2000, 1)));
    let parties: Vec<Vec<Claim>> = world
        .run(|p| {
            protocol(p, &x[p.id().index()]).unwrap();
            p.take_claims()
        })
        .into();
    let sent = postcard::to_stdvec(&parties).unwrap();
    let parties: Vec<Vec<Claim>> = postcard::from_bytes(&sent).unwrap();
    Claim::check([&parties[0], &parties[1], &parties[2]])
}

#[test]
fn claims_are_about_their_step_and_add_up_in_loops() {
    let checked = claims(|p, x| {
        p.declare(3, 3 * 24 * 2000);
        p.step("squares", |p| {
            for _ in 0..2 {
                p.declare(1, 24 * 2000);
                p.mul_no_trunc(x, x).map(drop)?;
            }
            p.step("inner", |p| {
                p.declare(1, 24 * 2000 + 8);
                p.mul_no_trunc(x, x).map(drop)
            })
        })
    });
    let shown: Vec<String> = checked.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "squares/inner: claimed 1 round, 48008 bytes; counted 1 round, 48000 bytes: WRONG",
            // The inner step is a part of the outer one.
            "squares: claimed 2 rounds, 96000 bytes; counted 3 rounds, 144000 bytes: WRONG",
            "the whole run: claimed 3 rounds, 144000 bytes; counted 3 rounds, 144000 bytes: holds",
        ]
    );
    assert_eq!(checked.iter().map(CheckedClaim::holds).collect::<Vec<_>>(), [false, false, true]);
    let differing = claims(|p, x| {
        p.declare(1 + p.id().index() as u64, 24 * 2000);
        p.mul_no_trunc(x, x).map(drop)
    });
    assert!(!differing[0].holds() && differing[0].to_string().contains("claim different costs"));
}

/// What an author declares about a step stands in place of what is declared inside it, and outside it adds to the rest.
#[test]
fn a_claim_covers_what_is_inside_its_step() {
    let x = World::seeded(1).deal(&array(&[10], vec![1; 10]));
    World::seeded(1).run(|p| {
        let x = &x[p.id().index()];
        let product = Cost { rounds: 1, bytes: 240 };
        p.mul_no_trunc(x, x).map(drop).unwrap();
        assert_eq!(p.declared(), product);
        let claimed = p.step("outer", |p| {
            p.mul_no_trunc(x, x).map(drop)?;
            p.step("inner", |p| {
                assert_eq!(p.declared(), product.times(2));
                p.declare(5, 1000);
                p.mul_no_trunc(x, x).map(drop)?;
                assert_eq!(p.declared(), product.times(2) + Cost { rounds: 5, bytes: 1000 });
                p.declare(1, 1);
                Ok::<_, MpcError>(())
            })?;
            p.mul_no_trunc(x, x).map(drop)?;
            Ok::<_, MpcError>(p.declared())
        });
        let inner = Cost { rounds: 6, bytes: 1001 };
        assert_eq!((claimed.unwrap(), p.declared()), (product.times(3) + inner, product.times(3) + inner));
        let step = p.step("claimed", |p| {
            p.step("inner", |p| {
                p.declare(7, 7);
                Ok::<_, MpcError>(())
            })?;
            p.mul_no_trunc(x, x).map(drop)?;
            p.declare(2, 500);
            Ok::<_, MpcError>(())
        });
        step.unwrap();
        let before = product.times(3) + inner + Cost { rounds: 2, bytes: 500 };
        assert_eq!((p.declared(), p.take_claims().len()), (before, 3));
        p.declare(1, 3);
        p.mul_no_trunc(x, x).map(drop).unwrap();
        assert_eq!((p.declared(), p.take_claims().len()), (before + Cost { rounds: 1, bytes: 3 }, 1));
        assert_eq!(p.declared(), before + Cost { rounds: 1, bytes: 3 });
    });
}

#[test]
fn a_run_is_claimed_by_itself() {
    let x = World::seeded(1).deal(&array(&[2000], vec![1; 2000]));
    let runs = World::seeded(1).run(|p| {
        let x = &x[p.id().index()];
        let mut run = |rounds| {
            p.declare(rounds, 24 * 2000 * rounds);
            (0..rounds).try_for_each(|_| p.mul_no_trunc(x, x).map(drop)).unwrap();
            p.take_claims()
        };
        [run(1), run(2)]
    });
    for run in 0..2 {
        let checked = Claim::check(runs.each_ref().map(|runs| runs[run].as_slice()));
        assert!(checked.len() == 1 && checked[0].holds(), "{checked:?}");
        assert_eq!(checked[0].counted, Cost { rounds: run as u64 + 1, bytes: 48_000 * (run as u64 + 1) });
    }
}

fn record_views(world: &World, room: u64) -> [PartyView; 3] {
    let x = world.deal(&array(&[2, 3], vec![1, 2, 3, 4, 5, 6]));
    world.run(|p| {
        assert!(p.take_view().is_err() && !p.is_recording());
        p.insecure_record(room);
        let x = &x[p.id().index()];
        p.record("x", x).unwrap();
        let z = x.local_mul(x).unwrap();
        p.record("z", &z).unwrap();
        let z = p.step("square", |p| p.reshare(z)).unwrap();
        p.record("x", &z).unwrap();
        p.step("result", |p| p.open(&z)).unwrap();
        let bits = p.sign(&x.neg()).unwrap();
        p.record("bits", &bits).unwrap();
        let view = p.take_view().unwrap();
        p.record("late", x).unwrap();
        assert!(!p.is_recording());
        view
    })
}

#[test]
fn a_recorded_view_has_shares_messages_and_what_they_make() {
    let views = record_views(&World::seeded(1), 1 << 20);
    let values = |name| PartyView::values(&views, name);
    let words = |words: [u64; 6]| array(&[2, 3], words.to_vec());
    assert_eq!(values("x"), [words([1, 2, 3, 4, 5, 6]), words([1, 4, 9, 16, 25, 36])]);
    assert_eq!(values("z"), [words([1, 4, 9, 16, 25, 36])]);
    assert_eq!(values("open"), [words([1, 4, 9, 16, 25, 36])]);
    assert_eq!(values("bits"), [words([1; 6])]);
    assert!(values("late").is_empty() && values("no such name").is_empty());
    for (party, view) in PartyId::ALL.into_iter().zip(&views) {
        assert_eq!((view.party, view.omitted), (party, 0));
        let (reshare, open) = (&view.messages[0], &view.messages[1]);
        assert_eq!((reshare.from, reshare.step.as_str(), reshare.kind.as_str()), (party.next(), "square", "reshare"));
        assert_eq!((open.from, open.step.as_str(), open.kind.as_str()), (party.prev(), "result", "open"));
        assert_eq!((reshare.words.len(), reshare.arrays.as_slice()), (6, [6].as_slice()));
        assert_eq!(view.shares[0].sharing, Sharing::Replicated);
        // What the sender holds as its component is what came.
        let sender = &views[party.next().index()];
        let component = &sender.shares.iter().filter(|share| share.name == "x").nth(1).unwrap().components[0];
        assert_eq!(component, &(party.next().index(), reshare.words.clone()));
        let shown = format!("{view:?} {:?} {:?}", view.shares[0], reshare);
        assert!(!shown.contains(&reshare.words[0].to_string()), "{shown}");
        let sent = postcard::to_stdvec(view).unwrap();
        assert_eq!(&postcard::from_bytes::<PartyView>(&sent).unwrap(), view);
    }
}

/// Elements, not words of memory; and what three parties make of them is of the ring.
#[test]
fn a_recorded_view_is_of_its_ring() {
    let views = record_views(&World::seeded(1).in_ring(Ring::Z32), 1 << 20);
    let square = array(&[2, 3], vec![1, 4, 9, 16, 25, 36]);
    assert_eq!(PartyView::values(&views, "z"), std::slice::from_ref(&square));
    assert_eq!(PartyView::values(&views, "open"), [square]);
    assert_eq!(PartyView::values(&views, "bits"), [array(&[2, 3], vec![1; 6])]);
    let view = &views[0];
    assert!(view.shares.iter().all(|share| share.ring == Ring::Z32 && share.components[0].1.len() == 6));
    assert_eq!(view.messages[0].words.len(), 3, "two elements in a word");
}

#[test]
fn a_recorded_view_keeps_to_its_room() {
    for view in record_views(&World::seeded(1), 40) {
        assert!(view.omitted > 0, "{view:?}");
        let kept: usize = view.shares.iter().flat_map(|share| &share.components).map(|(_, words)| words.len()).sum();
        assert!(kept <= 40 && !view.shares.is_empty() && !view.messages.is_empty());
    }
}

#[test]
fn a_world_deals_other_components_at_each_call_and_the_same_ones_again_from_its_seed() {
    let value = array(&[4], vec![7; 4]);
    let words = |rep: &Rep| rep.components().0.clone().into_host().unwrap();
    let deals = |world: &World| [world.deal(&value), world.deal(&value)].map(|shares| shares.each_ref().map(words));
    let world = World::seeded(1);
    let first = deals(&world);
    for (one, other) in first[0].iter().zip(&first[1]) {
        assert!(one.iter().zip(other).all(|(a, b)| a != b));
    }
    // A clone goes on with the next.
    assert!(first == deals(&World::seeded(1)) && world.clone().deal(&value).each_ref().map(words) != first[0]);
}

#[test]
fn what_goes_to_somebody_outside_sums_to_the_value_and_is_no_component() {
    let world = World::seeded(1);
    let words = super::samples(130, 3);
    let x = world.deal(&array(&[130], words.clone()));
    let parties = world.run(|p| {
        let x = &x[p.id().index()];
        let bits = p.sign(x).unwrap();
        let two = [0, 1].map(|_| p.fresh_summand(x).unwrap().into_host().unwrap());
        let of_bits = [0, 1].map(|_| p.fresh_summand_of_bits(&bits).unwrap().into_host().unwrap());
        let held = [x.components().0.clone().into_host(), bits.components().0.view().to_host()].map(Result::unwrap);
        (two, of_bits, held)
    });
    for time in 0..2 {
        let sum = |at: usize| parties.iter().fold(0u64, |sum, (two, ..)| sum.wrapping_add(two[time][at]));
        assert!(words.iter().enumerate().all(|(at, &word)| sum(at) == word));
        let bits = |at: usize| parties.iter().fold(0, |sum, (_, bits, _)| sum ^ bits[time][at]);
        let held = |at: usize| parties.iter().fold(0, |sum, (.., held)| sum ^ held[1][at]);
        assert!((0..parties[0].1[0].len()).all(|at| bits(at) == held(at)));
    }
    for (two, of_bits, held) in &parties {
        let differ = |a: &[u64], b: &[u64]| a.iter().zip(b).all(|(a, b)| a != b);
        assert!(differ(&two[0], &two[1]) && two.iter().all(|summand| differ(summand, &held[0])));
        assert!(differ(&of_bits[0], &of_bits[1]) && of_bits.iter().all(|summand| differ(summand, &held[1])));
    }
}
