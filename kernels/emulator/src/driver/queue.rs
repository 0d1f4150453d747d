//! Streams as queues of tasks. A task may run when everything that its clock covers is done; which of the tasks that may
//! run does so next is a matter of the seed. Nothing runs before somebody waits (or the queues grow long).

use std::ffi::c_void;

use super::code::{self, Code};
use super::device::Device;
use super::work::{Source, Task, Work};
use crate::checks::clock::{Clock, Stamp};
use crate::checks::{Check, Report, submit};
use crate::exec::Launch;
use crate::memory::Fault;
use crate::memory::cell;
use crate::memory::global::{Actor, Touch};
use crate::memory::share::Refused;

/// Tasks that may wait before some are executed.
const LONGEST_QUEUE: usize = 256;

impl Device {
    /// Joins what the default stream's rules order before the next operation of `stream`.
    pub fn join_default(&mut self, stream: usize) {
        let mut joined = self.streams[stream].clock.clone();
        joined.join(&self.host);
        if stream == 0 {
            self.streams.iter().filter(|s| s.blocking && !s.destroyed).for_each(|s| joined.join(&s.clock));
        } else if self.streams[stream].blocking {
            joined.join(&self.streams[0].clock);
        }
        self.streams[stream].clock = joined;
    }

    /// Queues work and gives its stamp.
    pub fn enqueue(&mut self, stream: usize, work: Work) -> Result<Stamp, Code> {
        self.join_default(stream);
        let found = &mut self.streams[stream];
        found.last += 1;
        let stamp = Stamp { stream, place: found.last };
        let clock = found.clock.clone();
        found.clock.advance(stamp);
        self.take_off(stamp, &work)?;
        self.streams[stream].queue.push_back(Task { stamp, clock, work });
        if self.streams.iter().map(|s| s.queue.len()).sum::<usize>() > LONGEST_QUEUE {
            self.step()?;
        }
        Ok(stamp)
    }

    /// Notes which bytes of memory that other processes have an operation will touch.
    fn take_off(&mut self, stamp: Stamp, work: &Work) -> Result<(), Code> {
        let touched: [Option<(u64, usize, bool)>; 2] = match *work {
            Work::Upload { to, ref from } => [Some((to, from.bytes(), true)), None],
            Work::Download { to, from, .. } => [Some((from, to.bytes, false)), None],
            Work::Copy { to, from, bytes } => [Some((to, bytes, true)), Some((from, bytes, false))],
            Work::Fill { to, width, count, .. } => [Some((to, width * count, true)), None],
            Work::Nothing | Work::Launch { .. } | Work::Free(_) | Work::Host { .. } => [None, None],
        };
        for (address, bytes, writes) in touched.into_iter().flatten() {
            let Ok((allocation, at)) = self.memory.find(address, bytes) else { continue };
            let Some(share) = allocation.share().cloned() else { continue };
            match share.begin(&(at..at + bytes), writes) {
                Ok(flight) => self.flights.push((stamp, share, flight)),
                Err(refused) => {
                    let (check, message) = match refused {
                        Refused::Race(what) => (Check::StreamRace, format!("{}: {what}", allocation.name)),
                        Refused::Full => (
                            Check::NotEmulated,
                            format!("{}: more operations are under way than are kept track of", allocation.name),
                        ),
                    };
                    submit(Report::host(check, self.index, message));
                    let code = code::of(check);
                    self.fail(code);
                    return Err(code);
                }
            }
        }
        Ok(())
    }

    /// The host knows that something has happened.
    fn learn(&mut self, clock: &Clock) {
        self.host.join(clock);
        let host = &self.host;
        self.flights.retain(|(stamp, share, flight)| {
            let under_way = !host.covers(*stamp);
            if !under_way {
                share.end(*flight);
            }
            under_way
        });
    }

    fn is_done(&self, clock: &Clock) -> bool {
        self.streams.iter().enumerate().all(|(index, stream)| stream.done >= clock.last(index))
    }

    /// Executes one task that may run; false if there is none.
    fn step(&mut self) -> Result<bool, Code> {
        let may_run = |index: &usize| self.streams[*index].queue.front().is_some_and(|task| self.is_done(&task.clock));
        let heads: Vec<usize> = (0..self.streams.len()).filter(may_run).collect();
        if heads.is_empty() {
            return Ok(false);
        }
        let chosen = heads[self.random(heads.len())];
        let Some(task) = self.streams[chosen].queue.pop_front() else { return Ok(false) };
        let stamp = task.stamp;
        let result = self.execute(task);
        self.streams[chosen].done = stamp.place;
        if let Err(report) = result {
            let code = code::of(report.check);
            submit(*report);
            self.fail(code);
            return Err(code);
        }
        Ok(true)
    }

