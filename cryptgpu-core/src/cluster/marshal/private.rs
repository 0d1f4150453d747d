//! Arguments that not all parties get to know.

use super::parcel::Parcel;
use super::traits::PassedAs;
use crate::cluster::wire::error::ClusterError;
use crate::net::PartyId;

/// Each party gets its own value, by index, and is sent no other: `PerParty([a, b, c])` where the function takes one `A`.
#[derive(Clone, Copy, Debug)]
pub struct PerParty<B>(
    /// By party.
    pub [B; 3],
);

impl<A, B: PassedAs<A>> PassedAs<A> for PerParty<B> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        for (party, value) in PartyId::ALL.into_iter().zip(self.0) {
            parcel.only(PartyId::ALL.map(|other| other == party), |parcel| value.pass(parcel))?;
        }
        Ok(())
    }
}

/// One party gets the value, the others are sent nothing of it: `OnlyAt(party, value)` where the function takes
/// `Option<A>`, which is `None` at the others.
#[derive(Clone, Copy, Debug)]
pub struct OnlyAt<B>(
    /// Who gets it.
    pub PartyId,
    /// What it gets.
    pub B,
);

impl<A, B: PassedAs<A>> PassedAs<Option<A>> for OnlyAt<B> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        let owner = PartyId::ALL.map(|party| party == self.0);
        parcel.only(owner.map(|owner| !owner), |parcel| parcel.put(&false));
        parcel.only(owner, |parcel| {
            parcel.put(&true);
            self.1.pass(parcel)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn nothing_of_it_is_in_the_others_parcels() {
        let parcels = |values: [u64; 3], owner: usize| {
            let mut parcel = Parcel::new(0, 1, Default::default());
            PassedAs::<u64>::pass(PerParty(values), &mut parcel).unwrap();
            PassedAs::<Option<u64>>::pass(OnlyAt(PartyId::ALL[owner], values[owner]), &mut parcel).unwrap();
            parcel.into_frames()
        };
        for owner in 0..3 {
            let mut other = [11, 22, 33];
            other[owner] = 44;
            let (before, after) = (parcels([11, 22, 33], owner), parcels(other, owner));
            for party in 0..3 {
                assert_eq!(before[party] == after[party], party != owner);
            }
        }
    }
}
