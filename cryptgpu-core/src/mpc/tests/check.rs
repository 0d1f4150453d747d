//! The protocol checker finds what it is there to find: each protocol here is wrong in one way.

use crate::device::{Binary, Tensor, Unary};
use crate::mpc::check::{Check, CheckError, Report, Stated, elementwise};
use crate::mpc::{Additive, CheckedClaim, Cost, MpcError, Party, Rep, Side};

type Result<T> = std::result::Result<T, MpcError>;

fn product_of(x: &[i64]) -> i64 {
    x[0].wrapping_mul(x[1])
}

fn check(protocol: impl Fn(&mut Party, &[Rep]) -> Result<Rep> + Sync) -> Report {
    let report = Check::new("product", 2).run(protocol, elementwise(product_of)).unwrap();
    if !report.passed() {
        let error = report.clone().require().unwrap_err();
        assert!(matches!(error, CheckError::Failed(_)) && error.to_string().contains("FAILED"));
    }
    report
}

/// A share from this party's summand and what the next one sent.
fn exchange(p: &mut Party, z: Tensor) -> Result<Rep> {
    let shape = z.shape().to_vec();
    let b = p.round(|r| {
        r.send(Side::Prev, &z, 64)?;
        r.receive(Side::Next, &shape, 64)
    })?;
    Ok(Rep::from_components(z, b)?)
}

/// Values and costs hold, and only the views do not; they say so with these words.
fn leaks(report: &Report, words: &str) {
    let views = report.views.as_ref().unwrap();
    assert!(report.values.wrong == 0 && report.costs.iter().all(|costs| costs.hold()), "{report}");
    assert!(!views.passed() && !report.passed(), "{report}");
    assert!(views.findings.iter().any(|finding| finding.what.contains(words)), "{report}");
    assert!(report.to_string().contains("LEAK: party"), "{report}");
}

#[test]
fn a_product_as_it_should_be_passes() {
    let report = check(|p, x| {
        p.declare(1, 24 * x[0].len() as u64);
        p.reshare(x[0].local_mul(&x[1])?)
    });
    assert!(report.passed(), "{report}");
    let text = report.to_string();
    assert!(text.starts_with("product: passed\n") && text.contains("declared 1 round"), "{text}");
    let views = report.views.as_ref().unwrap();
    assert!(views.tests > 1000 && views.smallest > views.level && views.untested.is_empty(), "{report}");
}

#[test]
fn a_product_without_its_mask_is_found() {
    let report = check(|p, x| {
        p.declare(1, 24 * x[0].len() as u64);
        let z = x[0].local_mul(&x[1])?;
        exchange(p, z.mine().clone())
    });
    leaks(&report, "on the first secret");
}

#[test]
fn a_mask_that_the_receiver_knows_is_found() {
    // z + F(kᵢ) goes to party i − 1, who has kᵢ: uniform by itself. It is made a share again by a
    // proper mask afterwards.
    let report = check(|p, x| {
        p.declare(2, 48 * x[0].len() as u64);
        let z = x[0].local_mul(&x[1])?;
        let [nonce] = p.nonces();
        let masked = z.mine().add(&p.with_prev(nonce, z.shape(), 64)?)?;
        p.send(Side::Prev, &masked, 64)?;
        p.receive(Side::Next, z.shape(), 64)?;
        p.reshare(z)
    });
    leaks(&report, "on the first secret");
}

#[test]
fn the_component_that_the_receiver_lacks_is_found_open_and_behind_a_known_mask() {
    for mask in [false, true] {
        let report = check(move |p, x| {
            p.declare(2, 48 * x[0].len() as u64);
            let (shape, b) = (x[0].shape(), x[0].components().1);
            let [nonce] = p.nonces();
            // Both are uniform by themselves: xᵢ₊₁ to party i − 1, who has the other two.
            let message = if mask { b.sub(&p.with_prev(nonce, shape, 64)?)? } else { b.clone() };
            p.send(Side::Prev, &message, 64)?;
            p.receive(Side::Next, shape, 64)?;
            p.reshare(x[0].local_mul(&x[1])?)
        });
        leaks(&report, "on the first secret");
    }
}

