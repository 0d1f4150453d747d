//! Runs and what parties saw, as tables and figures.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::mpc::check::{Check, elementwise};
use cryptgpu_core::mpc::{CheckedClaim, Claim, MpcError, Party, PartyView, Rep, World};
use cryptgpu_core::net::{MAX_TRANSFERS, Trace};
use cryptgpu_notebook::NotebookError;
use cryptgpu_notebook::figure::Figure;
use cryptgpu_notebook::prelude::{AnyValue, Show, plots, tables};
use cryptgpu_notebook::tables::{Table, Words};
use ndarray::array;

fn run<R: Send>(body: impl Fn(&mut Party, &Rep) -> Result<R, MpcError> + Sync) -> ([R; 3], Trace) {
    let world = World::seeded(1);
    let shares = world.deal(&array![5u64, u64::MAX, 7, 1 << 40]);
    let (results, trace) = world.run_traced(|p| {
        let mine = &shares[p.id().index()];
        drop(p.take_timeline());
        body(p, mine)
    });
    (results.map(Result::unwrap), trace)
}

/// Two layers of two steps each.
fn layers(p: &mut Party, x: &Rep) -> Result<(), MpcError> {
    for layer in ["first", "second"] {
        p.step(layer, |p| {
            let y = p.step("square", |p| p.mul(x, x))?;
            p.step("opening", |p| p.open(&y)).map(drop)
        })?;
    }
    Ok(())
}

fn cell(table: &Table, column: &str, row: usize) -> AnyValue<'static> {
    table.frame.column(column).unwrap().get(row).unwrap().into_static()
}

fn text(table: &Table, column: &str, row: usize) -> String {
    table.frame.column(column).unwrap().str().unwrap().get(row).unwrap_or_default().to_owned()
}

fn integers(table: &Table, column: &str) -> Vec<u64> {
    table.frame.column(column).unwrap().u64().unwrap().into_no_null_iter().collect()
}

#[test]
fn a_trace_has_a_row_for_each_step_and_one_in_all() {
    let (_, trace) = run(layers);
    let table = tables::trace(&trace).unwrap();
    let paths: Vec<_> = (0..table.frame.height()).map(|row| text(&table, "step", row)).collect();
    let expected = ["first", "first/square", "first/opening", "second", "second/square", "second/opening", "total"];
    assert_eq!(paths, expected);
    let (bytes, rounds) = (integers(&table, "bytes"), integers(&table, "rounds"));
    assert_eq!((bytes[6], rounds[6]), (trace.total().bytes(), trace.total().rounds));
    assert_eq!((bytes[0], bytes[0] + bytes[3]), (bytes[1] + bytes[2], bytes[6]), "a step includes those within it");
    assert_eq!((rounds[0], rounds[0] + rounds[3]), (rounds[1] + rounds[2], rounds[6]));
    assert!(table.html().contains("first/opening") && table.text().contains("waiting is time blocked"));

    let parties = tables::parties(&trace).unwrap();
    assert_eq!(parties.frame.height(), 3 * 7);
    let sent = |row| integers(&parties, "bytes to next")[row] + integers(&parties, "bytes to previous")[row];
    assert_eq!((18..21).map(sent).sum::<u64>(), trace.total().bytes());

    let messages = tables::messages(&trace).unwrap();
    assert_eq!(messages.frame.height() as u64, trace.total().messages());
    assert_eq!(integers(&messages, "bytes").iter().sum::<u64>(), trace.total().bytes());
    assert_eq!(messages.frame.column("received ms").unwrap().null_count(), 0);
    let kinds: Vec<_> = (0..messages.frame.height()).map(|row| text(&messages, "kind", row)).collect();
    assert!(kinds.iter().any(|kind| kind == "open") && kinds.iter().all(|kind| kind != "unknown"), "{kinds:?}");
    assert!(!messages.caption.contains("only sums"));
}

