//! Comparisons, floating-point instructions and conversions.

use super::{Bench, Out, int, integer_types, low, regs};

#[test]
fn comparisons_and_selection() {
    let bench = Bench::new();
    for (ty, bits, signed) in integer_types() {
        let (r, out) = regs(bits);
        let order = move |a, b| int(a, bits, signed).cmp(&int(b, bits, signed));
        for (op, holds) in [
            ("eq", (|o: std::cmp::Ordering| o.is_eq()) as fn(std::cmp::Ordering) -> bool),
            ("ne", |o| o.is_ne()),
            ("lt", |o| o.is_lt()),
            ("le", |o| o.is_le()),
            ("gt", |o| o.is_gt()),
            ("ge", |o| o.is_ge()),
        ] {
            bench
                .check(&format!("setp.{op}.{ty} %p20, %{r}1, %{r}2;"), Out::P, |a, b, _| u64::from(holds(order(a, b))));
            bench.check(&format!("setp.{op}.and.{ty} %p20|%p21, %{r}1, %{r}2, !%p3;"), Out::Pp, |a, b, c| {
                let (test, other) = (holds(order(a, b)), c & 1 == 0);
                u64::from(test && other) | u64::from(!test && other) << 1
            });
        }
        bench.check(&format!("selp.b{bits} %{r}20, %{r}1, %{r}2, %p3;"), out, |a, b, c| {
            low(i128::from(if c & 1 == 1 { a } else { b }), bits)
        });
    }
    bench.check("setp.lo.u32 %p20, %r1, %r2;", Out::P, |a, b, _| u64::from((a as u32) < b as u32));
    bench.check("setp.hs.or.u64 %p20, %rd1, %rd2, %p3;", Out::P, |a, b, c| u64::from(a >= b || c & 1 == 1));
    bench.check("setp.lt.xor.s64 %p20, %rd1, %rd2, %p3;", Out::P, |a, b, c| {
        u64::from(((a as i64) < b as i64) != (c & 1 == 1))
    });
    bench.check("set.gt.u32.s32 %r20, %r1, %r2;", Out::R, |a, b, _| if a as i32 > b as i32 { 0xffff_ffff } else { 0 });
    bench.check("and.pred %p20, %p1, %p2;", Out::P, |a, b, _| a & b & 1);
    bench.check("or.pred %p20, %p1, !%p2;", Out::P, |a, b, _| (a | !b) & 1);
    bench.check("xor.pred %p20, %p1, %p2;", Out::P, |a, b, _| (a ^ b) & 1);
    bench.check("not.pred %p20, %p1;", Out::P, |a, _, _| !a & 1);
    bench.check("mov.u32 %r20, 5; @%p1 mov.u32 %r20, 6; @!%p2 add.u32 %r20, %r20, 10;", Out::R, |a, b, _| {
        5 + (a & 1) + 10 * (!b & 1)
    });
    type Compare = fn(Option<std::cmp::Ordering>) -> bool;
    let ordered: [(&str, Compare); 14] = [
        ("eq", |o| o.is_some_and(|o| o.is_eq())),
        ("ne", |o| o.is_some_and(|o| o.is_ne())),
        ("lt", |o| o.is_some_and(|o| o.is_lt())),
        ("le", |o| o.is_some_and(|o| o.is_le())),
        ("gt", |o| o.is_some_and(|o| o.is_gt())),
        ("ge", |o| o.is_some_and(|o| o.is_ge())),
        ("equ", |o| o.is_none_or(|o| o.is_eq())),
        ("neu", |o| o.is_none_or(|o| o.is_ne())),
        ("ltu", |o| o.is_none_or(|o| o.is_lt())),
        ("leu", |o| o.is_none_or(|o| o.is_le())),
        ("gtu", |o| o.is_none_or(|o| o.is_gt())),
        ("geu", |o| o.is_none_or(|o| o.is_ge())),
        ("num", |o| o.is_some()),
        ("nan", |o| o.is_none()),
    ];
    for (op, holds) in ordered {
        bench.check(&format!("setp.{op}.f64 %p20, %fd1, %fd2;"), Out::P, |a, b, _| {
            u64::from(holds(f64::from_bits(a).partial_cmp(&f64::from_bits(b))))
        });
        bench.check(&format!("setp.{op}.f32 %p20, %f1, %f2;"), Out::P, |a, b, _| {
            u64::from(holds(f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32))))
        });
    }
}

