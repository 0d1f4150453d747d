//! Which examples each iteration of a training takes: the same at all parties, from public numbers alone. No example is
//! seen here.

use super::Train;
use crate::nn::NnError;
use crate::prg::philox::{Generator, Philox, SeedSequence};

/// The order in which a training goes through its examples.
///
/// Every epoch takes each example once, in an order of its own: NumPy's
/// `Generator(Philox(SeedSequence(seed, spawn_key=(epoch,)))).permutation(examples)`, cut into batches, the last of which
/// may be smaller.
///
/// ```
/// use cryptgpu_core::nn::training::{Batches, Train};
/// let batches = Batches::new(10, &Train { batch: 4, epochs: 2, seed: 7, ..Train::default() })?;
/// assert_eq!((batches.iterations(), batches.iterations_of_epoch()), (6, 3));
/// let sizes: Vec<usize> = batches.from(0).map(|batch| batch.rows.len()).collect();
/// assert_eq!(sizes, [4, 4, 2, 4, 4, 2]);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    examples: usize,
    batch: usize,
    iterations: usize,
    seed: u64,
    accuracy_every: Option<usize>,
}

/// The examples of one iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counted from 0 over the whole training.
    pub iteration: usize,
    /// The epoch it belongs to, from 0.
    pub epoch: usize,
    /// Its examples, by their number in the data set.
    pub rows: Vec<usize>,
}

impl Batches {
    /// The batches of a training on so many examples.
    ///
    /// # Errors
    /// [`NnError::Settings`] without examples, or with a batch of none.
    pub fn new(examples: usize, train: &Train) -> Result<Self, NnError> {
        for (count, what) in [(examples, "the data set has no examples"), (train.batch, "a batch has no examples")] {
            if count == 0 {
                let what = format!("{what}: training needs at least one");
                return Err(NnError::Settings { what });
            }
        }
        let all = examples.div_ceil(train.batch).saturating_mul(train.epochs);
        let iterations = train.iterations.map_or(all, |most| most.min(all));
        let accuracy_every = train.reveal.accuracy_every;
        Ok(Batches { examples, batch: train.batch, iterations, seed: train.seed, accuracy_every })
    }

    /// Examples of the data set.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Iterations of the whole training.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Iterations of one epoch.
    pub fn iterations_of_epoch(&self) -> usize {
        self.examples.div_ceil(self.batch)
    }

    /// Whether the accuracy is measured after this iteration: where the settings reveal it, after the last one, and where an
    /// epoch ends after which it is due.
    pub fn accuracy_is_due(&self, iteration: usize) -> bool {
        let ended = iteration + 1;
        let of_epoch = self.iterations_of_epoch();
        let due = |every: usize| ended.is_multiple_of(of_epoch) && (ended / of_epoch).is_multiple_of(every.max(1));
        self.accuracy_every.is_some_and(|every| due(every) || ended == self.iterations)
    }

    /// All examples in the order of an epoch.
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let seeds = SeedSequence::new(self.seed).with_spawn_key(epoch as u64);
        Generator::new(Philox::from_seed_sequence(seeds)).permutation(self.examples).to_vec()
    }

    /// The batches from an iteration on, in order: 0 for all, or where a training goes on.
    pub fn from(&self, iteration: usize) -> impl Iterator<Item = Batch> + use<> {
        let batches = self.clone();
        // The order of the epoch that the iterator is in, made once.
        let mut current: Option<(usize, Vec<usize>)> = None;
        (iteration..self.iterations).map(move |iteration| {
            let (epoch, within) =
                (iteration / batches.iterations_of_epoch(), iteration % batches.iterations_of_epoch());
            let order = match current.take() {
                Some((of, order)) if of == epoch => order,
                _ => batches.order(epoch),
            };
            let start = within * batches.batch;
            let rows = order[start..batches.examples.min(start + batches.batch)].to_vec();
            current = Some((epoch, order));
            Batch { iteration, epoch, rows }
        })
    }

    /// The batch of one iteration, or `None` past the last. To go through many, use [`from`](Self::from).
    pub fn get(&self, iteration: usize) -> Option<Batch> {
        self.from(iteration).next()
    }
}

