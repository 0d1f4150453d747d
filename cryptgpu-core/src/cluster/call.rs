//! Running a plain function at the parties.
//!
//! A function has an entry of its own: an instance of [`entry`], compiled into the object that the function is in.
//! The caller finds out which object that is and where in it the entry lies ([`code`]), and a party that has opened
//! the same object jumps there. So the object must be linked with the party's own copy of this library, which the
//! entry checks before it touches anything.

use super::code::{self, Code};
use super::controller::{Cluster, Ended, Turn};
use super::error::ClusterError;
use super::failing;
use super::job::{JobError, PartyContext};
use super::pass::{Argument, Arrived, Fetched, Leaving, Outcome, Parcel, PassedAs};
use super::run::Run;
use super::shared::Token;
use super::store::{Label, TensorId};
use crate::mpc::Party;
use crate::net::PartyId;
use std::fmt::Display;
use std::sync::Arc;

/// Where the entry of a function is.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Place {
    /// In an object file.
    Object(Code),
    /// At this address of the same process.
    Here(u64),
}

/// What a party is told; the arguments follow.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Call {
    function: String,
    place: Place,
}

/// The name of the job that calls functions.
pub(super) const CALL: &str = "call";

/// An address that is the same for all code that shares this copy of the library.
#[inline(never)]
pub(super) fn runtime() -> usize {
    static MARK: u8 = 0;
    &raw const MARK as usize
}

/// What an entry gets and gives.
#[repr(C)]
struct Invocation<'a> {
    /// Stays first, whatever comes behind it, so that entries of all versions find it.
    runtime: usize,
    /// Set by an entry that has found its own library.
    entered: bool,
    context: &'a mut PartyContext,
    arguments: &'a [u8],
    outcome: Result<Leaving, JobError>,
}

type Entry = unsafe extern "C-unwind" fn(*mut Invocation<'_>);

/// Decodes, calls and encodes. Everything that does not depend on the types is elsewhere, since each cell compiles this.
///
/// # Safety
/// The pointer is to an invocation that nobody else uses, of this library or of another copy of it.
unsafe extern "C-unwind" fn entry<A, R, E, F>(invocation: *mut Invocation<'_>)
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
        let mut leaving = Leaving::default();
        value.leave(&mut leaving).map(|()| leaving)
    });
}

impl Invocation<'_> {
    fn receive<A: Argument>(&mut self) -> Result<A, JobError> {
        let mut arrived = Arrived::new(self.arguments, self.context.store());
        let arguments = A::receive(&mut arrived)?;
        arrived.finish().map(|()| arguments)
    }
}

/// Runs a call at a party.
pub(super) fn run_call(body: &[u8], context: &mut PartyContext, output: &mut Vec<u8>) -> Result<(), JobError> {
    let (call, arguments): (Call, &[u8]) =
        postcard::take_from_bytes(body).map_err(|error| JobError::Other(format!("cannot decode a call: {error}")))?;
    let fail = |detail: String| JobError::Other(format!("cannot find the function {}: {detail}", call.function));
    let address = match &call.place {
        Place::Object(code) => code::resolve(code).map_err(fail)?,
        Place::Here(address) if context.in_memory() => *address as usize,
        Place::Here(_) => return Err(fail("an address of another process says nothing here".into())),
    };
    // SAFETY: the caller took this address from a function of this type; `resolve` has seen to it that the code is the
    // same, and in memory the process is.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(address) };
    let nothing = Ok(Leaving::default());
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
    let labels: Vec<Label> = leaving.held.iter().map(|held| held.label()).collect();
    for (place, held) in (0..).zip(leaving.held) {
        context.keep_tensor(place, held);
    }
    *output = postcard::to_extend(&labels, std::mem::take(output))
        .map_err(|error| JobError::Other(format!("cannot encode the output: {error}")))?;
    output.extend_from_slice(&leaving.body);
    Ok(())
}

