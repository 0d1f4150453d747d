//! Shuffling, permutations, and choosing from a population.

use super::{Generator, array, integers};
use crate::prg::PrgError;
use ndarray::{Array, Array1, ArrayBase, Axis, Data, DataMut, Dimension, IntoDimension, RemoveAxis, Zip};
use std::collections::HashSet;

/// How [`Generator::choice`] chooses.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Whether a member may be chosen again. On by default.
    pub replace: bool,
    /// The probability of each member; equal ones if there are none.
    pub p: Option<&'a [f64]>,
    /// Whether a choice without replacement comes in random order. On by default; off is faster.
    pub shuffle: bool,
}

impl Default for Choice<'_> {
    fn default() -> Self {
        Choice { replace: true, p: None, shuffle: true }
    }
}

fn refuse<T>(why: String) -> Result<T, PrgError> {
    Err(PrgError::Argument { operation: "choice", why })
}

impl Generator {
    /// Puts `items` into random order, every order equally likely (Fisher and Yates, from the end,
    /// by masked rejection): NumPy's `shuffle` of a list.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, integers::masked(&mut self.bits, i as u64) as usize);
        }
    }

    /// Puts the sub-arrays along `axis` into random order: NumPy's `shuffle(array, axis)`.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when the array has no such axis.
    pub fn shuffle_axis<A, S, D>(&mut self, items: &mut ArrayBase<S, D>, axis: Axis) -> Result<(), PrgError>
    where
        S: DataMut<Elem = A>,
        D: RemoveAxis,
    {
        check_axis("shuffle_axis", items.ndim(), axis)?;
        if items.is_empty() {
            return Ok(());
        }
        for i in (1..items.len_of(axis)).rev() {
            let j = integers::masked(&mut self.bits, i as u64) as usize;
            if i != j {
                let (mut before, mut from) = items.view_mut().split_at(axis, i);
                Zip::from(before.index_axis_mut(axis, j)).and(from.index_axis_mut(axis, 0)).for_each(std::mem::swap);
            }
        }
        Ok(())
    }

    /// The integers below `n` in random order: NumPy's `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Array1<usize> {
        array(n, 0, |out| {
            out.iter_mut().enumerate().for_each(|(i, slot)| *slot = i);
            self.shuffle(out);
        })
    }

    /// A copy of `items` with the sub-arrays along `axis` in random order: NumPy's
    /// `permutation(array, axis)`.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when the array has no such axis.
    pub fn permuted_copy<A, S, D>(&mut self, items: &ArrayBase<S, D>, axis: Axis) -> Result<Array<A, D>, PrgError>
    where
        A: Clone,
        S: Data<Elem = A>,
        D: RemoveAxis,
    {
        check_axis("permuted_copy", items.ndim(), axis)?;
        let order = self.permutation(items.len_of(axis));
        Ok(items.select(axis, &order.to_vec()))
    }

    /// Indices chosen from 0 … `population` − 1: NumPy's `choice(population, shape, replace, p,
    /// shuffle=shuffle)`. For members of a slice, index it with them.
    ///
    /// ```
    /// use cryptgpu_core::prg::philox::{Choice, Generator};
    /// let mut rng = Generator::seeded(5u64);
    /// let colours = ["red", "green", "blue"];
    /// let weighted = Choice { p: Some(&[0.5, 0.5, 0.0]), ..Choice::default() };
    /// let picked = rng.choice(colours.len(), (2, 2), weighted)?.mapv(|i| colours[i]);
    /// assert!(picked.iter().all(|&colour| colour != "blue"));
    /// # Ok::<(), cryptgpu_core::prg::PrgError>(())
    /// ```
    ///
    /// # Errors
    /// [`PrgError::Argument`] when there is nothing to choose from, when more are wanted without
    /// replacement than there are (or have a probability above zero), and when the probabilities are
    /// not one a member, negative, NaN, or do not sum to one (within 1.5·10⁻⁸).
    pub fn choice<Sh: IntoDimension>(
        &mut self,
        population: usize,
        shape: Sh,
        how: Choice<'_>,
    ) -> Result<Array<usize, Sh::Dim>, PrgError> {
        let shape = shape.into_dimension();
        let size = shape.size();
        if population == 0 && size != 0 {
            return refuse("the population is empty: a member cannot be chosen".to_owned());
        }
        if let Some(p) = how.p {
            check_probabilities(p, population)?;
        }
        let indices = match (how.replace, how.p) {
            (true, None) if size == 0 => Vec::new(),
            (true, None) => self.integers(0..population, size)?.to_vec(),
            (true, Some(p)) => {
                let cdf = cumulative(p);
                self.random(size).iter().map(|&u| search(&cdf, u)).collect()
            }
            (false, _) if size > population => {
                return refuse(format!("cannot choose {size} of {population} without replacement"));
            }
            (false, None) => self.choose_distinct(population, size, how.shuffle),
            (false, Some(p)) => self.choose_distinct_weighted(p, size)?,
        };
        Ok(array(shape, 0, |out| out.copy_from_slice(&indices)))
    }

    /// `size` different members, equally likely.
    fn choose_distinct(&mut self, population: usize, size: usize, shuffle: bool) -> Vec<usize> {
        let cutoff = if shuffle { 50 } else { 20 };
        if population > 10_000 && size > population / cutoff {
            // Many of many: shuffle only the tail of all of them.
            let mut all: Vec<usize> = (0..population).collect();
            self.shuffle_tail(&mut all, (population - size).max(1));
            return all.split_off(population - size);
        }
        // Floyd's algorithm: one draw a member, and a collision takes the newest index instead.
        let mut taken = HashSet::with_capacity(size);
        let mut chosen = Vec::with_capacity(size);
        for newest in population - size..population {
            let drawn = integers::bounded(&mut self.bits, newest as u64) as usize;
            let member = if taken.insert(drawn) { drawn } else { newest };
            taken.insert(member);
            chosen.push(member);
        }
        if shuffle {
            self.shuffle_tail(&mut chosen, 1);
        }
        chosen
    }

    /// Fisher and Yates from the end down to `first`, by Lemire's rejection, which is what NumPy's
    /// `choice` uses where its `shuffle` masks.
    fn shuffle_tail(&mut self, items: &mut [usize], first: usize) {
        for i in (first..items.len()).rev() {
            items.swap(i, integers::bounded(&mut self.bits, i as u64) as usize);
        }
    }

    /// `size` different members: draws by weight as many as are missing, keeps the first of each
    /// new member, and goes on with their weights set to zero.
    fn choose_distinct_weighted(&mut self, p: &[f64], size: usize) -> Result<Vec<usize>, PrgError> {
        let possible = p.iter().filter(|&&weight| weight > 0.0).count();
        if possible < size {
            return refuse(format!(
                "cannot choose {size} without replacement, as {possible} have a probability above 0"
            ));
        }
        let mut p = p.to_vec();
        let mut chosen = Vec::with_capacity(size);
        while chosen.len() < size {
            let draws = self.random(size - chosen.len());
            let cdf = cumulative(&p);
            for &u in &draws {
                let member = search(&cdf, u);
                // A member chosen before this turn has weight zero and is not drawn again.
                if p[member] > 0.0 {
                    p[member] = 0.0;
                    chosen.push(member);
                }
            }
        }
        Ok(chosen)
    }
}

