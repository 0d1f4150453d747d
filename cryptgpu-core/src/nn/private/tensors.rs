//! The tensors of a shared model by name, as [`SharedModel::from_shares`] takes them: what is kept of a model beyond a session.

use super::{SharedModel, encode};
use crate::mpc::{Operand, Rep};
use crate::nn::{Graph, LowerOptions, NnError};
use crate::ring::FixedPoint;

impl SharedModel {
    /// The network, before it was folded and lowered.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How it was lowered.
    pub fn options(&self) -> LowerOptions {
        self.options
    }

    /// What its weights are encoded with.
    pub fn codec(&self) -> FixedPoint {
        self.codec
    }

    /// This party's shares of all tensors, with their names, in the order of the plan: with [`SharedModel::graph`],
    /// [`SharedModel::options`] and [`SharedModel::codec`] all that [`SharedModel::from_shares`] needs to make the model again. Local.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn tensors(&self) -> Result<Vec<(String, Rep)>, NnError> {
        let mut tensors = vec![];
        for (step, layer) in self.plan.steps().iter().zip(&self.layers) {
            let (Some(layer), [weight, bias]) = (layer, encode::of_step(&self.plan, step, self.codec)) else {
                continue;
            };
            let rep = layer.weight.as_ref().map(Operand::rep).transpose();
            let rep = rep.map_err(|source| NnError::Local { node: step.name.clone(), source })?;
            let own = [(weight, rep), (bias, layer.bias.clone())];
            tensors.extend(own.into_iter().filter_map(|(spec, rep)| Some((spec?.name, rep?))));
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Tensor;
    use crate::mpc::{MpcError, World};
    use crate::net::PartyId;
    use crate::nn::{WeightSource, zoo};

    #[test]
    fn a_model_is_made_again_of_its_tensors_word_for_word() {
        let graph = zoo::by_name("lenet").unwrap();
        let weights = WeightSource::Random(3).open(&graph).unwrap().weights;
        let options = LowerOptions { defer_averages: false, ..LowerOptions::default() };
        let differ = World::seeded(5).run(|p| {
            let own = (p.id() == PartyId::P1).then(|| weights.clone());
            let first = SharedModel::share(p, &graph, PartyId::P1, own, options)?;
            let again =
                SharedModel::from_shares(p.id(), first.graph(), first.options(), first.codec(), first.tensors()?)?;
            assert_eq!((again.graph(), again.options()), (&graph, options));
            // The two who do not own the weights have one component of each, and two of each bias.
            let bytes = if p.id() == PartyId::P1 { 16 * 431_080 } else { 8 * (431_080 + 580) };
            assert_eq!([&first, &again].map(SharedModel::bytes), [bytes; 2]);
            let words = |rep: &Rep| -> Result<Vec<Vec<u64>>, MpcError> {
                let (a, b) = rep.components();
                let host = |x: &Tensor| x.clone().into_host().map_err(MpcError::from);
                Ok(vec![host(a)?, host(b)?])
            };
            let (one, two) = (first.tensors()?, again.tensors()?);
            assert_eq!(one.len(), two.len());
            let mut differ = 0;
            for ((name, one), (other, two)) in one.iter().zip(&two) {
                differ += usize::from(name != other || words(one)? != words(two)?);
            }
            Ok::<_, NnError>(differ)
        });
        assert!(differ.into_iter().all(|differ| differ.is_ok_and(|differ| differ == 0)));
    }
}