impl Batch {
    /// Which of its own rows each owner brings, where a data set is that of several owners one after another, with
    /// `counts` examples each. The batch is then what the first brings, in the order given here, what the second brings,
    /// and so on: an order that every party knows, and that no gradient depends on.
    ///
    /// ```
    /// use cryptgpu_core::nn::training::Batch;
    /// let batch = Batch { iteration: 0, epoch: 0, rows: vec![5, 0, 7, 2] };
    /// assert_eq!(batch.by_owner(&[4, 4]), [vec![0, 2], vec![1, 3]]);
    /// ```
    pub fn by_owner(&self, counts: &[usize]) -> Vec<Vec<usize>> {
        let mut first = 0;
        counts
            .iter()
            .map(|&count| {
                let own = first..first + count;
                first += count;
                self.rows.iter().filter(|row| own.contains(row)).map(|row| row - own.start).collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::training::Reveal;

    #[test]
    fn accuracy_is_measured_at_ends_of_epochs_and_at_the_end() {
        let due = |accuracy_every, iterations| {
            let reveal = Reveal { accuracy_every, ..Reveal::default() };
            let batches =
                Batches::new(10, &Train { batch: 4, epochs: 3, iterations, reveal, ..Train::default() }).unwrap();
            (0..batches.iterations()).filter(|&at| batches.accuracy_is_due(at)).collect::<Vec<_>>()
        };
        assert_eq!([due(None, None), due(Some(1), None), due(Some(2), None)], [vec![], vec![2, 5, 8], vec![5, 8]]);
        assert_eq!(due(Some(1), Some(5)), [2, 4]);
    }

    #[test]
    fn orders_are_numpys() {
        let batches = Batches::new(10, &Train { batch: 4, epochs: 2, seed: 7, ..Train::default() }).unwrap();
        assert_eq!(batches.order(0), ORDERS[0]);
        assert_eq!(batches.order(1), ORDERS[1]);
    }

    /// `Generator(Philox(SeedSequence(7, spawn_key=(epoch,)))).permutation(10)` of NumPy for epochs 0 and 1.
    const ORDERS: [[usize; 10]; 2] = [[7, 1, 3, 9, 0, 4, 8, 2, 6, 5], [5, 8, 6, 7, 3, 4, 1, 9, 2, 0]];

    #[test]
    fn an_epoch_takes_every_example_once_and_goes_on_anywhere() {
        let train = Train { batch: 7, epochs: 3, iterations: Some(20), ..Train::default() };
        let batches = Batches::new(50, &train).unwrap();
        assert_eq!((batches.iterations_of_epoch(), batches.iterations()), (8, 20));
        let all: Vec<Batch> = batches.from(0).collect();
        for epoch in 0..2 {
            let mut rows: Vec<usize> =
                all.iter().filter(|batch| batch.epoch == epoch).flat_map(|batch| batch.rows.clone()).collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..50).collect::<Vec<_>>());
        }
        assert_eq!(batches.from(11).collect::<Vec<_>>(), all[11..]);
        assert_eq!(batches.get(13).as_ref(), all.get(13));
        assert_eq!(batches.get(20), None);
        let brought = all[3].by_owner(&[10, 0, 40]);
        let back: Vec<usize> = brought[0].iter().copied().chain(brought[2].iter().map(|row| row + 10)).collect();
        assert_eq!((brought.len(), brought[1].len(), back.len()), (3, 0, all[3].rows.len()));
        assert!(back.iter().all(|row| all[3].rows.contains(row)));
        assert!(Batches::new(0, &train).unwrap_err().to_string().contains("no examples"));
        assert!(Batches::new(5, &Train { batch: 0, ..train }).is_err());
    }
}