impl Cluster {
    /// Runs `function` at all three parties, with `arguments`, and gives back what they return.
    ///
    /// The function is one of the caller's own program or of a notebook's cell: a plain function, or a closure that
    /// captures nothing. It takes its party and one argument (a tuple for several); shares arrive as `Rep` and
    /// stay where they are, plain values are sent. It runs in the parties' processes, over their links; all three must
    /// call the same protocols in the same order. What it prints appears with its party's name in front.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, Jobs, Result, party};
    /// use cryptgpu_core::mpc::{Party, Rep};
    /// use ndarray::array;
    ///
    /// fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> {
    ///     Ok(p.mul(&x, &y)?.sum()?)
    /// }
    ///
    /// party::serve_if_asked(&Jobs::default());
    /// let cluster = Cluster::local().start()?;
    /// let (x, y) = (cluster.share(&array![1.0, 2.0])?, cluster.share(&array![3.0, 4.0])?);
    /// let run = cluster.run(inner_product, (&x, &y))?;
    /// println!("{} in {} rounds", run.reveal()?, run.rounds());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// The compiler refuses a closure that captures,
    ///
    /// ```compile_fail,E0080
    /// # use cryptgpu_core::{cluster::{Cluster, Result}, mpc::{Party, Rep}};
    /// # fn test(cluster: &Cluster, x: &cryptgpu_core::cluster::Shared) {
    /// let factor = 3;
    /// let _ = cluster.run(move |_: &mut Party, x: Rep| -> Result<Rep> { Ok(x.mul_word(factor)) }, x);
    /// # }
    /// # let cluster = Cluster::in_memory().start().unwrap();
    /// # test(&cluster, &cluster.share(&ndarray::array![1.0]).unwrap());
    /// ```
    ///
    /// a pointer to a function,
    ///
    /// ```compile_fail,E0080
    /// # use cryptgpu_core::{cluster::{Cluster, Result}, mpc::Party};
    /// # fn function(_: &mut Party, _: u64) -> Result<()> { Ok(()) }
    /// # let cluster = Cluster::in_memory().start().unwrap();
    /// let pointer: fn(&mut Party, u64) -> Result<()> = function;
    /// let _ = cluster.run(pointer, 1u64);
    /// ```
    ///
    /// an array where the function takes a share, and bits where it takes words,
    ///
    /// ```compile_fail,E0277
    /// # use cryptgpu_core::{cluster::{Cluster, Result}, mpc::{Party, Rep}};
    /// # fn function(_: &mut Party, x: Rep) -> Result<Rep> { Ok(x) }
    /// # fn test(cluster: &Cluster) {
    /// let _ = cluster.run(function, &ndarray::array![1.0]);
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use cryptgpu_core::{cluster::{Cluster, Result, SharedBits}, mpc::{Party, Rep}};
    /// # fn function(_: &mut Party, x: Rep) -> Result<Rep> { Ok(x) }
    /// # fn test(cluster: &Cluster, bits: &SharedBits) {
    /// let _ = cluster.run(function, bits);
    /// # }
    /// ```
    ///
    /// a type without serde as argument, and a bare `Tensor`, which would be this party's secret, as result:
    ///
    /// ```compile_fail,E0277
    /// # use cryptgpu_core::{cluster::{Cluster, Plain, Result}, mpc::Party};
    /// struct Options;
    /// # fn test(cluster: &Cluster) {
    /// let _ = cluster.run(|_: &mut Party, _: Plain<Options>| -> Result<()> { Ok(()) }, Plain(Options));
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use cryptgpu_core::{cluster::{Cluster, Result, Shared}, device::Tensor, mpc::{Party, Rep}};
    /// fn opened(p: &mut Party, x: Rep) -> Result<Tensor> { Ok(p.open(&x)?) }
    /// # fn test(cluster: &Cluster, x: &Shared) {
    /// let _ = cluster.run(opened, x);
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of handles that are not good here, before anything is sent; what ended the run, as
    /// [`ClusterError::Job`] with party, step and message, [`ClusterError::Died`] or [`ClusterError::Silent`];
    /// [`ClusterError::Unequal`] when the parties left shares that do not belong together.
    pub fn run<A, R, E, F>(&self, function: F, arguments: impl PassedAs<A>) -> Result<Run<R::Handle>, ClusterError>
    where
        A: Argument,
        R: Outcome,
        E: Display + 'static,
        F: Fn(&mut Party, A) -> Result<R, E> + Copy + 'static,
    {
        // evcxr hides an error of this kind from the reader of a cell, so there it is one of the run.
        const {
            assert!(
                cfg!(feature = "notebook") || size_of::<F>() == 0,
                "this closure captures variables, or it is a pointer to a function. What runs at the parties must \
                 bring nothing from here: pass the values as arguments, `cluster.run(|p, (x, n): (Rep, u64)| …, (&x, n))`, \
                 and name the function itself"
            )
        };
        if size_of_val(&function) != 0 {
            return Err(ClusterError::Captures { function: display_name(std::any::type_name::<F>()) });
        }
        let address = entry::<A, R, E, F> as *const () as usize;
        let mut turn = self.inner.begin(&display_name(std::any::type_name::<F>()))?;
        let mut parcel = prepare(&turn, address)?;
        arguments.pass(&mut parcel)?;
        let left = execute(&mut turn, parcel)?;
        left.run(R::fetch)
    }
}