#[test]
fn an_intermediate_value_that_is_opened_is_found() {
    let report = check(|p, x| {
        p.declare(2, 48 * x[0].len() as u64);
        p.step("peek", |p| p.open(&x[0]))?;
        p.reshare(x[0].local_mul(&x[1])?)
    });
    leaks(&report, "open, at peek");
    // The same is allowed where it is the output.
    let allowed = Check::new("opened product", 2).reveals("result").run(
        |p: &mut Party, x: &[Rep]| {
            let z = p.mul_no_trunc(&x[0], &x[1])?;
            p.step("result", |p| p.open(&z))
        },
        elementwise(product_of),
    );
    let report = allowed.unwrap();
    assert!(report.passed() && report.views.as_ref().unwrap().untested.is_empty(), "{report}");
    // A step of that name within another is another step.
    let elsewhere = Check::new("opened product", 2).reveals("result").run(
        |p: &mut Party, x: &[Rep]| {
            p.step("hidden", |p| p.step("result", |p| p.open(&x[0])))?;
            let z = p.mul_no_trunc(&x[0], &x[1])?;
            p.step("result", |p| p.open(&z))
        },
        elementwise(product_of),
    );
    assert!(!elsewhere.unwrap().passed());
    // And a step that is not there is a mistake.
    let nowhere =
        Check::new("product", 2).reveals("result").run(|p, x| p.mul_no_trunc(&x[0], &x[1]), elementwise(product_of));
    assert!(matches!(nowhere, Err(CheckError::Setup(_))));
}

/// Sends a tensor to the previous party, who has both components of index i − 1 and i.
fn to_prev(p: &mut Party, x: &Tensor) -> Result<()> {
    p.send(Side::Prev, x, 64)?;
    p.receive(Side::Next, x.shape(), 64)?;
    Ok(())
}

fn on_host(x: &Tensor, f: impl Fn(usize, u64) -> u64) -> Result<Tensor> {
    let words = x.view().to_host()?.into_iter().enumerate().map(|(at, word)| f(at, word)).collect();
    Ok(Tensor::new(x.device().upload(words), x.shape())?)
}

type Author = dyn Fn(&mut Party, &[Rep]) -> Result<()> + Sync;

/// Whether the views of a product pass when an author does this before it.
fn passes(before: &Author) -> bool {
    let report = check(|p, x| {
        before(p, x)?;
        p.mul_no_trunc(&x[0], &x[1])
    });
    assert!(report.values.wrong == 0, "{report}");
    report.views.unwrap().passed()
}

fn masks<const K: usize>(p: &mut Party, like: &Rep) -> Result<[Tensor; K]> {
    let nonces: [_; K] = p.nonces();
    let masks: Vec<Tensor> =
        nonces.into_iter().map(|nonce| p.with_next(nonce, like.shape(), 64)).collect::<Result<_>>()?;
    Ok(masks.try_into().unwrap())
}

/// A component that the previous party lacks.
fn lacking(x: &Rep) -> &Tensor {
    x.components().1
}

