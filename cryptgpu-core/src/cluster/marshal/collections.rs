//! Tuples, lists and options of whatever travels.

use super::bytes::Bytes;
use super::parcel::{ArgumentReader, OutcomeReader, OutcomeWriter, Parcel};
use super::traits::{Argument, Outcome, PassedAs};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;

macro_rules! tuple {
    ($($name:ident $given:ident $index:tt),*) => {
        impl<$($name: Argument),*> Argument for ($($name,)*) {
            fn receive(_from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
                Ok(($($name::receive(_from)?,)*))
            }
        }
        impl<$($name, $given: PassedAs<$name>),*> PassedAs<($($name,)*)> for ($($given,)*) {
            fn pass(self, _parcel: &mut Parcel) -> Result<(), ClusterError> {
                $(self.$index.pass(_parcel)?;)*
                Ok(())
            }
        }
        impl<'a, $($name, $given),*> PassedAs<($($name,)*)> for &'a ($($given,)*)
        where
            $(&'a $given: PassedAs<$name>,)*
        {
            fn pass(self, _parcel: &mut Parcel) -> Result<(), ClusterError> {
                $((&self.$index).pass(_parcel)?;)*
                Ok(())
            }
        }
        impl<$($name: Outcome),*> Outcome for ($($name,)*) {
            type Handle = ($($name::Handle,)*);
            fn leave(self, _to: &mut OutcomeWriter) -> Result<(), JobError> {
                $(self.$index.leave(_to)?;)*
                Ok(())
            }
            fn fetch(_from: &mut OutcomeReader<'_>) -> Result<Self::Handle, String> {
                Ok(($($name::fetch(_from)?,)*))
            }
        }
    };
}

tuple!();
tuple!(A1 B1 0);
tuple!(A1 B1 0, A2 B2 1);
tuple!(A1 B1 0, A2 B2 1, A3 B3 2);
tuple!(A1 B1 0, A2 B2 1, A3 B3 2, A4 B4 3);
tuple!(A1 B1 0, A2 B2 1, A3 B3 2, A4 B4 3, A5 B5 4);
tuple!(A1 B1 0, A2 B2 1, A3 B3 2, A4 B4 3, A5 B5 4, A6 B6 5);

fn pass_all<A, B: PassedAs<A>>(
    parcel: &mut Parcel,
    items: impl ExactSizeIterator<Item = B>,
) -> Result<(), ClusterError> {
    parcel.put(&(items.len() as u64));
    items.into_iter().try_for_each(|item| item.pass(parcel))
}

impl<A: Argument> Argument for Vec<A> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        let len = from.take::<u64>()?;
        (0..len).map(|_| A::receive(from)).collect()
    }
}

impl<A, B: PassedAs<A>> PassedAs<Vec<A>> for Vec<B> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        pass_all(parcel, self.into_iter())
    }
}

impl<'a, A, B> PassedAs<Vec<A>> for &'a Vec<B>
where
    &'a B: PassedAs<A>,
{
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        pass_all(parcel, self.iter())
    }
}

impl<'a, A, B> PassedAs<Vec<A>> for &'a [B]
where
    &'a B: PassedAs<A>,
{
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        pass_all(parcel, self.iter())
    }
}

impl<A, B: PassedAs<A>, const N: usize> PassedAs<Vec<A>> for [B; N] {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        pass_all(parcel, self.into_iter())
    }
}

impl<R: Outcome> Outcome for Vec<R> {
    type Handle = Vec<R::Handle>;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        (self.len() as u64).write(&mut to.body);
        self.into_iter().try_for_each(|item| item.leave(to))
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Self::Handle, String> {
        let len = from.take::<u64>()?;
        (0..len).map(|_| R::fetch(from)).collect()
    }
}

/// An array of `N` items; there are exactly as many, or the reading of one of them has failed.
fn array<T, E: From<String>, const N: usize>(mut item: impl FnMut() -> Result<T, E>) -> Result<[T; N], E> {
    let items = (0..N).map(|_| item()).collect::<Result<Vec<T>, E>>()?;
    items.try_into().map_err(|_| E::from(format!("not {N} items")))
}

impl<A: Argument, const N: usize> Argument for [A; N] {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        array(|| A::receive(from))
    }
}

impl<A, B: PassedAs<A>, const N: usize> PassedAs<[A; N]> for [B; N] {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        self.into_iter().try_for_each(|item| item.pass(parcel))
    }
}

impl<'a, A, B, const N: usize> PassedAs<[A; N]> for &'a [B; N]
where
    &'a B: PassedAs<A>,
{
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        self.iter().try_for_each(|item| item.pass(parcel))
    }
}

impl<R: Outcome, const N: usize> Outcome for [R; N] {
    type Handle = [R::Handle; N];

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        self.into_iter().try_for_each(|item| item.leave(to))
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Self::Handle, String> {
        array(|| R::fetch(from))
    }
}

impl<A: Argument> Argument for Option<A> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        from.take::<bool>()?.then(|| A::receive(from)).transpose()
    }
}

impl<A, B: PassedAs<A>> PassedAs<Option<A>> for Option<B> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        parcel.put(&self.is_some());
        self.map_or(Ok(()), |item| item.pass(parcel))
    }
}

impl<R: Outcome> Outcome for Option<R> {
    type Handle = Option<R::Handle>;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        self.is_some().write(&mut to.body);
        self.map_or(Ok(()), |item| item.leave(to))
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Self::Handle, String> {
        from.take::<bool>()?.then(|| R::fetch(from)).transpose()
    }
}
