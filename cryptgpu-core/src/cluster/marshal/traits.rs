//! The three traits of what travels: what a function takes, what a caller may give for it, what a function returns.

use super::parcel::{ArgumentReader, OutcomeReader, OutcomeWriter, Parcel};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;

/// What a function that runs at the parties may take: `Rep` and `RepBits` for shares, `Arc<SharedModel>` for a model, numbers, text, `ndarray` arrays,
/// `Option<Tensor>` for a tensor that one party knows, [`Plain`](crate::cluster::Plain) for any type with serde, and tuples of up to six, lists,
/// arrays and options of these.
#[diagnostic::on_unimplemented(
    message = "a function that runs at the parties cannot take `{Self}`",
    label = "cannot be passed to the parties",
    note = "take `Rep` where the caller passes `&Shared`, a number, a `String` or an `ndarray` array for plain values, \
            and `Plain<{Self}>` for a type of your own that has `#[derive(Serialize, Deserialize)]`"
)]
pub trait Argument: Sized {
    #[doc(hidden)]
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError>;
}

/// What a caller may give where a function takes an `A`: the same value or a reference to it for plain types,
/// `&Shared` for `Rep`, `&Model` for `Arc<SharedModel>`, [`OnlyAt`](crate::cluster::OnlyAt) for `Option<A>`, [`PerParty`](crate::cluster::PerParty) for any.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the function takes `{A}`",
    label = "the function takes `{A}`",
    note = "for a `Rep` pass a `&Shared`: `let x = cluster.share(&array)?`, then `cluster.run(f, &x)`",
    note = "several arguments are one tuple: `cluster.run(f, (&x, 3u64))` for `fn f(p: &mut Party, (x, n): (Rep, u64))`",
    note = "a type of your own is wrapped on both sides: `Plain(value)` where the function takes `Plain<T>`"
)]
pub trait PassedAs<A> {
    #[doc(hidden)]
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError>;
}

/// What a function that runs at the parties may return: what it may take, but that the caller gets a `Shared` for a
/// `Rep`, a `SharedBits` for a `RepBits`, and a `Revealed` for an `Option<Tensor>` that one party has.
#[diagnostic::on_unimplemented(
    message = "a function that runs at the parties cannot return `{Self}`",
    label = "cannot come back from the parties",
    note = "return `Rep` to leave a share there, a number, a `String` or an `ndarray` array (`tensor.to_array()?`) for a \
            value the caller shall see, and `Plain(value)` for a type of your own that has `#[derive(Serialize, Deserialize)]`"
)]
pub trait Outcome {
    /// What the caller gets.
    type Handle;
    #[doc(hidden)]
    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError>;
    #[doc(hidden)]
    fn fetch(from: &mut OutcomeReader<'_>) -> Result<Self::Handle, String>;
}
