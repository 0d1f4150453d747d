//! Shares and opened tensors: they stay at the parties, and what travels is the number that names them.

use super::handle::{Revealed, Shared, SharedBits, Token};
use super::parcel::{ArgumentReader, OutcomeReader, OutcomeWriter, Parcel};
use super::store::Held;
use super::traits::{Argument, Outcome, PassedAs};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::device::Tensor;
use crate::mpc::{Rep, RepBits};

impl Parcel {
    pub(super) fn put_token(&mut self, token: &Token) -> Result<(), ClusterError> {
        let id = token.check(self.cluster, self.generation)?;
        if self.to != [true; 3] {
            return Err(ClusterError::Argument {
                action: "pass a handle to some of the parties only".to_owned(),
                detail:
                    "each party has a part of it, and all must use theirs: pass the handle by itself and not within \
                         PerParty or OnlyAt"
                        .to_owned(),
            });
        }
        self.put(&id);
        Ok(())
    }
}

impl ArgumentReader<'_> {
    pub(super) fn held(&mut self) -> Result<&Held, JobError> {
        let id = self.take::<HeldId>()?;
        self.store.get(id).ok_or_else(|| JobError::Other(format!("this party holds nothing as {id:?}")))
    }
}

fn other_kind(held: &Held) -> JobError {
    JobError::Other(format!("the handle names {}", held.label().describe()))
}

macro_rules! handle {
    ($argument:ty, $handle:ty) => {
        impl PassedAs<$argument> for &$handle {
            fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
                parcel.put_token(&self.0)
            }
        }
        impl PassedAs<$argument> for $handle {
            fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
                parcel.put_token(&self.0)
            }
        }
    };
}

handle!(Rep, Shared);
handle!(RepBits, SharedBits);
handle!(Option<Tensor>, Revealed);

impl Argument for Rep {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        match from.held()? {
            Held::Rep(rep) => Ok(rep.clone()),
            other => Err(other_kind(other)),
        }
    }
}

impl Argument for RepBits {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        match from.held()? {
            Held::Bits(bits) => Ok(bits.clone()),
            other => Err(other_kind(other)),
        }
    }
}

/// There at the party that knows the tensor.
impl Argument for Option<Tensor> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        match from.held()? {
            Held::Private(tensor) => Ok(tensor.clone()),
            other => Err(other_kind(other)),
        }
    }
}

impl Outcome for Rep {
    type Handle = Shared;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        to.keep(Held::Rep(self));
        Ok(())
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Shared, String> {
        from.token().map(Shared)
    }
}

impl Outcome for RepBits {
    type Handle = SharedBits;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        to.keep(Held::Bits(self));
        Ok(())
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<SharedBits, String> {
        from.token().map(SharedBits)
    }
}

/// Returned by exactly one party, as by `open_to`.
impl Outcome for Option<Tensor> {
    type Handle = Revealed;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        to.keep(Held::Private(self));
        Ok(())
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Revealed, String> {
        from.token().map(Revealed)
    }
}
