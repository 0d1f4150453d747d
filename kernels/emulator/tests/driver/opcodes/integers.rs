//! Integer instructions: arithmetic, carries, bits, bytes and tables.

use super::{Bench, Out, int, integer_types, low, regs};

#[test]
fn integer_arithmetic() {
    let bench = Bench::new();
    for (ty, bits, signed) in integer_types() {
        let (r, out) = regs(bits);
        let int = |value| int(value, bits, signed);
        let low = |value| low(value, bits);
        let binary = |op: &str| format!("{op}.{ty} %{r}20, %{r}1, %{r}2;");
        let ternary = |op: &str| format!("{op}.{ty} %{r}20, %{r}1, %{r}2, %{r}3;");
        bench.check(&binary("add"), out, |a, b, _| low(int(a) + int(b)));
        bench.check(&binary("sub"), out, |a, b, _| low(int(a) - int(b)));
        bench.check(&binary("mul.lo"), out, |a, b, _| low(int(a).wrapping_mul(int(b))));
        bench.check(&binary("mul.hi"), out, |a, b, _| match signed {
            true => low((int(a) * int(b)) >> bits),
            false => low(((int(a) as u128 * int(b) as u128) >> bits) as i128),
        });
        bench.check(&binary("min"), out, |a, b, _| low(int(a).min(int(b))));
        bench.check(&binary("max"), out, |a, b, _| low(int(a).max(int(b))));
        bench.check(&ternary("mad.lo"), out, |a, b, c| low(int(a).wrapping_mul(int(b)).wrapping_add(int(c))));
        bench.check(&ternary("sad"), out, |a, b, c| low((int(a) - int(b)).abs() + int(c)));
        // Division truncates; by zero it is what the hardware's routine leaves.
        bench.check(&binary("div"), out, |a, b, _| if int(b) == 0 { low(-1) } else { low(int(a) / int(b)) });
        bench.check(&binary("rem"), out, |a, b, _| if int(b) == 0 { low(int(a)) } else { low(int(a) % int(b)) });
        bench.check(&format!("add.{ty} %{r}20, %{r}1, -3;"), out, |a, _, _| low(int(a) - 3));
        if signed {
            bench.check(&format!("neg.{ty} %{r}20, %{r}1;"), out, |a, _, _| low(-int(a)));
            bench.check(&format!("abs.{ty} %{r}20, %{r}1;"), out, |a, _, _| low(int(a).abs()));
        }
    }
    bench.check("mad.hi.u32 %r20, %r1, %r2, %r3;", Out::R, |a, b, c| {
        low(((int(a, 32, false) * int(b, 32, false)) >> 32) + int(c, 32, false), 32)
    });
}

#[test]
fn wide_products() {
    let bench = Bench::new();
    for (ty, bits, signed) in [("u16", 16, false), ("s16", 16, true), ("u32", 32, false), ("s32", 32, true)] {
        let ((r, _), (w, out)) = (regs(bits), regs(2 * bits));
        let product = move |a, b| int(a, bits, signed) * int(b, bits, signed);
        bench.check(&format!("mul.wide.{ty} %{w}20, %{r}1, %{r}2;"), out, |a, b, _| low(product(a, b), 2 * bits));
        bench.check(&format!("mad.wide.{ty} %{w}20, %{r}1, %{r}2, %{w}3;"), out, |a, b, c| {
            low(product(a, b) + i128::from(c), 2 * bits)
        });
    }
}