    /// The context is broken: nothing that waits will run, and every call gives `code`.
    pub fn fail(&mut self, code: Code) {
        self.sticky = Some(code);
        for stream in &mut self.streams {
            stream.queue.clear();
            stream.done = stream.last;
        }
        for (_, share, flight) in self.flights.drain(..) {
            share.end(flight);
        }
    }

    /// Executes until all that `clock` covers is done; the host then knows that it happened.
    pub fn wait_for(&mut self, clock: &Clock) -> Result<(), Code> {
        while !self.is_done(clock) {
            if !self.step()? {
                // Clocks only cover what was queued before, so that this cannot happen.
                return Err(code::UNKNOWN);
            }
        }
        self.learn(clock);
        if self.streams.iter().all(|stream| stream.queue.is_empty()) {
            for (index, stream) in self.streams.iter_mut().enumerate() {
                let known = self.host.last(index);
                stream.executed.retain(|&(place, _)| place > known);
            }
        }
        Ok(())
    }

    /// Executes everything of a stream.
    pub fn wait_for_stream(&mut self, stream: usize) -> Result<(), Code> {
        self.join_default(stream);
        let clock = self.streams[stream].clock.clone();
        self.wait_for(&clock)
    }

    /// Executes everything.
    pub fn wait_for_all(&mut self) -> Result<(), Code> {
        let mut clock = Clock::default();
        self.streams.iter().for_each(|stream| clock.join(&stream.clock));
        self.wait_for(&clock)
    }

    /// Whether all that `clock` covers is done; executes a task first, so that who asks again and again gets there.
    pub fn poll(&mut self, clock: &Clock) -> Result<bool, Code> {
        let mut done = self.is_done(clock);
        if !done {
            self.step()?;
            done = self.is_done(clock);
        }
        if done {
            self.learn(clock);
        }
        Ok(done)
    }

    fn next_epoch(&mut self) -> u16 {
        if self.epoch == u16::MAX {
            self.epoch = 0;
            self.memory.forget();
            self.streams.iter_mut().for_each(|stream| stream.executed.clear());
        }
        self.epoch += 1;
        self.epoch
    }

    fn execute(&mut self, task: Task) -> Result<(), Box<Report>> {
        let epoch = self.next_epoch();
        let mut unordered = Vec::new();
        for (index, stream) in self.streams.iter().enumerate() {
            let known = task.clock.last(index);
            unordered.extend(stream.executed.iter().filter(|&&(place, _)| place > known).map(|&(_, epoch)| epoch));
        }
        self.streams[task.stamp.stream].executed.push((task.stamp.place, epoch));
        match task.work {
            Work::Launch { kernel, grid, block, dynamic_shared, params } => {
                let launch = Launch {
                    kernel: &kernel,
                    grid,
                    block,
                    dynamic_shared,
                    params: &params,
                    memory: &self.memory,
                    device: self.index,
                    epoch,
                    unordered: &unordered,
                    seed: crate::settings().seed,
                };
                let outcome = launch.run();
                crate::statistics::note(|all| {
                    let blocks = grid.iter().map(|&n| u64::from(n)).product::<u64>();
                    let of = all.kernels.entry(kernel.name.clone()).or_default();
                    of.executions += 1;
                    of.blocks += blocks;
                    of.threads += blocks * launch.threads() as u64;
                    of.instructions += outcome.instructions;
                    all.executions += 1;
                    all.instructions += outcome.instructions;
                });
                if let Some(report) = outcome.report {
                    return Err(Box::new(report));
                }
                for number in outcome.touched {
                    if self.memory.by_number(number).is_some_and(|allocation| allocation.share().is_some()) {
                        let message = "a kernel uses memory that another process can have: only copies and fills are emulated there";
                        let kernel = Some(kernel.name.clone());
                        return Err(Box::new(Report {
                            kernel,
                            ..Report::host(Check::NotEmulated, self.index, message)
                        }));
                    }
                    self.note_use(number, task.stamp, &task.clock).map_err(|fault| {
                        let kernel = Some(kernel.name.clone());
                        Box::new(Report { kernel, ..Report::host(fault.check, self.index, fault.message) })
                    })?;
                }
                Ok(())
            }
            work => {
                crate::statistics::note(|all| all.copies += 1);
                self.execute_transfer(work, task.stamp, &task.clock, epoch, &unordered)
                    .map_err(|fault| Box::new(Report::host(fault.check, self.index, fault.message)))
            }
        }
    }

