//! Optimisers on shares: from gradients, which are sums over the batch and were not truncated, to new weights. The rate and
//! 1/batch are a public number that goes into a truncation, so that small gradients are not rounded away before it.

use super::backward::Gradient;
use super::batch_norm::HEADROOM;
use super::plan::TrainingPlan;
use super::settings::{Adam, Optimizer, Sgd};
use super::wide;
use crate::device::Tensor;
use crate::mpc::{Additive, MpcError, Octaves, Party, Rep};
use crate::nn::NnError;
use crate::nn::divisor::{STEP_BITS, factor};
use crate::nn::window::PRODUCT_BITS;
use crate::ring::{FixedPoint, Ring, RingError};

/// Weights that are updated at once, at most: more save a few rounds, and take memory.
const AT_ONCE: usize = 1 << 22;

/// The same for Adam, whose root and quotient take 200 words a weight. Fewer in the unit tests, which reach it so.
const AT_ONCE_ADAM: usize = if cfg!(test) { 1 << 5 } else { 1 << 18 };

/// What an optimiser keeps of earlier iterations, by tensor: empty where it keeps nothing, and before the first iteration. Adam's
/// numbers are of 64 bits in either ring.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    /// The momentum, undivided by the batch; or Adam's first moment.
    pub first: Vec<Option<Rep>>,
    /// Adam's second moment.
    pub second: Vec<Option<Rep>>,
}

/// Parameters that are updated together, laid end to end.
pub(super) struct Bundle {
    /// Which tensors.
    pub tensors: Vec<usize>,
    /// Bits of their gradients above the scale of a product.
    pub extra: u32,
    /// All elements.
    pub elements: usize,
}

impl Bundle {
    /// Which of the elements are updated at once.
    pub fn parts(&self, optimizer: &Optimizer) -> Vec<std::ops::Range<usize>> {
        let most = match optimizer {
            Optimizer::Sgd(_) => AT_ONCE,
            Optimizer::Adam(_) => AT_ONCE_ADAM,
        };
        (0..self.elements).step_by(most).map(|first| first..self.elements.min(first + most)).collect()
    }
}

/// The bundles of a plan: of equal extra bits, since one truncation cuts all of a bundle.
pub(super) fn bundles(plan: &TrainingPlan) -> Vec<Bundle> {
    let mut gradients = plan.gradients();
    gradients.sort_by_key(|&(_, extra)| extra);
    let mut bundles: Vec<Bundle> = vec![];
    for (tensor, extra) in gradients {
        let elements = plan.tensors()[tensor].elements();
        match bundles.last_mut() {
            Some(last) if last.extra == extra && last.elements + elements <= AT_ONCE => {
                last.tensors.push(tensor);
                last.elements += elements;
            }
            _ => bundles.push(Bundle { tensors: vec![tensor], extra, elements }),
        }
    }
    bundles
}

/// Fewest bits of a rate, right within 0.8 %, with which plain descent takes one truncation.
const RATE_BITS: u32 = 6;

/// Bits that plain descent has left for its rate in front of a product with a gradient: none in the ring of 32 bits.
fn rate_bits(codec: FixedPoint, extra: u32) -> u32 {
    codec.ring().range_bits().saturating_sub(2 * codec.fraction_bits() + HEADROOM + extra)
}

/// Whether plain descent cuts its gradients first and multiplies by the rate afterwards: the rate would have too few bits.
pub(super) fn cuts_twice(codec: FixedPoint, extra: u32) -> bool {
    rate_bits(codec, extra) < RATE_BITS
}

/// rate/batch of plain descent in few bits, and what is cut of its products with gradients.
///
/// # Errors
/// [`NnError::Settings`] for a rate below what the truncation can cut.
pub(super) fn plain_factor(rate: f64, codec: FixedPoint, extra: u32) -> Result<(u64, u32), NnError> {
    let (c, d) = factor(rate, rate_bits(codec, extra).max(1));
    cuttable(rate, codec, c, codec.fraction_bits() + extra + d)
}

