//! A party's half of a call: the entry of each function, and the jump to it.
//!
//! A function has an entry of its own: an instance of [`entry`], compiled into the object that the function is in.
//! The caller finds out which object that is and where in it the entry lies, and a party that has opened the same
//! object jumps there. So the object must be linked with the party's own copy of this library, which the entry checks
//! before it touches anything.

use super::context::PartyContext;
use super::failing;
use super::gate::{Asks, Origin, What};
use crate::cluster::marshal::parcel::{ArgumentReader, OutcomeWriter};
use crate::cluster::marshal::store::Label;
use crate::cluster::marshal::{Argument, Outcome};
use crate::cluster::wire::function::{self, runtime};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::{CALL, Call, CodeLocation};
use crate::cluster::wire::object::Supply;
use crate::cluster::wire::text::shown;
use crate::mpc::Party;
use std::fmt::Display;

/// What an entry gets and gives.
#[repr(C)]
pub(in crate::cluster) struct Invocation<'a> {
    /// Stays first, whatever comes behind it, so that entries of all versions find it.
    runtime: usize,
    /// Set by an entry that has found its own library.
    entered: bool,
    context: &'a mut PartyContext,
    arguments: &'a [u8],
    outcome: Result<OutcomeWriter, JobError>,
}

type Entry = unsafe extern "C-unwind" fn(*mut Invocation<'_>);

/// Decodes, calls and encodes. Everything that does not depend on the types is elsewhere, since each cell compiles this.
///
/// # Safety
/// The pointer is to an invocation that nobody else uses, of this library or of another copy of it.
pub(in crate::cluster) unsafe extern "C-unwind" fn entry<A, R, E, F>(invocation: *mut Invocation<'_>)
where
    A: Argument,
    R: Outcome,
    E: Display + 'static,
    F: Fn(&mut Party, A) -> Result<R, E> + Copy,
{
    // SAFETY: the first field of an invocation is this one in all versions.
    if unsafe { (&raw const (*invocation).runtime).read() } != runtime() {
        return;
    }
    // SAFETY: it is of this very library, and the caller lets nobody else use it.
    let invocation = unsafe { &mut *invocation };
    invocation.entered = true;
    // SAFETY: a function item or a closure without captures has no bytes (checked in `Cluster::run`), the caller had a
    // value of it, and values may be copied.
    let function: F = unsafe { std::mem::zeroed() };
    invocation.outcome = invocation.receive::<A>().and_then(|arguments| {
        let value = function(invocation.context.party(), arguments).map_err(failing::job_error)?;
        let mut leaving = OutcomeWriter::default();
        value.leave(&mut leaving).map(|()| leaving)
    });
}

impl Invocation<'_> {
    fn receive<A: Argument>(&mut self) -> Result<A, JobError> {
        let mut arrived = ArgumentReader::new(self.arguments, self.context.store());
        let arguments = A::receive(&mut arrived)?;
        arrived.finish().map(|()| arguments)
    }
}

/// What a call asks for: the function by what its code is. Nobody knows what it opens but whoever has read it.
fn asks(call: &Call) -> Asks {
    let digest = match &call.location {
        CodeLocation::Object(id) => id.digest(),
        CodeLocation::Here(_) => [0; 32],
    };
    let object = match &call.location {
        CodeLocation::Object(id) => id.object_digest(),
        CodeLocation::Here(_) => None,
    };
    let asks = Asks::default().function(&call.function, digest, object);
    let of = asks.function.as_ref().map(|function| function.digest.clone()).unwrap_or_default();
    asks.leaving(Origin::new(What::Result, &of))
}

/// Has the party's owner, if it has one, allow the call; where its object may come from.
fn admit(call: &Call, context: &mut PartyContext) -> Result<Supply, JobError> {
    if !context.is_guarded() {
        return Ok(Supply::Files);
    }
    if let CodeLocation::Object(id) = &call.location
        && let Err(error) = function::compare(id)
    {
        let asked = shown(&call.function);
        return Err(context.refuse(CALL, format!("the function `{asked}` cannot run here: {error}")));
    }
    context.admit(CALL, asks(call))?;
    Ok(Supply::Sent)
}

/// Runs a call at a party.
pub(in crate::cluster) fn run_call(
    body: &[u8],
    context: &mut PartyContext,
    output: &mut Vec<u8>,
) -> Result<(), JobError> {
    let (call, arguments): (Call, &[u8]) = postcard::take_from_bytes(body)
        .map_err(|error| JobError::Arguments(format!("cannot decode a call: {error}")))?;
    let fail = |detail: String| JobError::Other(format!("cannot find the function {}: {detail}", call.function));
    let supply = admit(&call, context)?;
    let address = match &call.location {
        CodeLocation::Object(id) => function::resolve(id, supply).map_err(|error| fail(error.to_string()))?,
        CodeLocation::Here(address) if context.in_memory() => *address as usize,
        CodeLocation::Here(_) => return Err(fail("an address of another process says nothing here".into())),
    };
    // SAFETY: the caller took this address from a function of this type; `resolve` has seen to it that the code is the
    // same, and in memory the process is.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(address) };
    let nothing = Ok(OutcomeWriter::default());
    let mut invocation = Invocation { runtime: runtime(), entered: false, context, arguments, outcome: nothing };
    // SAFETY: nobody else knows of the invocation.
    unsafe { entry(&raw mut invocation) };
    if !invocation.entered {
        return Err(fail(
            "its object is linked with another copy of the library than this party runs: build both with the same \
             sources, and start the cluster again"
                .into(),
        ));
    }
    let leaving = invocation.outcome?;
    // A handle is a number among them.
    context.returns(leaving.body.len().saturating_sub(4 * leaving.held.len()));
    let labels: Vec<Label> = leaving.held.iter().map(|held| held.label()).collect();
    for (place, held) in (0..).zip(leaving.held) {
        context.hold(place, held)?;
    }
    *output = postcard::to_extend(&labels, std::mem::take(output))
        .map_err(|error| JobError::Other(format!("cannot encode the output: {error}")))?;
    output.extend_from_slice(&leaving.body);
    Ok(())
}