    /// Notes that an operation used an allocation, which must have been made before.
    fn note_use(&self, number: usize, stamp: Stamp, clock: &Clock) -> Result<(), Fault> {
        let Some(allocation) = self.memory.by_number(number) else { return Ok(()) };
        if !clock.covers(allocation.born) {
            let message = format!(
                "{} is used in a stream that nothing orders after its allocation in another stream",
                allocation.name
            );
            return Err(Fault::new(Check::StreamRace, message));
        }
        let mut users = allocation.users.lock();
        // Of each stream, the last use is enough.
        users.retain(|user| user.stream != stamp.stream);
        users.push(stamp);
        Ok(())
    }

    fn execute_transfer(
        &mut self,
        work: Work,
        stamp: Stamp,
        clock: &Clock,
        epoch: u16,
        unordered: &[u16],
    ) -> Result<(), Fault> {
        let settings = crate::settings();
        let actor = Actor {
            cell: cell::cell(epoch, 0, 0, 0),
            unordered,
            races: settings.races,
            uninitialised: settings.uninitialised,
        };
        let named =
            |what: &'static str| move |fault: Fault| Fault::new(fault.check, format!("{what}: {}", fault.message));
        match work {
            Work::Nothing | Work::Launch { .. } => Ok(()),
            Work::Upload { to, from } => {
                let staged;
                let bytes = match &from {
                    Source::Staged(bytes) => bytes.as_slice(),
                    Source::Pinned { range, digest } => {
                        staged = range.read();
                        if digest.is_some_and(|digest| super::host::digest(&staged) != digest) {
                            let message = "a pinned buffer was changed between the call that copies it to the device and \
                                           the copy: wait for the copy first";
                            return Err(Fault::new(Check::HostBuffer, message));
                        }
                        staged.as_slice()
                    }
                };
                let (allocation, at) = self.memory.find(to, bytes.len()).map_err(named("copy to the device"))?;
                allocation.touch(at, bytes.len(), Touch::Write, &actor).map_err(named("copy to the device"))?;
                allocation.write_bytes(at, bytes);
                self.note_use(allocation.number, stamp, clock)
            }
            Work::Download { to, from, poisoned } => {
                let (allocation, at) = self.memory.find(from, to.bytes).map_err(named("copy to the host"))?;
                allocation.touch(at, to.bytes, Touch::Read, &actor).map_err(named("copy to the host"))?;
                if poisoned && !to.is_poisoned() {
                    let message = "a pinned buffer was written between the call that copies to it and the copy";
                    return Err(Fault::new(Check::HostBuffer, message));
                }
                let mut bytes = vec![0; to.bytes];
                allocation.read_bytes(at, &mut bytes);
                to.write(&bytes);
                self.note_use(allocation.number, stamp, clock)
            }
            Work::Copy { to, from, bytes } => {
                let (source, from_at) = self.memory.find(from, bytes).map_err(named("copy on the device"))?;
                let (target, to_at) = self.memory.find(to, bytes).map_err(named("copy on the device"))?;
                let lenient = Actor { uninitialised: false, ..actor };
                source.touch(from_at, bytes, Touch::Read, &lenient).map_err(named("copy on the device"))?;
                target.touch(to_at, bytes, Touch::Write, &actor).map_err(named("copy on the device"))?;
                let mut moved = vec![0; bytes];
                source.read_bytes(from_at, &mut moved);
                target.write_bytes(to_at, &moved);
                target.copy_marks(to_at, source, from_at, bytes);
                self.note_use(source.number, stamp, clock)?;
                self.note_use(target.number, stamp, clock)
            }
            Work::Fill { to, value, width, count } => {
                let bytes = width * count;
                let (allocation, at) = self.memory.find(to, bytes).map_err(named("fill"))?;
                allocation.touch(at, bytes, Touch::Write, &actor).map_err(named("fill"))?;
                allocation.write_bytes(at, &value.to_le_bytes()[..width].repeat(count));
                self.note_use(allocation.number, stamp, clock)
            }
            Work::Free(pointer) => {
                let in_use = self.memory.start(pointer).and_then(|allocation| {
                    let users = allocation.users.lock();
                    let user = users.iter().find(|user| !clock.covers(**user))?;
                    Some(format!(
                        "{} is freed in stream {} while an operation of stream {} that uses it is not known to have ended",
                        allocation.name, stamp.stream, user.stream
                    ))
                });
                if let Some(message) = in_use {
                    return Err(Fault::new(Check::FreeInUse, message));
                }
                self.memory.free(pointer)
            }
            Work::Host { function, data } => {
                super::api::inside_callback(|| {
                    // SAFETY: the caller of cuLaunchHostFunc gave a function and its argument to be called once.
                    unsafe { function(data as *mut c_void) }
                });
                Ok(())
            }
        }
    }
}
