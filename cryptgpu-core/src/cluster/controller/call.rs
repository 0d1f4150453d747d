//! The caller's half of a call: which function, with which arguments, and what came of it at the three parties.

use super::cluster::Cluster;
use super::run::Run;
use super::turn::{Ended, Turn};
use crate::cluster::marshal::handle::Token;
use crate::cluster::marshal::parcel::{OutcomeReader, Parcel};
use crate::cluster::marshal::store::Label;
use crate::cluster::marshal::{Argument, Outcome, PassedAs};
use crate::cluster::party::call::entry;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::function;
use crate::cluster::wire::message::{CALL, Call, CodeLocation, HeldId};
use crate::mpc::Party;
use crate::net::PartyId;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

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
    ///     Ok(p.mul(&x, &y)?.sum())
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
        self.run_within(self.inner.configuration.time_limit, function, arguments)
    }

    /// Runs `function` as [`Cluster::run`] does, and ends the run after `limit`, whatever the parties are doing. (Without
    /// it, and without [`ClusterBuilder::time_limit`](crate::cluster::ClusterBuilder::time_limit), a party that waits for
    /// another one ends at the deadline, and one that computes goes on for as long as it takes.)
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, ClusterError, Result};
    /// use cryptgpu_core::mpc::Party;
    /// use std::time::Duration;
    ///
    /// let cluster = Cluster::in_memory().start()?;
    /// let endless = |_: &mut Party, (): ()| -> Result<()> { loop { std::thread::sleep(Duration::from_secs(1)) } };
    /// let error = cluster.run_within(Duration::from_millis(50), endless, ()).unwrap_err();
    /// assert!(matches!(error, ClusterError::TimeLimit { .. }));
    /// # Ok::<(), ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::run`], and [`ClusterError::TimeLimit`].
    pub fn run_within<A, R, E, F>(
        &self,
        limit: Duration,
        function: F,
        arguments: impl PassedAs<A>,
    ) -> Result<Run<R::Handle>, ClusterError>
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
        let mut turn = Turn::begin(&self.inner, &display_name(std::any::type_name::<F>()))?;
        turn.limit = limit;
        let mut parcel = prepare(&mut turn, address)?;
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
fn prepare(turn: &mut Turn<'_>, address: usize) -> Result<Parcel, ClusterError> {
    let action = format!("run {}", turn.name());
    let fail = |detail: &dyn Display| ClusterError::argument(&action, detail);
    let location = match turn.in_memory() {
        true => CodeLocation::Here(address as u64),
        false => {
            let function = function::locate(address).map_err(|detail| fail(&detail))?;
            turn.ship(function.libraries())?;
            CodeLocation::Object(function)
        }
    };
    let call = Call { function: turn.name().to_owned(), location };
    let frame = postcard::to_extend(&call, turn.frame(CALL)?).map_err(|error| fail(&error))?;
    Ok(Parcel::new(turn.cluster().number, turn.generation(), [frame.clone(), frame.clone(), frame]))
}

/// What the parties have left.
struct Left {
    ended: Ended,
    tokens: Vec<Arc<Token>>,
    /// Where each party's values begin, behind the labels of its tensors.
    values: [usize; 3],
}

fn execute(turn: &mut Turn<'_>, parcel: Parcel) -> Result<Left, ClusterError> {
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
    let id = |place: usize| HeldId { run: turn.run, place: place as u32 };
    let token = |place: usize| {
        let labels = [&l0, &l1, &l2].map(|labels| labels.get(place));
        let (label, owner) = one_label(labels)?;
        let token = Token::new(turn.cluster().clone(), turn.generation(), id(place), label);
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
    fn run<T>(self, fetch: impl Fn(&mut OutcomeReader<'_>) -> Result<T, String>) -> Result<Run<T>, ClusterError> {
        let values = |party: PartyId| &self.ended.output(party)[self.values[party.index()]..];
        let differs = PartyId::ALL.into_iter().find(|&party| values(party) != values(PartyId::P0));
        let at = |party: PartyId| {
            let mut fetched = OutcomeReader::new(values(party), &self.tokens);
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