/// rate/batch of what is cut already, as c/2^d, and d: as many significant bits as there are fraction bits. In the ring of 32
/// bits at most [`STEP_BITS`], as each bit of the cut is 3/8 bytes of about 12.
///
/// # Errors
/// As [`plain_factor`].
pub(super) fn step_factor(rate: f64, codec: FixedPoint) -> Result<(u64, u32), NnError> {
    let bits = match codec.ring() {
        Ring::Z64 => codec.fraction_bits(),
        Ring::Z32 => codec.fraction_bits().min(STEP_BITS),
    };
    let (c, d) = factor(rate, bits.max(1));
    cuttable(rate, codec, c, d)
}

/// The factor of the last cut of gradient descent.
fn rate_factor(sgd: &Sgd, rate: f64, codec: FixedPoint, extra: u32) -> Result<(u64, u32), NnError> {
    match sgd.momentum == 0.0 && !cuts_twice(codec, extra) {
        true => plain_factor(rate, codec, extra),
        false => step_factor(rate, codec),
    }
}

/// A factor whose product is cut by so many bits, with fewer where the ring's truncation takes no more.
fn cuttable(rate: f64, codec: FixedPoint, c: u64, cut: u32) -> Result<(u64, u32), NnError> {
    let over = cut.saturating_sub(codec.ring().max_cut());
    match c.checked_shr(over).unwrap_or(0) {
        0 => {
            let fraction_bits = codec.fraction_bits();
            let what = format!(
                "training: rate/batch is {rate:e}, which changes no weight with {fraction_bits} fraction bits: take a rate \
                 above 0 that is larger"
            );
            Err(NnError::Settings { what })
        }
        c => Ok((c, cut - over)),
    }
}

/// One update of all parameters.
pub(super) struct Update<'a> {
    pub plan: &'a TrainingPlan,
    pub tensors: &'a [Rep],
    pub moments: &'a Moments,
    /// The optimiser's rate in this iteration.
    pub rate: f64,
    /// Iterations with this one.
    pub iteration: u64,
}

/// What an update makes, laid end to end.
struct Updated {
    /// What is subtracted from the weights.
    change: Rep,
    first: Option<Rep>,
    second: Option<Rep>,
}

impl Updated {
    /// Parts, one after the other.
    fn joined(parts: Vec<Updated>) -> Result<Updated, NnError> {
        let (mut changes, mut first, mut second) = (vec![], vec![], vec![]);
        for part in parts {
            changes.push(part.change);
            first.extend(part.first);
            second.extend(part.second);
        }
        let join = |parts: Vec<Rep>| (!parts.is_empty()).then(|| Rep::concat(&parts)).transpose();
        let change = Rep::concat(&changes).map_err(MpcError::from)?;
        let (first, second) = (join(first).map_err(MpcError::from)?, join(second).map_err(MpcError::from)?);
        Ok(Updated { change, first, second })
    }
}