#[test]
fn two_runs_stand_side_by_side() {
    let (_, one) = run(layers);
    let (_, two) = run(|p, x| p.step("first", |p| p.open(x)).map(drop));
    let table = tables::compare(("mine", &one), ("plain", &two)).unwrap();
    assert_eq!(table.frame.height(), 7);
    assert_eq!(cell(&table, "rounds, plain", 0), AnyValue::Float64(1.0));
    let ratio = one.step("first").unwrap().bytes() as f64 / two.step("first").unwrap().bytes() as f64;
    assert_eq!(cell(&table, "× bytes", 0), AnyValue::Float64(ratio));
    assert!(cell(&table, "bytes, plain", 1).is_null() && cell(&table, "× bytes", 1).is_null());
    let figure = plots::compare(("mine", &one), ("plain", &two)).unwrap();
    let svg = figure.svg();
    for name in ["mine", "plain", "first/square", "second/opening", "total", "rounds", "–"] {
        assert!(svg.contains(name), "{name}");
    }
}

/// Bars, arrow heads and lines of a figure.
fn drawn(figure: &Figure) -> [usize; 3] {
    ["<rect", "<polygon", "<polyline"].map(|element| figure.svg().matches(element).count())
}

#[test]
fn a_timeline_shows_every_message_if_they_are_few() {
    let (_, trace) = run(layers);
    let figure = plots::timeline(&trace).unwrap();
    for name in ["party 0", "party 1", "party 2", "first", "second", "computing", "waiting", "time in"] {
        assert!(figure.svg().contains(name), "{name}");
    }
    let [_, heads, _] = drawn(&figure);
    // The heads of all messages, and that in the legend.
    assert_eq!(heads as u64, trace.total().messages() + 1);
    assert!(figure.text().contains(&format!("{} messages", trace.total().messages())), "{}", figure.text());
    assert!(!figure.svg().contains("NaN"));
}

#[test]
fn a_timeline_of_many_messages_is_no_larger_than_its_pixels() {
    let (_, trace) = run(|p, x| {
        for layer in 0..400 {
            p.step(&format!("conv{layer}"), |p| p.mul(x, x)).map(drop)?;
            p.step(&format!("open{layer}"), |p| p.open(x))?;
        }
        Ok(())
    });
    assert!(trace.total().messages() > 2000);
    let figure = plots::timeline(&trace).unwrap();
    let [bars, heads, _] = drawn(&figure);
    assert!(heads <= 6 * 51 + 1, "{heads} arrows");
    assert!(bars < 10_000, "{bars} bars");
    // Eight hundred steps have two colours: kinds of steps.
    assert!(figure.svg().contains(">\nconv\n<") && figure.svg().contains(">\nopen\n<"), "the legend names kinds");
    assert!(!figure.svg().contains("hatched: later"));
}

#[test]
fn a_run_that_was_not_kept_whole_says_so() {
    let (_, trace) = run(|p, x| {
        for _ in 0..MAX_TRANSFERS / 2 + 100 {
            p.open(x)?;
        }
        Ok(())
    });
    assert!(trace.omitted() > 0);
    assert!(plots::timeline(&trace).unwrap().svg().contains("hatched: later calls and messages"));
    assert!(tables::messages(&trace).unwrap().caption.contains("beyond these only sums were kept"));
    assert_eq!(integers(&tables::trace(&trace).unwrap(), "messages").last(), Some(&trace.total().messages()));
}

fn observe(p: &mut Party, x: &Rep) -> Result<PartyView, MpcError> {
    p.insecure_record(1 << 16);
    p.record("input", x)?;
    let y = p.step("double", |p| p.reshare(x.local_mul(x)?))?;
    p.record("square", &y)?;
    p.open(&y)?;
    p.take_view()
}

#[test]
fn shares_are_shown_where_they_are_and_together_make_the_value() {
    let (parties, _) = run(observe);
    let table = tables::shares(&parties, Words::signed(2)).unwrap();
    assert_eq!([0, 1, 2, 3].map(|row| text(&table, "who", row)), ["party 0", "party 1", "party 2", "together"]);
    assert_eq!(text(&table, "value", 3), "5 -1 …", "two of four elements");
    assert_eq!((text(&table, "name", 4), text(&table, "value", 7)), ("square".into(), "25 1 …".into()));
    // Party 1 has the second and third component, which parties 0 and 2 have too.
    assert!(cell(&table, "x₀", 1).is_null() && cell(&table, "x₁", 2).is_null() && cell(&table, "x₂", 0).is_null());
    assert_eq!(text(&table, "x₁", 0), text(&table, "x₁", 1));
    let component = |name, row| text(&table, name, row).split(' ').next().unwrap().parse::<i64>().unwrap();
    let sum = component("x₀", 0).wrapping_add(component("x₁", 1)).wrapping_add(component("x₂", 2));
    assert_eq!(sum, 5);
    assert!(table.html().contains("INSECURE"), "{}", table.html());
}