#[test]
fn floating_point() {
    let bench = Bench::new();
    let d = f64::from_bits;
    let s = |bits: u64| f32::from_bits(bits as u32);
    bench.check("add.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) + d(b)).to_bits());
    bench.check("sub.rn.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) - d(b)).to_bits());
    bench.check("mul.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) * d(b)).to_bits());
    bench.check("div.rn.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) / d(b)).to_bits());
    bench.check("fma.rn.f64 %fd20, %fd1, %fd2, %fd3;", Out::Fd, |a, b, c| d(a).mul_add(d(b), d(c)).to_bits());
    bench.check("sqrt.rn.f64 %fd20, %fd1;", Out::Fd, |a, _, _| d(a).sqrt().to_bits());
    bench.check("neg.f64 %fd20, %fd1;", Out::Fd, |a, _, _| a ^ 1 << 63);
    bench.check("abs.f64 %fd20, %fd1;", Out::Fd, |a, _, _| a & !(1 << 63));
    bench.check("add.rn.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) + s(b)).to_bits().into());
    bench.check("mul.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) * s(b)).to_bits().into());
    bench.check("fma.rn.f32 %f20, %f1, %f2, %f3;", Out::F, |a, b, c| s(a).mul_add(s(b), s(c)).to_bits().into());
    bench.check("div.rn.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) / s(b)).to_bits().into());
    // A NaN loses, -0 is below +0.
    let key = |x: f64| (x, !x.is_sign_negative());
    bench.check("min.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| {
        let (x, y) = (d(a), d(b));
        if x.is_nan() || !y.is_nan() && key(y) < key(x) { b } else { a }
    });
    bench.check("max.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| {
        let (x, y) = (d(a), d(b));
        if x.is_nan() || !y.is_nan() && key(y) > key(x) { b } else { a }
    });
}

/// Whether `found` is the double next to the exact value (a fraction of integers times a power of two) in a direction.
#[test]
fn directed_rounding_of_doubles() {
    let mut bench = Bench::new();
    // Integers of up to 60 bits as doubles, so that sums and products are exact in 128 bits.
    for input in &mut bench.inputs {
        for value in input.iter_mut() {
            *value = ((*value as i64 >> 4) as f64).to_bits();
        }
    }
    let exact = |bits: u64| f64::from_bits(bits) as i128;
    let rounded = |value: i128, mode: &str| -> f64 {
        let near = value as f64;
        let (below, above) = (
            if near as i128 > value { near.next_down() } else { near },
            if (near as i128) < value { near.next_up() } else { near },
        );
        match mode {
            "rm" => below,
            "rp" => above,
            "rz" if value > 0 => below,
            "rz" => above,
            _ => near,
        }
    };
    for mode in ["rn", "rz", "rm", "rp"] {
        let zero = |value: f64| if value == 0.0 { 0 } else { value.to_bits() };
        let check = |text: String, exact: &dyn Fn(u64, u64) -> i128| {
            for (index, found) in bench.execute(&text, Out::Fd).into_iter().enumerate() {
                let (a, b) = (bench.inputs[0][index], bench.inputs[1][index]);
                // The sign of zero is left to another test.
                assert_eq!(zero(f64::from_bits(found)), zero(rounded(exact(a, b), mode)), "{text} of {a:#x}, {b:#x}");
            }
        };
        check(format!("add.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) + exact(b));
        check(format!("sub.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) - exact(b));
        check(format!("mul.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) * exact(b));
    }
    for mode in ["rn", "rz", "rm", "rp"] {
        for (ty, signed) in [("u64", false), ("s64", true)] {
            bench.check(&format!("cvt.{mode}.f64.{ty} %fd20, %rd1;"), Out::Fd, |a, _, _| {
                rounded(int(a, 64, signed), mode).to_bits()
            });
        }
    }
}

#[test]
fn conversions() {
    let bench = Bench::new();
    for (to, to_bits, to_signed) in integer_types() {
        for (from, from_bits, from_signed) in integer_types() {
            let ((r, out), (q, _)) = (regs(to_bits), regs(from_bits));
            bench.check(&format!("cvt.{to}.{from} %{r}20, %{q}1;"), out, |a, _, _| {
                low(int(a, from_bits, from_signed), to_bits)
            });
            let (least, most) =
                if to_signed { (-(1i128 << (to_bits - 1)), (1 << (to_bits - 1)) - 1) } else { (0, (1 << to_bits) - 1) };
            bench.check(&format!("cvt.sat.{to}.{from} %{r}20, %{q}1;"), out, |a, _, _| {
                low(int(a, from_bits, from_signed).clamp(least, most), to_bits)
            });
        }
        // Rounded, clamped; a NaN gives zero, or, with 64 bits on either side, the top bit.
        let (r, out) = regs(to_bits);
        let (least, most) =
            if to_signed { (-(1i128 << (to_bits - 1)), (1 << (to_bits - 1)) - 1) } else { (0, (1 << to_bits) - 1) };
        let whole = |value: f64| {
            if value.is_infinite() {
                if value > 0.0 { most } else { least }
            } else {
                (value as i128).clamp(least, most)
            }
        };
        for (mode, round) in [
            ("rni", f64::round_ties_even as fn(f64) -> f64),
            ("rzi", f64::trunc),
            ("rmi", f64::floor),
            ("rpi", f64::ceil),
        ] {
            bench.check(&format!("cvt.{mode}.{to}.f64 %{r}20, %fd1;"), out, |a, _, _| match f64::from_bits(a) {
                nan if nan.is_nan() => 1 << (to_bits - 1),
                value => low(whole(round(value)), to_bits),
            });
            bench.check(&format!("cvt.{mode}.{to}.f32 %{r}20, %f1;"), out, |a, _, _| match f32::from_bits(a as u32) {
                nan if nan.is_nan() => {
                    if to_bits == 64 {
                        1 << 63
                    } else {
                        0
                    }
                }
                value => low(whole(round(f64::from(value))), to_bits),
            });
        }
        let (from, bits, signed, q) = (&to, to_bits, to_signed, r);
        bench.check(&format!("cvt.rn.f64.{from} %fd20, %{q}1;"), Out::Fd, |a, _, _| {
            (int(a, bits, signed) as f64).to_bits()
        });
        bench.check(&format!("cvt.rn.f32.{from} %f20, %{q}1;"), Out::F, |a, _, _| {
            (int(a, bits, signed) as f32).to_bits().into()
        });
    }
    bench.check("cvt.s32.s8 %r20, %r1;", Out::R, |a, _, _| low(int(a, 8, true), 32));
    bench.check("cvt.u16.u8 %h20, %h1;", Out::H, |a, _, _| a & 255);
    bench.check("cvt.s16.s8 %h20, %h1;", Out::H, |a, _, _| low(int(a, 8, true), 16));
    bench.check("cvt.f64.f32 %fd20, %f1;", Out::Fd, |a, _, _| f64::from(f32::from_bits(a as u32)).to_bits());
    bench.check("cvt.rn.f32.f64 %f20, %fd1;", Out::F, |a, _, _| (f64::from_bits(a) as f32).to_bits().into());
    bench.check("cvt.rni.f64.f64 %fd20, %fd1;", Out::Fd, |a, _, _| f64::from_bits(a).round_ties_even().to_bits());
    bench.check("cvt.rzi.f64.f64 %fd20, %fd1;", Out::Fd, |a, _, _| f64::from_bits(a).trunc().to_bits());
    bench.check("cvt.rmi.f32.f32 %f20, %f1;", Out::F, |a, _, _| f32::from_bits(a as u32).floor().to_bits().into());
}