impl Update<'_> {
    /// New tensors and moments; those that are not trained are as before.
    pub fn run(&self, p: &mut Party, gradients: Vec<Gradient>) -> Result<(Vec<Rep>, Moments), NnError> {
        let count = self.tensors.len();
        let mut tensors = self.tensors.to_vec();
        let filled = |moments: &[Option<Rep>]| (0..count).map(|index| moments.get(index).cloned().flatten()).collect();
        let mut moments = Moments { first: filled(&self.moments.first), second: filled(&self.moments.second) };
        let mut values: Vec<Option<Additive>> = (0..count).map(|_| None).collect();
        for Gradient { tensor, value } in gradients {
            values[tensor] = Some(value);
        }
        for bundle in bundles(self.plan) {
            let taken: Option<Vec<Additive>> = bundle.tensors.iter().map(|&tensor| values[tensor].take()).collect();
            let taken = taken.ok_or_else(|| NnError::Wiring {
                node: self.plan.forward().name().into(),
                what: "a parameter has no gradient".into(),
            })?;
            let flat: Result<Vec<Additive>, _> = taken.iter().map(|value| value.reshape(&[value.len()])).collect();
            let flat = flat.map_err(MpcError::from)?;
            drop(taken);
            let gradient = Additive::concat(&flat).map_err(MpcError::from)?;
            drop(flat);
            let Updated { change, first, second } = self.bundle(p, &bundle, gradient)?;
            for (tensor, own) in self.places(&bundle) {
                let new = self.tensors[tensor].sub_part(&change, own.start).map_err(MpcError::from)?;
                tensors[tensor] = new.settled();
            }
            drop(change);
            for (moments, flat) in [(&mut moments.first, first), (&mut moments.second, second)] {
                let Some(flat) = flat else { continue };
                for (tensor, own) in self.places(&bundle) {
                    let shape = &self.plan.tensors()[tensor].shape;
                    let new = flat.narrow(own).and_then(|part| part.reshape(shape)).map_err(MpcError::from)?;
                    moments[tensor] = Some(new.settled());
                }
            }
        }
        Ok((tensors, moments))
    }

    fn bundle(&self, p: &mut Party, bundle: &Bundle, gradient: Additive) -> Result<Updated, NnError> {
        let optimizer = &self.plan.train().optimizer;
        let gradient = self.decayed(p, bundle, gradient)?;
        let count = match optimizer {
            Optimizer::Sgd(sgd) if sgd.momentum == 0.0 => 0,
            Optimizer::Sgd(_) => 1,
            Optimizer::Adam(_) => 2,
        };
        let moments: Result<Vec<Rep>, NnError> = [&self.moments.first, &self.moments.second]
            .into_iter()
            .take(count)
            .map(|moments| self.flat(p, bundle, |tensor| moments.get(tensor).and_then(Option::as_ref)))
            .collect();
        let moments = moments?;
        let parts = bundle.parts(optimizer);
        if parts.len() == 1 {
            return self.part(p, bundle.extra, gradient, moments);
        }
        let mut updated = vec![];
        for part in parts {
            let moments: Result<Vec<Rep>, _> = moments.iter().map(|moment| moment.narrow(part.clone())).collect();
            let gradient = gradient.narrow(part).map_err(MpcError::from)?;
            updated.push(self.part(p, bundle.extra, gradient, moments.map_err(MpcError::from)?)?);
        }
        Updated::joined(updated)
    }

    /// A part of a bundle.
    fn part(&self, p: &mut Party, extra: u32, gradient: Additive, moments: Vec<Rep>) -> Result<Updated, NnError> {
        let mut moments = moments.into_iter();
        match (self.plan.train().optimizer, moments.next(), moments.next()) {
            (Optimizer::Sgd(sgd), Some(before), _) => self.momentum(p, &sgd, extra, gradient, before),
            (Optimizer::Sgd(_), None, _) => self.plain(p, extra, gradient),
            (Optimizer::Adam(adam), Some(m), Some(v)) => Ok(self.adam(p, &adam, extra, gradient, [&m, &v])?),
            (Optimizer::Adam(_), ..) => {
                Err(NnError::Wiring { node: self.plan.forward().name().into(), what: "Adam has no moments".into() })
            }
        }
    }

    /// The tensors of a bundle, laid end to end; zeros for those moments that there are none of yet.
    fn flat<'b>(&self, p: &Party, bundle: &Bundle, of: impl Fn(usize) -> Option<&'b Rep>) -> Result<Rep, NnError> {
        let each = bundle.tensors.iter().map(|&tensor| match of(tensor) {
            Some(rep) => rep.reshape(&[rep.len()]),
            None => {
                let elements = self.plan.tensors()[tensor].elements();
                let like = self.tensors[tensor].components().0;
                let zeros = match self.plan.train().optimizer {
                    Optimizer::Adam(_) => Tensor::full(like.device(), &[elements], 0),
                    Optimizer::Sgd(_) => like.full_like(&[elements], 0),
                };
                Ok(Rep::public(p.id(), &zeros))
            }
        });
        let each: Result<Vec<Rep>, _> = each.collect();
        Ok(Rep::concat(&each.map_err(MpcError::from)?).map_err(MpcError::from)?)
    }

    /// Where each tensor of a bundle lies among all of it.
    fn places<'b>(&'b self, bundle: &'b Bundle) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + 'b {
        let mut first = 0;
        bundle.tensors.iter().map(move |&tensor| {
            let own = first..first + self.plan.tensors()[tensor].elements();
            first = own.end;
            (tensor, own)
        })
    }

    /// w ← w − cut(c·(g + decay·w)) with c/2^d = rate/batch: one truncation of products. Where c would have too few bits
    /// ([`cuts_twice`]), w ← w − cut(cut(g + decay·w)·rate/batch).
    fn plain(&self, p: &mut Party, extra: u32, gradient: Additive) -> Result<Updated, NnError> {
        let (codec, rate) = (p.codec(), self.rate / self.plan.summed());
        let change = if cuts_twice(codec, extra) {
            let gradient = p.truncate_additive(gradient, codec.fraction_bits() + extra)?;
            let (c, cut) = step_factor(rate, codec)?;
            p.truncate(&gradient.mul_word(c), cut)?
        } else {
            let (c, cut) = plain_factor(rate, codec, extra)?;
            let scaled = gradient.mul_word(c);
            drop(gradient);
            p.truncate_additive(scaled, cut)?
        };
        Ok(Updated { change, first: None, second: None })
    }

    /// g + decay·batch·w, at the scale of g; the weights are laid end to end for it.
    fn decayed(&self, p: &Party, bundle: &Bundle, gradient: Additive) -> Result<Additive, NnError> {
        let decay = self.plan.train().optimizer.decay();
        if decay == 0.0 {
            return Ok(gradient);
        }
        let decay = p.codec().encode(decay * self.plan.summed()).map_err(MpcError::from)?;
        let weights = self.flat(p, bundle, |tensor| self.tensors.get(tensor))?.to_additive();
        Ok(gradient.add(&weights.mul_word(decay << bundle.extra)).map_err(MpcError::from)?)
    }

    /// v ← cut(g + decay·w + momentum·v), then w ← w − cut(v·rate/batch), or with Nesterov's momentum
    /// w ← w − cut((v + momentum·(v − the v before))·rate/batch), which is g + decay·w + momentum·v.
    fn momentum(
        &self,
        p: &mut Party,
        sgd: &Sgd,
        extra: u32,
        gradient: Additive,
        before: Rep,
    ) -> Result<Updated, NnError> {
        let codec = p.codec();
        let momentum = codec.encode(sgd.momentum).map_err(MpcError::from)?;
        let sum = gradient.add(&before.to_additive().mul_word(momentum << extra)).map_err(MpcError::from)?;
        let before = sgd.nesterov.then_some(before);
        drop(gradient);
        let velocity = p.truncate_additive(sum, codec.fraction_bits() + extra)?;
        let (c, d) = step_factor(self.rate / self.plan.summed(), codec)?;
        let change = match before {
            None => velocity.mul_word(c),
            Some(before) => {
                let back = (c as f64 * sgd.momentum).round() as u64;
                let earlier = before.mul_word(back);
                drop(before);
                velocity.mul_word(c + back).sub(&earlier).map_err(MpcError::from)?
            }
        };
        let change = p.truncate(&change, d)?;
        Ok(Updated { change, first: Some(velocity), second: None })
    }

    /// With the averages m ← m + (1 − β₁)/(1 − β₁ᵗ)·(g − m) and v ← v + (1 − β₂)/(1 − β₂ᵗ)·(g² − v), which are Adam's
    /// moments with the bias taken off: w ← w − rate·m/(√v + eps). g is the sum over the batch divided by a power of two
    /// ([`AdamFactors::shift`]); the quotient is the same, with eps scaled alike.
    ///
    /// In the ring of 32 bits g is extended, and all that follows is of 64 bits with the fraction bits that are usual there, up to
    /// the last cut, which leaves the run's and comes back.
    fn adam(
        &self,
        p: &mut Party,
        adam: &Adam,
        extra: u32,
        gradient: Additive,
        [m, v]: [&Rep; 2],
    ) -> Result<Updated, MpcError> {
        let codec = p.codec();
        let factors = AdamFactors::of(adam, self.plan.summed() as usize, self.iteration, codec);
        let (up, cut) = factors.shift(codec, extra);
        let g = p.truncate_additive(gradient, cut)?;
        let g = p.extend(&g)?.mul_word(up);
        wide::run(p, |p| {
            let f = p.codec().fraction_bits();
            let change = p.mul_scalar(&g.sub(m)?, factors.first)?;
            let m = m.add(&change)?;
            let excess = g.local_mul(&g)?.sub(&v.mul_word(1 << f).to_additive())?;
            drop(g);
            let (c, d) = factors.second;
            let change = p.truncate_additive(excess.mul_word(c), f + d)?;
            let v = v.add(&change)?;
            let root = p.sqrt(&v)?;
            let root = p.add_scalar(&root, factors.eps)?;
            let quotient = p.div_in(&m, &root, factors.divisors(f))?;
            let (c, cut) = AdamFactors::rate(self.rate, codec)?;
            let change = p.truncate(&quotient.mul_word(c), cut)?;
            Ok(Updated { change: wide::back(change, codec.ring()), first: Some(m), second: Some(v) })
        })
    }
}