/// `inner_product` of `ctx::inner_product`, `a closure of main` of `demo::main::{{closure}}`.
fn display_name(path: &str) -> String {
    let mut names = path.rsplit("::");
    let last = names.next().unwrap_or(path);
    match last.starts_with('{') {
        true => format!("a closure of {}", names.find(|name| !name.starts_with('{')).unwrap_or(path)),
        false => last.split('<').next().unwrap_or(last).to_owned(),
    }
}

/// The call without its arguments.
fn prepare<'a>(turn: &Turn<'a>, address: usize) -> Result<Parcel<'a>, ClusterError> {
    let fail = |detail: &dyn Display| ClusterError::argument(&format!("run {}", turn.name()), detail);
    let place = match turn.in_memory() {
        true => Place::Here(address as u64),
        false => Place::Object(code::locate(address).map_err(|detail| fail(&detail))?),
    };
    let call = Call { function: turn.name().to_owned(), place };
    let frame = postcard::to_extend(&call, turn.frame(CALL)?).map_err(|error| fail(&error))?;
    Ok(Parcel::new(turn.cluster(), turn.generation(), [frame.clone(), frame.clone(), frame]))
}

/// What the parties have left.
struct Left {
    ended: Ended,
    tokens: Vec<Arc<Token>>,
    /// Where each party's values begin, behind the labels of its tensors.
    values: [usize; 3],
}

fn execute(turn: &mut Turn<'_>, parcel: Parcel<'_>) -> Result<Left, ClusterError> {
    let ended = turn.execute(parcel.into_frames(), &mut |_| ())?;
    let labels = |party: PartyId| {
        let output = ended.output(party);
        postcard::take_from_bytes::<Vec<Label>>(output)
            .map(|(labels, rest)| (labels, output.len() - rest.len()))
            .map_err(|error| ClusterError::Protocol { party, detail: format!("cannot decode an output: {error}") })
    };
    let [p0, p1, p2] = PartyId::ALL;
    let [(l0, v0), (l1, v1), (l2, v2)] = [labels(p0)?, labels(p1)?, labels(p2)?];
    let places = l0.len().max(l1.len()).max(l2.len());
    let id = |place: usize| TensorId { run: turn.run, place: place as u32 };
    let token = |place: usize| {
        let labels = [&l0, &l1, &l2].map(|labels| labels.get(place));
        let (label, owner) = one_label(labels)?;
        let token = Token::new(turn.cluster(), turn.generation(), id(place), label);
        Ok(Arc::new(match owner {
            Some(owner) => token.at(owner),
            None => token,
        }))
    };
    match (0..places).map(token).collect::<Result<Vec<_>, String>>() {
        Ok(tokens) => Ok(Left { ended, tokens, values: [v0, v1, v2] }),
        Err(detail) => {
            // Tensors without a handle.
            (0..places).for_each(|place| turn.cluster().let_go(turn.generation(), id(place)));
            Err(ClusterError::Unequal { function: turn.name().to_owned(), detail })
        }
    }
}