#[test]
fn leaks_that_authors_make_are_found() {
    let leaks: [(&str, &Author); 13] = [
        ("a summand of a product as it is", &|p, x| to_prev(p, x[0].local_mul(&x[1])?.mine())),
        ("a short array that is opened", &|p, x| {
            let first = x[0].reshape(&[x[0].len()])?.narrow(0..1)?;
            p.open(&first).map(drop)
        }),
        ("an intermediate value behind public coins", &|p, x| {
            let [nonce] = p.nonces();
            let coins = p.with_all(nonce, x[0].shape(), 64)?;
            p.open(&x[0].add_public(p.id(), &coins)?).map(drop)
        }),
        ("one mask on two inputs", &|p, x| {
            let [mask] = masks(p, &x[0])?;
            to_prev(p, &lacking(&x[0]).add(&mask)?)?;
            to_prev(p, &lacking(&x[1]).add(&mask)?)
        }),
        ("one mask on c and 3c", &|p, x| {
            let [mask] = masks(p, &x[0])?;
            to_prev(p, &lacking(&x[0]).add(&mask)?)?;
            to_prev(p, &lacking(&x[0]).unary(Unary::Mul(3)).add(&mask)?)
        }),
        ("no mask in the last, partial block", &|p, x| {
            let [mask] = masks(p, &x[0])?;
            let whole = x[0].len() / 512 * 512;
            let mask = on_host(&mask, |at, word| if at < whole || whole == 0 { word } else { 0 })?;
            to_prev(p, &lacking(&x[0]).add(&mask)?)
        }),
        ("a mask that all know", &|p, x| {
            let [nonce] = p.nonces();
            to_prev(p, &lacking(&x[0]).add(&p.with_all(nonce, x[0].shape(), 64)?)?)
        }),
        ("a mask that the receiver has", &|p, x| {
            let [nonce] = p.nonces();
            to_prev(p, &lacking(&x[0]).add(&p.with_prev(nonce, x[0].shape(), 64)?)?)
        }),
        ("a mask of 32 bits of 64", &|p, x| {
            let [nonce] = p.nonces();
            to_prev(p, &lacking(&x[0]).add(&p.with_next(nonce, x[0].shape(), 32)?)?)
        }),
        ("a biased mask", &|p, x| {
            let [a, b] = masks(p, &x[0])?;
            to_prev(p, &lacking(&x[0]).xor(&a.and(&b)?)?)
        }),
        ("three messages whose exclusive or is a secret", &|p, x| {
            let [a, b] = masks(p, &x[0])?;
            to_prev(p, &a)?;
            to_prev(p, &b)?;
            to_prev(p, &lacking(&x[0]).xor(&a.xor(&b)?)?)
        }),
        ("a product of two masks on a secret, beside them", &|p, x| {
            let [a, b] = masks(p, &x[0])?;
            to_prev(p, &a)?;
            to_prev(p, &b)?;
            to_prev(p, &lacking(&x[0]).add(&a.binary("test", Binary::Mul, &b)?)?)
        }),
        ("a secret times a mask", &|p, x| {
            let [a] = masks(p, &x[0])?;
            to_prev(p, &lacking(&x[0]).binary("test", Binary::Mul, &a)?)
        }),
    ];
    for (leak, before) in leaks {
        assert!(!passes(before), "passed: {leak}");
    }
    // What nobody waits for goes the other way, where no message of the protocol is behind it. The next party lacks
    // component i. The product is shared anew, for nobody to have ended before all have sent.
    fn odd(x: &Rep) -> Result<u64> {
        Ok(x.components().0.view().to_host()?[0] & 1)
    }
    let leaks: [(&str, &Author); 3] = [
        ("a secret that nobody waits for", &|p, x| p.send(Side::Next, x[0].components().0, 64)),
        ("a length that depends on a secret", &|p, x| {
            p.send_integers(Side::Next, &vec![0u64; 1 + odd(&x[0])? as usize])
        }),
        ("a kind that depends on a secret", &|p, x| match odd(&x[0])? {
            0 => p.send_integers(Side::Next, &[0u64]),
            _ => p.send_integers(Side::Next, &[0i64]),
        }),
    ];
    for (leak, before) in leaks {
        let report = check(|p, x| {
            before(p, x)?;
            let product = p.mul_no_trunc(&x[0], &x[1])?;
            p.reshare(product.to_additive())
        });
        assert!(!report.views.unwrap().passed(), "passed: {leak}");
    }
}

#[test]
fn what_is_not_uniform_and_tells_nothing_passes() {
    assert!(
        passes(&|p, x| {
            p.send_integers(Side::Prev, &[1u64, 7, x[0].len() as u64])?;
            p.receive_integers::<u64>(Side::Next, 3).map(drop)
        }),
        "a public header"
    );
    for prime in [97, (1 << 61) - 1] {
        let masked = move |p: &mut Party, x: &[Rep]| -> Result<()> {
            let [mask] = masks(p, &x[0])?;
            let mask = mask.view().to_host()?;
            to_prev(p, &on_host(lacking(&x[0]), |at, word| (word % prime + mask[at] % prime) % prime)?)
        };
        assert!(passes(&masked), "a mask modulo {prime}");
    }
    // Opened, but behind a mask that no party knows: a share of uniform words.
    let random = |p: &mut Party, x: &[Rep]| -> Result<()> {
        let [nonce] = p.nonces();
        let mine = p.with_nobody(nonce, x[0].shape(), 64)?;
        let masks = p.reshare(Additive::from_summand(mine))?;
        p.open(&x[0].add(&masks)?).map(drop)
    };
    assert!(passes(&random), "a value opened behind a mask that nobody knows");
}