/// The public numbers of an iteration of Adam. Moments have the fraction bits of [`wide::codec`].
pub(super) struct AdamFactors {
    /// Gradients are summed over so many examples and divided by 2^`down`, about 2^k times the mean with the least k for which
    /// eps·2^k is no smaller than the root of a unit: squares of gradients of the size of eps keep a bit.
    down: i32,
    /// (1 − β₁)/(1 − β₁ᵗ).
    pub first: f64,
    /// (1 − β₂)/(1 − β₂ᵗ) in few bits, and the cut that belongs to it.
    pub second: (u64, u32),
    /// eps at the scale of the gradients; at least one unit.
    pub eps: f64,
}

impl AdamFactors {
    /// Of gradients that are sums over so many examples ([`TrainingPlan::summed`]).
    pub fn of(adam: &Adam, summed: usize, iteration: u64, codec: FixedPoint) -> Self {
        let fraction_bits = wide::codec(codec).fraction_bits();
        let (units, summed) = ((1u64 << fraction_bits) as f64, summed.max(1));
        let mut eps = adam.eps;
        let mut down = summed.ilog2() as i32;
        let least = -(fraction_bits as i32);
        while eps * eps * units < 1.0 && down > least {
            eps *= 2.0;
            down -= 1;
        }
        let bits = PRODUCT_BITS.saturating_sub(2 * fraction_bits + HEADROOM).max(1);
        let [first, second] = adam.betas.map(|beta| (1.0 - beta) / (1.0 - power(beta, iteration)));
        // The sum need not be of a power of two.
        let odd = summed as f64 / (1u64 << summed.ilog2()) as f64;
        AdamFactors { down, first, second: factor(second, bits), eps: (eps * odd).max(1.0 / units) }
    }