#[test]
fn carries() {
    let bench = Bench::new();
    // 128-bit sums and differences of a:b and c:a in words of both widths.
    let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    bench.check("add.cc.u64 %rd21, %rd1, %rd2; addc.u64 %rd20, %rd2, %rd3;", Out::Rd, |a, b, c| {
        (wide(b, a).wrapping_add(wide(c, b)) >> 64) as u64
    });
    bench.check("sub.cc.u64 %rd21, %rd1, %rd2; subc.u64 %rd20, %rd2, %rd3;", Out::Rd, |a, b, c| {
        (wide(b, a).wrapping_sub(wide(c, b)) >> 64) as u64
    });
    let narrow = |high: u64, low: u64| (high << 32) | (low & 0xffff_ffff);
    bench.check("add.cc.u32 %r20, %r1, %r2; addc.cc.u32 %r21, %r2, %r3;", Out::Rr, |a, b, c| {
        narrow(b, a).wrapping_add(narrow(c, b))
    });
    bench.check("sub.cc.u32 %r20, %r1, %r2; subc.cc.u32 %r21, %r2, %r3;", Out::Rr, |a, b, c| {
        narrow(b, a).wrapping_sub(narrow(c, b))
    });
    bench.check("add.cc.u32 %r22, %r1, %r2; addc.cc.u32 %r23, %r2, -1; addc.u32 %r20, 0, 0;", Out::R, |a, b, _| {
        u64::from((u128::from(narrow(b, a)) + u128::from(narrow(0xffff_ffff, b))) >> 64 != 0)
    });
    bench.check("add.cc.u32 %r22, %r1, %r2; addc.cc.u32 %r23, %r2, -1; subc.u32 %r20, 0, 0;", Out::R, |a, b, _| {
        low(-i128::from((u128::from(narrow(b, a)) + u128::from(narrow(0xffff_ffff, b))) >> 64 != 0), 32)
    });
    // The product of a and b in words, plus c: as compilers write 64-bit products.
    bench.check("mad.lo.cc.u32 %r20, %r1, %r2, %r3; madc.hi.u32 %r21, %r1, %r2, 0;", Out::Rr, |a, b, c| {
        (a & 0xffff_ffff) * (b & 0xffff_ffff) + (c & 0xffff_ffff)
    });
    bench.check("mad.lo.cc.u64 %rd21, %rd1, %rd2, %rd3; madc.hi.u64 %rd20, %rd1, %rd2, 0;", Out::Rd, |a, b, c| {
        ((u128::from(a) * u128::from(b) + u128::from(c)) >> 64) as u64
    });
}

