//! Tests that need a process of their own: with another environment, or because they break the card's context.

use std::process::{Command, Output};

const VARIABLE: &str = "CRYPTGPU_TEST_ALONE";

/// Runs `test` in a process of its own, with a variable set.
pub fn alone(test: &str, variable: &str, value: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", test]).env(variable, value).env(VARIABLE, test).env_remove("CRYPTGPU_EMULATOR_ABORT");
    command.output().unwrap()
}

/// Whether this process was started for `test`.
pub fn is_alone(test: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|value| value == test)
}