    /// Where √v + eps lies, for v of up to 31 bits, as [`Party::sqrt`] takes them: from eps on, about half the octaves of
    /// all numbers. √v may lack a unit, which counts as none.
    pub fn divisors(&self, fraction_bits: u32) -> Octaves {
        let root = (31 - fraction_bits as i32).div_euclid(2) + 1;
        // The exponent of a normal number, from its bits: the same on whatever machine.
        let least = (self.eps.to_bits() >> 52) as i32 - 1023;
        // √v is below 0.71·2^root, and a small eps below a quarter of it.
        let high = if least < root - 2 { root } else { root.max(least + 1) + 1 };
        Octaves::new(least, high)
    }

    /// What is cut of a gradient with so many bits above a product's scale, and what it is multiplied by afterwards. In the ring of
    /// 32 bits at least a bit is cut, so that a check of ranges sees it before it is extended.
    pub fn shift(&self, codec: FixedPoint, extra: u32) -> (u64, u32) {
        let least = match codec.ring() {
            Ring::Z64 => 0,
            Ring::Z32 => 1,
        };
        let wanted = (codec.fraction_bits() + extra) as i32 - wide::more(codec) as i32 + self.down;
        let cut = wanted.max(least);
        (1 << cut.abs_diff(wanted), cut.unsigned_abs())
    }

    /// The rate as a factor of quotients, and the cut that leaves the run's fraction bits.
    ///
    /// # Errors
    /// As [`FixedPoint::encode`].
    pub fn rate(rate: f64, codec: FixedPoint) -> Result<(u64, u32), RingError> {
        let wide = wide::codec(codec);
        let (c, d) = wide.encode_constant(rate)?;
        let cut = d + wide::more(codec);
        let over = cut.saturating_sub(wide.ring().max_cut());
        Ok((c >> over, cut - over))
    }
}

/// base^exponent by products alone, so that it is the same number on whatever machine.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut power = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power *= base;
        }
        base *= base;
        exponent /= 2;
    }
    power
}