/// What three parties call the same tensor, and who knows it if one alone does.
fn one_label(labels: [Option<&Label>; 3]) -> Result<(Label, Option<PartyId>), String> {
    let describe = |label: Option<&Label>| label.map_or_else(|| "nothing more".to_owned(), Label::describe);
    let differ = || {
        let each = PartyId::ALL.map(|party| format!("{} at party {party}", describe(labels[party.index()])));
        Err(each.join(", "))
    };
    match labels {
        [Some(Label::Private(a)), Some(Label::Private(b)), Some(Label::Private(c))] => {
            let known: Vec<_> = PartyId::ALL.into_iter().zip([a, b, c]).filter(|(_, shape)| shape.is_some()).collect();
            match known[..] {
                [(owner, shape)] => Ok((Label::Private(shape.clone()), Some(owner))),
                _ => Err(format!(
                    "an Option<Tensor> must be Some at one party and None at the others, and is Some at {}",
                    known.len()
                )),
            }
        }
        [Some(a), Some(b), Some(c)] if a == b && b == c => Ok((a.clone(), None)),
        _ => differ(),
    }
}

impl Left {
    fn run<T>(self, fetch: impl Fn(&mut Fetched<'_>) -> Result<T, String>) -> Result<Run<T>, ClusterError> {
        let values = |party: PartyId| &self.ended.output(party)[self.values[party.index()]..];
        let differs = PartyId::ALL.into_iter().find(|&party| values(party) != values(PartyId::P0));
        let at = |party: PartyId| {
            let mut fetched = Fetched::new(values(party), &self.tokens);
            fetch(&mut fetched).map_err(|detail| ClusterError::Protocol { party, detail })
        };
        let [p0, p1, p2] = PartyId::ALL;
        let outputs = [at(p0)?, at(p1)?, at(p2)?];
        Ok(self.ended.into_run(outputs, differs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_called_as_in_the_source() {
        assert_eq!(display_name("ctx::inner_product"), "inner_product");
        assert_eq!(display_name("demo::generic<u64>"), "generic");
        assert_eq!(display_name("demo::main::{{closure}}"), "a closure of main");
        assert_eq!(display_name("demo::main::{{closure}}::{{closure}}"), "a closure of main");
    }

    #[test]
    fn what_parties_leave_must_be_one_thing() {
        let rep = |shape: &[usize]| Label::Rep(shape.to_vec());
        let (a, b) = (rep(&[2]), rep(&[3]));
        assert_eq!(one_label([Some(&a); 3]).unwrap(), (a.clone(), None));
        let error = one_label([Some(&a), Some(&b), Some(&a)]).unwrap_err();
        assert!(error.contains("a share of shape [3] at party 1"), "{error}");
        let error = one_label([Some(&a), Some(&a), None]).unwrap_err();
        assert!(error.contains("nothing more at party 2"), "{error}");
        let (some, none) = (Label::Private(Some(vec![4])), Label::Private(None));
        assert_eq!(one_label([Some(&none), Some(&none), Some(&some)]).unwrap().1, Some(PartyId::P2));
        assert!(one_label([Some(&some), Some(&none), Some(&some)]).unwrap_err().contains("Some at 2"));
        assert!(one_label([Some(&none); 3]).is_err());
    }
}