#[test]
fn bits() {
    let bench = Bench::new();
    for (bits, r, out) in [(16, "h", Out::H), (32, "r", Out::R), (64, "rd", Out::Rd)] {
        let ones = low(-1, bits);
        bench.check(&format!("and.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| a & b & ones);
        bench.check(&format!("or.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| (a | b) & ones);
        bench.check(&format!("xor.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| (a ^ b) & ones);
        bench.check(&format!("not.b{bits} %{r}20, %{r}1;"), out, |a, _, _| !a & ones);
        bench.check(&format!("cnot.b{bits} %{r}20, %{r}1;"), out, |a, _, _| u64::from(a & ones == 0));
        // Amounts beyond the width act as the width.
        let amount = move |b: u64| (b & 0xffff_ffff).min(64) as u32;
        bench.check(&format!("shl.b{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, false) << amount(b), bits)
        });
        bench.check(&format!("shr.u{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, false) >> amount(b), bits)
        });
        bench.check(&format!("shr.s{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, true) >> amount(b), bits)
        });
    }
    for (bits, r, out) in [(32u32, "r", Out::R), (64, "rd", Out::Rd)] {
        let bit = |a: u64, at: u32| a >> at & 1;
        bench.check(&format!("popc.b{bits} %r20, %{r}1;"), Out::R, |a, _, _| (0..bits).map(|at| bit(a, at)).sum());
        let top = move |a: u64, sign: u64| (0..bits).rev().find(|&at| bit(a, at) != sign);
        bench.check(&format!("clz.b{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            u64::from(bits - top(a, 0).map_or(0, |t| t + 1))
        });
        bench.check(&format!("bfind.u{bits} %r20, %{r}1;"), Out::R, |a, _, _| top(a, 0).map_or(0xffff_ffff, u64::from));
        bench.check(&format!("bfind.s{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, bit(a, bits - 1)).map_or(0xffff_ffff, u64::from)
        });
        bench.check(&format!("bfind.shiftamt.u{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, 0).map_or(0xffff_ffff, |t| u64::from(bits - 1 - t))
        });
        bench.check(&format!("bfind.shiftamt.s{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, bit(a, bits - 1)).map_or(0xffff_ffff, |t| u64::from(bits - 1 - t))
        });
        bench.check(&format!("brev.b{bits} %{r}20, %{r}1;"), out, |a, _, _| {
            (0..bits).map(|at| bit(a, at) << (bits - 1 - at)).sum()
        });
        for signed in [false, true] {
            // The manual's own definition, bit by bit.
            let ty = if signed { "s" } else { "u" };
            bench.check(&format!("bfe.{ty}{bits} %{r}20, %{r}1, %r2, %r3;"), out, |a, b, c| {
                let (position, length) = ((b & 255) as u32, (c & 255) as u32);
                let fill = if !signed || length == 0 { 0 } else { bit(a, (position + length - 1).min(bits - 1)) };
                (0..bits)
                    .map(|at| if at < length && position + at < bits { bit(a, position + at) } else { fill } << at)
                    .sum()
            });
        }
        bench.check(&format!("bfi.b{bits} %{r}20, %{r}1, %{r}2, %r2, %r3;"), out, |a, b, c| {
            let (position, length) = ((b & 255) as u32, (c & 255) as u32);
            (0..bits)
                .map(|at| {
                    let inside = at >= position && at - position < length;
                    if inside { bit(a, at - position) << at } else { bit(b, at) << at }
                })
                .sum()
        });
    }
}

#[test]
fn bytes_and_tables() {
    let bench = Bench::new();
    for (mode, wrap) in [("wrap", true), ("clamp", false)] {
        let amount = move |c: u64| if wrap { c & 31 } else { (c & 0xffff_ffff).min(32) };
        let both = |a: u64, b: u64| u128::from(b & 0xffff_ffff) << 32 | u128::from(a & 0xffff_ffff);
        bench.check(&format!("shf.l.{mode}.b32 %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            ((both(a, b) << amount(c)) >> 32) as u64 & 0xffff_ffff
        });
        bench.check(&format!("shf.r.{mode}.b32 %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            (both(a, b) >> amount(c)) as u64 & 0xffff_ffff
        });
    }
    bench.check("prmt.b32 %r20, %r1, %r2, %r3;", Out::R, |a, b, c| {
        let bytes = [(a as u32).to_le_bytes(), (b as u32).to_le_bytes()].concat();
        let chosen = [0, 1, 2, 3].map(|i| {
            let selector = (c >> (4 * i)) as usize & 15;
            let byte = bytes[selector & 7];
            if selector < 8 {
                byte
            } else if byte >= 128 {
                255
            } else {
                0
            }
        });
        u64::from(u32::from_le_bytes(chosen))
    });
    for table in [0u64, 0x80, 0x96, 0xe8, 0xca, 0xff, 0x1b] {
        bench.check(&format!("lop3.b32 %r20, %r1, %r2, %r3, {table};"), Out::R, |a, b, c| {
            (0..32).map(|at| (table >> ((a >> at & 1) << 2 | (b >> at & 1) << 1 | (c >> at & 1)) & 1) << at).sum()
        });
    }
    for (name, a_signed, b_signed) in
        [("u32.u32", false, false), ("s32.s32", true, true), ("u32.s32", false, true), ("s32.u32", true, false)]
    {
        bench.check(&format!("dp4a.{name} %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            let dot: i128 = (0..4).map(|i| int(a >> (8 * i), 8, a_signed) * int(b >> (8 * i), 8, b_signed)).sum();
            low(dot + int(c, 32, true), 32)
        });
    }
    bench.check("mov.b64 %rd20, {%r1, %r2};", Out::Rd, |a, b, _| b << 32 | (a & 0xffff_ffff));
    bench.check("mov.b64 {%r21, %r20}, %rd1;", Out::Rr, |a, _, _| a.rotate_left(32));
    bench.check("mov.b32 %r20, {%h1, %h2};", Out::R, |a, b, _| (b & 0xffff) << 16 | (a & 0xffff));
    bench.check("mov.b32 {%h21, %h20}, %r1;", Out::H, |a, _, _| a >> 16 & 0xffff);
    bench.check(
        "mov.b64 {%h21, %h22, %h23, %h20}, %rd1; mov.b64 %rd20, {%h20, %h21, %h22, %h23};",
        Out::Rd,
        |a, _, _| a.rotate_left(16),
    );
}