#[test]
fn what_cannot_be_tested_is_named() {
    // The opened value is the input itself: no two secrets agree on it.
    let opened = |p: &mut Party, x: &[Rep]| p.step("result", |p| p.open(&x[0]));
    let report = Check::new("opened input", 1).reveals("result").run(opened, elementwise(|x| x[0])).unwrap();
    let untested = &report.views.as_ref().unwrap().untested;
    assert!(!untested.is_empty() && report.to_string().contains("NOT TESTED"), "{report}");
    assert!(!report.passed(), "all that was sent is untested: {report}");
}

#[test]
fn a_message_whose_size_depends_on_the_secret_is_found() {
    let report = check(|p, x| {
        let positive = p.sign(&x[0])?;
        let any = p.open_bits(&positive)?.into_iter().any(|bit| bit);
        let z = x[0].local_mul(&x[1])?;
        if any { p.reshare(z) } else { p.reshare(z).and_then(|z| p.reshare(z.to_additive())) }
    });
    let text = report.to_string();
    assert!(!report.passed() && text.contains("sizes depend on the secret"), "{text}");
}

#[test]
fn costs_off_by_one_are_found() {
    // Costs are counted on runs of their own, so that few views are enough here.
    fn check(protocol: impl Fn(&mut Party, &[Rep]) -> Result<Rep> + Sync) -> Report {
        Check::new("product", 2).view_sizes(&[1]).run(protocol, elementwise(product_of)).unwrap()
    }
    let declaring = |rounds: u64, more: u64| {
        check(move |p, x| {
            p.declare(rounds, 24 * x[0].len() as u64 + more);
            p.reshare(x[0].local_mul(&x[1])?)
        })
    };
    assert!(declaring(1, 0).passed());
    for (rounds, more) in [(2, 0), (0, 0), (1, 1), (1, 8)] {
        let report = declaring(rounds, more);
        assert!(!report.passed() && report.views.as_ref().unwrap().passed(), "{report}");
        assert!(report.to_string().contains("costs   WRONG"), "{report}");
    }
    // Fewer bytes than sent, by a step and by a formula; and parties that claim different things.
    let of_step = check(|p, x| {
        p.step("all", |p| {
            p.declare(1, 8 * x[0].len() as u64);
            p.reshare(x[0].local_mul(&x[1])?)
        })
    });
    assert!(!of_step.passed() && of_step.to_string().contains("all: claimed 1 round"), "{of_step}");
    let formula = Check::new("product", 2).view_sizes(&[1]).costs(|n| Cost { bytes: 24 * n as u64 - 1, rounds: 1 });
    let formula = formula.run(|p, x| p.mul_no_trunc(&x[0], &x[1]), elementwise(product_of)).unwrap();
    assert!(!formula.passed() && formula.to_string().contains("the formula says"), "{formula}");
    let differing = check(|p, x| {
        p.declare(1, 24 * x[0].len() as u64 + p.id().index() as u64);
        p.reshare(x[0].local_mul(&x[1])?)
    });
    assert!(!differing.passed(), "{differing}");
    // Sending by hand and saying nothing about it is not what the parts state; with a claim about its step, it is.
    let silent = check(|p, x| {
        p.send(Side::Prev, &Tensor::full(p.device(), &[1], 0), 64)?;
        p.receive(Side::Next, &[1], 64)?;
        p.reshare(x[0].local_mul(&x[1])?)
    });
    assert!(!silent.passed() && silent.to_string().contains("its parts state"), "{silent}");
    let claimed = check(|p, x| {
        p.step("by hand", |p| {
            p.declare(1, 24);
            p.send(Side::Prev, &Tensor::full(p.device(), &[1], 0), 64)?;
            p.receive(Side::Next, &[1], 64)
        })?;
        p.reshare(x[0].local_mul(&x[1])?)
    });
    assert!(claimed.costs.iter().filter(|costs| costs.dense).all(|costs| costs.stated == Stated::Parts(costs.counted)));
    assert!(claimed.costs.iter().all(|costs| costs.claims.iter().all(CheckedClaim::holds)), "{claimed}");
}

