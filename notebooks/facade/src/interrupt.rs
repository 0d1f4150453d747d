//! The interrupt button of a notebook, and Ctrl-C in a console: SIGINT, as Jupyter sends it to the kernel.
//!
//! While a run of a cluster goes on, or its parties start, that ends at all parties and the cell gets an error: variables
//! stay, and the cluster starts again with the next run. Anything else cannot be ended without the process that holds the
//! variables, so that is what an interrupt does then, as evcxr does it; a second interrupt of one run does the same.
//!
//! Only the process that runs cells listens: evcxr itself and the compiler ignore the signal (`scripts/kernel`), and
//! parties, which are in groups of their own, never get it.

use cryptgpu_core::cluster::interrupt;
use libc::{SIG_DFL, SIGINT, c_int};

/// Set in the process that runs the cells of an evcxr kernel.
const EVCXR_RUNTIME: &std::ffi::CStr = c"EVCXR_IS_RUNTIME";

/// Runs when the library is loaded: a cell's process is started anew after every fault, and no cell prepares it.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static LISTEN: extern "C" fn() = listen_in_a_kernel;

extern "C" fn listen_in_a_kernel() {
    // SAFETY: the name ends with a zero, and nothing of the result is read.
    let in_a_kernel = unsafe { !libc::getenv(EVCXR_RUNTIME.as_ptr()).is_null() };
    if in_a_kernel {
        listen();
    }
}

/// Takes SIGINT from now on.
fn listen() {
    let handler: extern "C" fn(c_int) = on_interrupt;
    // SAFETY: the handler does only what a signal handler may: it reads and sets atomics, and calls `signal` and `raise`.
    unsafe {
        libc::signal(SIGINT, handler as libc::sighandler_t);
    }
}

extern "C" fn on_interrupt(_: c_int) {
    if !interrupt::request() {
        // SAFETY: both may be called in a signal handler. The signal is delivered when this handler returns.
        unsafe {
            libc::signal(SIGINT, SIG_DFL);
            libc::raise(SIGINT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::time::{Duration, Instant};

    use cryptgpu_core::prelude::*;

    static STARTED: AtomicBool = AtomicBool::new(false);
    static OVER: AtomicBool = AtomicBool::new(false);

    fn forever(p: &mut Party, (): ()) -> Result<()> {
        p.step("waiting for the end", |_| {
            STARTED.store(true, SeqCst);
            while !OVER.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })
    }

    fn double(_: &mut Party, x: Rep) -> Result<Rep> {
        Ok(x.add(&x)?)
    }

    #[test]
    fn a_signal_ends_the_run_and_nothing_else() {
        super::listen();
        let cluster = Cluster::in_memory().start().unwrap();
        let sender = std::thread::spawn(|| {
            while !STARTED.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let now = Instant::now();
            // SAFETY: the signal has a handler.
            assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGINT) }, 0);
            now
        });
        let error = cluster.run(forever, ()).unwrap_err();
        let took = sender.join().unwrap().elapsed();
        OVER.store(true, SeqCst);
        assert!(matches!(error, ClusterError::Interrupted { .. }), "{error}");
        assert!(took < Duration::from_secs(2), "{took:?}");

        let x = cluster.share(&array![2.5]).unwrap();
        assert_eq!(cluster.run(double, &x).unwrap().reveal().unwrap()[0], 5.0);
    }
}