impl TrainingPlan {
    /// Refuses numbers that the optimiser cannot use at this rate, before anything is sent.
    ///
    /// # Errors
    /// [`NnError::Settings`].
    pub(crate) fn check_rate(&self, rate: f64, codec: FixedPoint) -> Result<(), NnError> {
        let settings = |what: String| Err(NnError::Settings { what: format!("training: {what}") });
        if !(rate.is_finite() && rate > 0.0) {
            return settings(format!("the rate is {rate}, and must be above 0"));
        }
        let (f, summed) = (codec.fraction_bits(), self.summed());
        let optimizer = self.train().optimizer;
        let momentum = match optimizer {
            Optimizer::Sgd(sgd) => sgd.momentum,
            // A factor of its own, in other bits.
            Optimizer::Adam(_) => 0.0,
        };
        for (value, what) in [(optimizer.decay() * summed, "weight decay times the batch"), (momentum, "momentum")] {
            if value != 0.0 && codec.encode(value).map_err(MpcError::from)? == 0 {
                return settings(format!(
                    "{what} is {value:e}, which is 0 with {f} fraction bits: take more bits, or none of it"
                ));
            }
        }
        let Optimizer::Sgd(sgd) = optimizer else { return Ok(()) };
        bundles(self).iter().try_for_each(|bundle| rate_factor(&sgd, rate / summed, codec, bundle.extra).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use crate::mpc::World;
    use crate::net::PartyId;
    use crate::nn::plaintext::{PlaintextTraining, Rounding};
    use crate::nn::training::{Adam, Loss, SharedTraining, Train};
    use crate::nn::{Graph, Weights};
    use crate::ring::Ring;
    use ndarray::{ArrayD, IxDyn};

    #[test]
    fn a_bundle_is_updated_in_parts() {
        updated_in_parts(Ring::Z64, 4e-3);
        updated_in_parts(Ring::Z32, 1e-2);
    }

    fn updated_in_parts(ring: Ring, allowed: f32) {
        let mut net = Graph::builder("parts", [12, 1, 1]);
        let flat = net.flatten("flatten", net.input()).unwrap();
        let fc = net.linear("fc", flat, 6).unwrap();
        let net = net.finish(fc).unwrap();
        let optimizer = Adam::new(0.01);
        let train = Train { batch: 2, loss: Loss::MeanSquaredError, optimizer, ..Train::default() };
        let plan = super::TrainingPlan::new(&net, &train, ring).unwrap();
        let parts: Vec<usize> = super::bundles(&plan)[0].parts(&optimizer).iter().map(ExactSizeIterator::len).collect();
        assert_eq!(parts, [32, 32, 14]);
        let values =
            |shape: &[usize]| ArrayD::from_shape_fn(IxDyn(shape), |at| ((at[0] * 5 + at[1]) % 7) as f64 / 4.0 - 0.7);
        let (images, targets) = (values(&[2, 12, 1, 1]), values(&[2, 6]));
        let weights = Weights::seeded(&net, 5);
        let world = World::seeded(1).in_ring(ring);
        let [x, t] = [&images, &targets].map(|value| world.deal(&world.settings.codec.encode_array(value).unwrap()));
        let [after, ..] = world.run(|p| {
            let (me, mine) = (p.id().index(), (p.id() == PartyId::P0).then(|| weights.clone()));
            let mut training = SharedTraining::share(p, &net, PartyId::P0, mine, &train).unwrap();
            for _ in 0..2 {
                let _ = training.step(p, &x[me], &t[me], 0.01, |_| {}).unwrap();
            }
            training.open_to(p, PartyId::P0).unwrap()
        });
        let mut oracle = PlaintextTraining::new(&net, &weights, &train, Rounding::Exact).unwrap();
        for _ in 0..2 {
            oracle.step(&images, &targets, 0.01).unwrap();
        }
        let (after, expected) = (after.unwrap(), oracle.to_weights());
        for (name, expected) in expected.iter() {
            let error = (after.get(name).unwrap() - expected).iter().fold(0.0f32, |max, error| max.max(error.abs()));
            assert!(error < allowed, "{ring}, {name}: {error}");
        }
    }
}