#[test]
fn a_wrong_result_at_an_edge_value_is_found_and_shown() {
    // |x| by the sign bit, which for −2^63 has no right answer.
    let absolute = |p: &mut Party, x: &[Rep]| {
        let bits = p.sign(&x[0])?;
        let negative = p.bit_product(&bits, &x[0])?;
        x[0].sub(&negative.mul_word(2)).map_err(MpcError::from)
    };
    let plaintext = || elementwise(|x| x[0].saturating_abs());
    let report = Check::new("absolute value", 1).view_sizes(&[1]).run(absolute, plaintext()).unwrap();
    let counterexample = report.values.counterexample.clone().unwrap();
    assert_eq!(
        (counterexample.inputs[0], counterexample.expected, counterexample.got),
        (Some(i64::MIN), i64::MAX, i64::MIN)
    );
    assert!(
        !report.passed() && report.to_string().contains("f(-9223372036854775808) = 9223372036854775807"),
        "{report}"
    );
    assert!(report.views.as_ref().unwrap().passed() && report.costs.iter().all(|costs| costs.hold()));
    let report = Check::new("absolute value", 1).view_sizes(&[1]).bits(62).run(absolute, plaintext()).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn components_that_differ_between_their_holders_are_found() {
    let error = Check::new("torn", 1).run(
        |p: &mut Party, x: &[Rep]| {
            let (a, b) = x[0].components();
            let off = u64::from(p.id().index() == 1);
            Rep::from_components(a.unary(Unary::Add(off)), b.clone()).map_err(MpcError::from)
        },
        elementwise(|x| x[0]),
    );
    let text = error.unwrap_err().to_string();
    assert!(text.contains("parties 0 and 1 hold different components 1"), "{text}");
}

#[test]
fn a_protocol_that_fails_is_an_error_that_names_the_party() {
    let run = |protocol: fn(&mut Party, &[Rep]) -> Result<Rep>| {
        Check::new("failing", 1).run(protocol, elementwise(|x| x[0])).unwrap_err().to_string()
    };
    let text = run(|p, x| {
        let z = if p.id().index() == 2 { p.truncate(&x[0], 99) } else { p.truncate(&x[0], 9) };
        z.map(|z| z.neg())
    });
    assert!(text.contains("party 2: truncation: cannot cut 99 bits"), "{text}");
    assert!(matches!(
        Check::new("no", 0).run(|_, x| Ok::<_, MpcError>(x[0].clone()), elementwise(|x| x[0])),
        Err(CheckError::Setup(_))
    ));
    assert!(matches!(
        Check::new("no", 1).bits(64).run(|_, x| Ok::<_, MpcError>(x[0].clone()), elementwise(|x| x[0])),
        Err(CheckError::Setup(_))
    ));
}

#[test]
fn other_outputs_than_shares_are_compared_too() {
    let additive = |_: &mut Party, x: &[Rep]| -> Result<Additive> { Ok(x[0].local_mul(&x[1])?) };
    let report = Check::new("additive", 2).run(additive, elementwise(product_of)).unwrap();
    assert!(report.values.wrong == 0 && report.costs.iter().all(|costs| costs.counted == Cost::FREE), "{report}");
    let words = |p: &mut Party, x: &[Rep]| -> Result<_> { Ok(x[0].component_bits(p.id(), crate::net::PartyId::P1)) };
    let report = Check::new("component", 1).run(words, elementwise(|x| x[0])).unwrap();
    assert!(report.values.wrong > 0, "one component is not the value");
}
