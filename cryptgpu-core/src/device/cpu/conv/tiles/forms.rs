//! Short algorithms for filters: Σ aᵢbⱼzᵢ₊ⱼ over m outputs i and r taps j, in fewer than m·r products of three sums. They
//! are Karatsuba's, so coefficients are 1 and −1 and nothing is divided: they hold in every ring. No word lives here.

/// A sum of entries, each with whether it is subtracted.
pub(super) type Form = Vec<(usize, bool)>;

/// One product: a sum of outputs' gradients, one of taps, one of inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub outputs: Form,
    pub taps: Form,
    pub inputs: Form,
}

/// An algorithm along one axis.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    /// Outputs of a tile.
    pub outputs: usize,
    pub taps: usize,
    pub products: Vec<Product>,
}

/// Most entries of a sum.
pub(super) const MOST: usize = 8;

impl Forms {
    /// For tiles of so many outputs: 8 products in place of 12 for four outputs and three taps, 13 in place of 20 for four
    /// and five.
    pub fn of(outputs: usize, taps: usize) -> Self {
        Forms { outputs, taps, products: short(outputs, taps) }
    }

    /// Three taps over two inputs with a zero on each side, for two outputs: 3 products in place of 6.
    pub fn between_zeros() -> Self {
        let product = |outputs: &[usize], taps: &[(usize, bool)], inputs: &[usize]| {
            let plain = |entries: &[usize]| entries.iter().map(|&entry| (entry, false)).collect();
            Product { outputs: plain(outputs), taps: taps.to_vec(), inputs: plain(inputs) }
        };
        let products = vec![
            product(&[1], &[(0, false), (1, true)], &[1]),
            product(&[0], &[(2, false), (1, true)], &[2]),
            product(&[0, 1], &[(1, false)], &[1, 2]),
        ];
        Forms { outputs: 2, taps: 3, products }
    }

    /// Inputs of a tile.
    pub fn inputs(&self) -> usize {
        self.outputs + self.taps - 1
    }

    /// For each entry of one kind, the products that it is in.
    pub fn adjoint(&self, entries: usize, of: impl Fn(&Product) -> &Form) -> Vec<Form> {
        let products = || self.products.iter().enumerate();
        let of_entry = |entry: usize| {
            let found = products().flat_map(|(k, product)| of(product).iter().map(move |&(e, minus)| (e, (k, minus))));
            found.filter(|&(e, _)| e == entry).map(|(_, place)| place).collect()
        };
        (0..entries).map(of_entry).collect()
    }
}

fn shifted(form: &Form, by: usize, negated: bool) -> Form {
    form.iter().map(|&(entry, minus)| (entry + by, minus != negated)).collect()
}

/// Karatsuba's algorithm on halves a + a′, b + b′ of a power of two h: Σ ab at z, Σ a′b′ at z moved by 2h, and Σ (a + a′)(b + b′)
/// less both at z moved by h.
fn short(outputs: usize, taps: usize) -> Vec<Product> {
    if outputs == 1 || taps == 1 {
        let pair = |at: usize| {
            let (i, j) = (at / taps, at % taps);
            Product { outputs: vec![(i, false)], taps: vec![(j, false)], inputs: vec![(i + j, false)] }
        };
        return (0..outputs * taps).map(pair).collect();
    }
    let half = outputs.max(taps).next_power_of_two() / 2;
    let ([low_a, low_b], [high_a, high_b]) =
        ([outputs.min(half), taps.min(half)], [outputs.saturating_sub(half), taps.saturating_sub(half)]);
    let low = short(low_a, low_b);
    if high_a == 0 || high_b == 0 {
        let (high, by) =
            if high_a == 0 { (short(low_a, high_b), [0, half]) } else { (short(high_a, low_b), [half, 0]) };
        let high = high.into_iter().map(|product| Product {
            outputs: shifted(&product.outputs, by[0], false),
            taps: shifted(&product.taps, by[1], false),
            inputs: shifted(&product.inputs, half, false),
        });
        return low.into_iter().chain(high).collect();
    }
    let both = |form: &Form, high: usize| -> Form {
        let upper = form.iter().filter(|(entry, _)| *entry < high).map(|&(entry, minus)| (entry + half, minus));
        form.iter().copied().chain(upper).collect()
    };
    let middle = low.iter().map(|product| Product {
        outputs: both(&product.outputs, high_a),
        taps: both(&product.taps, high_b),
        inputs: shifted(&product.inputs, half, false),
    });
    let middle: Vec<Product> = middle.collect();
    let less = |form: &Form, by: usize| [shifted(form, by, false), shifted(form, half, true)].concat();
    let low = low.into_iter().map(|product| Product { inputs: less(&product.inputs, 0), ..product });
    let high = short(high_a, high_b).into_iter().map(|product| Product {
        outputs: shifted(&product.outputs, half, false),
        taps: shifted(&product.taps, half, false),
        inputs: less(&product.inputs, 2 * half),
    });
    low.chain(middle).chain(high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Coefficients of aᵢbⱼzₗ in an algorithm.
    fn expanded(forms: &Forms) -> BTreeMap<[usize; 3], i32> {
        let mut sum = BTreeMap::new();
        for Product { outputs, taps, inputs } in &forms.products {
            assert!([outputs, taps, inputs].iter().all(|form| form.len() <= MOST));
            for (&(i, a), &(j, b), &(l, z)) in
                outputs.iter().flat_map(|a| taps.iter().flat_map(move |b| inputs.iter().map(move |z| (a, b, z))))
            {
                *sum.entry([i, j, l]).or_insert(0) += if a ^ b ^ z { -1 } else { 1 };
            }
        }
        sum.retain(|_, coefficient| *coefficient != 0);
        sum
    }

    #[test]
    fn algorithms_are_filters() {
        let filter = |outputs: usize, taps: usize| {
            (0..outputs).flat_map(move |i| (0..taps).map(move |j| ([i, j, i + j], 1))).collect::<BTreeMap<_, _>>()
        };
        for (outputs, taps) in (1..=8).flat_map(|m| (1..=8).map(move |r| (m, r))) {
            assert_eq!(expanded(&Forms::of(outputs, taps)), filter(outputs, taps), "{outputs} outputs, {taps} taps");
        }
        for forms in (1..=5).flat_map(|taps| (1..=4).map(move |outputs| Forms::of(outputs, taps))) {
            let outputs = forms.adjoint(forms.outputs, |product| &product.outputs);
            let taps = forms.adjoint(forms.taps, |product| &product.taps);
            assert!(outputs.iter().chain(&taps).all(|form| form.len() <= MOST));
        }
        let counts = [(4, 3, 8), (4, 5, 13), (2, 3, 5), (4, 4, 9)];
        assert!(counts.iter().all(|&(m, r, products)| Forms::of(m, r).products.len() == products));
        let mut between = filter(2, 3);
        between.retain(|&[.., l], _| l == 1 || l == 2);
        assert_eq!(expanded(&Forms::between_zeros()), between);
    }
}