#[test]
fn messages_and_forms_of_numbers() {
    let (parties, trace) = run(observe);
    let table = tables::seen(&parties, Words::hex(1)).unwrap();
    assert_eq!(table.frame.height() as u64, trace.total().messages());
    let content = text(&table, "content", 0);
    assert!(content.len() == "0123456789abcdef …".len() && content.ends_with('…'), "{content}");
    let kinds: Vec<_> = (0..table.frame.height()).map(|row| text(&table, "kind", row)).collect();
    assert!(kinds.iter().any(|kind| kind.contains("open")), "{kinds:?}");
    let codec = World::seeded(1).settings.codec;
    let fixed = tables::shares(&parties, Words::fixed(codec, 4)).unwrap();
    assert_eq!(text(&fixed, "value", 3).split(' ').next_back(), Some("1048576"), "2^40 with 20 bits of fraction");
    let both = tables::observed(&parties, Words::hex(2)).unwrap();
    assert!(both.html().contains("Shares") && both.html().contains("Messages received"));
    // One party alone has no sum.
    let alone = tables::shares(&parties[..1], Words::signed(2)).unwrap();
    assert!((0..alone.frame.height()).all(|row| text(&alone, "who", row) != "together"));
}

#[test]
fn nothing_observed_and_nothing_claimed_are_errors_that_say_what_to_do() {
    let (parties, _) = run(|p, _| {
        p.insecure_record(100);
        p.take_view()
    });
    let errors = [
        tables::shares(&parties, Words::hex(1)).unwrap_err(),
        tables::observed(&parties, Words::hex(1)).unwrap_err(),
        tables::claims(&[]).unwrap_err(),
    ];
    for (error, hint) in errors.iter().zip(["p.record", "p.insecure_record", "p.declare"]) {
        assert!(matches!(error, NotebookError::Empty { .. }) && error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn claims_that_are_wrong_stand_out() {
    let (claims, _) = run(|p, x| {
        p.step("right", |p| {
            p.declare(1, 24 * 4);
            p.open(x)
        })?;
        p.step("wrong", |p| {
            p.declare(1, 8);
            p.open(x)
        })?;
        Ok(p.take_claims())
    });
    let checked: Vec<CheckedClaim> = Claim::check(claims.each_ref().map(Vec::as_slice));
    let table = tables::claims(&checked).unwrap();
    assert_eq!([text(&table, "claim", 0), text(&table, "claim", 1)], ["holds", "WRONG"]);
    assert_eq!((integers(&table, "bytes claimed")[1], integers(&table, "bytes")[1]), (8, 96));
}

#[test]
fn a_report_has_a_row_for_every_check_and_every_leak() {
    let verdicts =
        |table: &Table| -> Vec<String> { (0..table.frame.height()).map(|row| text(table, "verdict", row)).collect() };
    let square = |p: &mut Party, x: &[Rep]| {
        p.declare(1, 24 * x[0].len() as u64);
        p.reshare(x[0].local_mul(&x[0])?)
    };
    let right = Check::new("square", 1).run(square, elementwise(|v| v[0].wrapping_mul(v[0]))).unwrap();
    let table = tables::report(&right).unwrap();
    assert!(verdicts(&table).iter().all(|verdict| verdict == "passed"), "{}", table.text());
    assert!(table.frame.height() >= 3 && table.caption.starts_with("square: passed"), "{}", table.text());

    let leaky = |p: &mut Party, x: &[Rep]| {
        p.declare(1, 8);
        p.open(&x[0])?;
        p.reshare(x[0].local_mul(&x[0])?)
    };
    let wrong = Check::new("leaky", 1).run(leaky, elementwise(|v| v[0])).unwrap();
    let table = tables::report(&wrong).unwrap();
    let failed = |what: &str| {
        (0..table.frame.height())
            .any(|row| text(&table, "checked", row).contains(what) && verdicts(&table)[row] == "FAILED")
    };
    assert!(failed("values") && failed("cost of") && failed("views") && failed("leak to party"), "{}", table.text());
    assert!(table.html().contains("the first: f("), "{}", table.html());
}