fn check_axis(operation: &'static str, dimensions: usize, axis: Axis) -> Result<(), PrgError> {
    if axis.index() >= dimensions {
        let why = format!("no axis {} in an array of {dimensions} dimensions", axis.index());
        return Err(PrgError::Argument { operation, why });
    }
    Ok(())
}

fn check_probabilities(p: &[f64], population: usize) -> Result<(), PrgError> {
    if p.len() != population {
        return refuse(format!("{} probabilities for a population of {population}", p.len()));
    }
    // Kahan's sum, as NumPy takes it.
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for &weight in p {
        let add = weight - lost;
        let next = sum + add;
        lost = (next - sum) - add;
        sum = next;
    }
    if sum.is_nan() {
        return refuse("the probabilities contain NaN".to_owned());
    }
    if let Some(negative) = p.iter().find(|&&weight| weight < 0.0) {
        return refuse(format!("the probability {negative} is negative"));
    }
    if (sum - 1.0).abs() > f64::EPSILON.sqrt() {
        return refuse(format!("the probabilities sum to {sum}, not 1: divide them by their sum"));
    }
    Ok(())
}

/// Running sums of `p`, divided by the last.
fn cumulative(p: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut cdf: Vec<f64> = p
        .iter()
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    cdf.iter_mut().for_each(|x| *x /= sum);
    cdf
}

/// The first member whose running sum exceeds `u`.
fn search(cdf: &[f64], u: f64) -> usize {
    cdf.partition_point(|&x| x <= u)
}
