//! What the environment says. Read once, at the first use.

use std::sync::OnceLock;

use crate::checks::Check;

/// What the environment says.
#[derive(Debug)]
pub struct Settings {
    /// `CRYPTGPU_EMULATOR_DEVICES`: number of devices (1).
    pub devices: usize,
    /// `CRYPTGPU_EMULATOR_CAPABILITY`: compute capability (`8.0`, or `80`).
    pub capability: (u32, u32),
    /// `CRYPTGPU_EMULATOR_MEMORY`: bytes of each device (16 GiB).
    pub memory: usize,
    /// `CRYPTGPU_EMULATOR_SEED`: permutes operations of streams, blocks and warps (0).
    pub seed: u64,
    /// `CRYPTGPU_EMULATOR_LIMIT`: memory and control instructions that a warp may execute (2³²).
    pub limit: u64,
    /// `CRYPTGPU_EMULATOR_CHECKS`: `all`, or `memory` without races, or `bounds` without uninitialised reads too.
    pub races: bool,
    /// See `races`.
    pub uninitialised: bool,
    /// `CRYPTGPU_EMULATOR_QUIET=1`: reports are kept and not printed.
    pub quiet: bool,
    /// `CRYPTGPU_EMULATOR_STATISTICS`: a file to which a line of JSON is appended at exit.
    pub statistics: Option<String>,
    /// `CRYPTGPU_EMULATOR_ABORT=1`: a process with reports that nobody took ends with code 86.
    pub abort: bool,
}

/// What the environment says.
pub fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(Settings::read)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("CRYPTGPU_EMULATOR_{name}")).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, default: u64) -> u64 {
    let Some(text) = variable(name) else { return default };
    text.parse().unwrap_or_else(|_| {
        complain(&format!("CRYPTGPU_EMULATOR_{name}={text} is not a number; {default} is used"));
        default
    })
}

fn complain(message: &str) {
    eprintln!("cryptgpu-emulator: {}: {message}", Check::NotEmulated);
}

impl Settings {
    fn read() -> Self {
        let checks = variable("CHECKS").unwrap_or_else(|| "all".to_owned());
        if !["all", "memory", "bounds"].contains(&checks.as_str()) {
            complain(&format!("CRYPTGPU_EMULATOR_CHECKS={checks} is none of all, memory, bounds; all is used"));
        }
        let capability = variable("CAPABILITY").and_then(|text| capability(&text)).unwrap_or((8, 0));
        Self {
            devices: (number("DEVICES", 1) as usize).clamp(0, crate::memory::address::MAX_DEVICES),
            capability,
            memory: number("MEMORY", 16 << 30) as usize,
            seed: number("SEED", 0),
            limit: number("LIMIT", 1 << 32),
            races: checks != "memory" && checks != "bounds",
            uninitialised: checks != "bounds",
            quiet: variable("QUIET").is_some_and(|value| value == "1"),
            statistics: variable("STATISTICS"),
            abort: variable("ABORT").is_some_and(|value| value == "1"),
        }
    }
}

/// `8.0`, `80`, `9.0`, `100`.
fn capability(text: &str) -> Option<(u32, u32)> {
    if let Some((major, minor)) = text.split_once('.') {
        return Some((major.parse().ok()?, minor.parse().ok()?));
    }
    let both: u32 = text.parse().ok()?;
    Some((both / 10, both % 10))
}
