//! Parties as processes and on threads: starting, running functions and models, failing, and the program.

mod aws;
mod checkpoints;
mod cli;
mod dataset;
mod functions;
mod fuzz;
mod limits;
mod memory;
mod misuse;
mod model;
mod own_data;
mod owners;
mod peers;
mod process;
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
mod program;
mod randomness;
mod run;
mod secrets;
mod show;
mod slurm;
mod soak;
mod ssh;
mod support;
mod top;
mod trace;
mod training;
mod training_in_the_terminal;
