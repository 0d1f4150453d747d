//! What a measurement ran on: processor, memory, commit of the program, peak memory of a process.
//! Read from Linux's `/proc`; elsewhere the fields that cannot be known are empty or zero.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::show::time_text;
use serde::{Deserialize, Serialize};

/// The machine that a process runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Logical processors that this process may use.
    pub cores: usize,
    /// Instruction sets that the kernels may choose from, of those the processor has.
    pub isa: Vec<String>,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// Graphics processors that the driver shows, by name.
    pub gpus: Vec<String>,
}

/// The machine of this process; looked up once.
pub fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| Machine {
        cpu: cpu_name(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        isa: isa().into_iter().map(str::to_owned).collect(),
        memory_bytes: kib_field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:"),
        gpus: gpus(),
    })
}

/// The commit that the program was built from, with `+` behind it when its sources differed from that commit;
/// `CRYPTGPU_COMMIT` of the build if it was set, and `unknown` for sources that are no checkout.
pub fn commit() -> &'static str {
    env!("CRYPTGPU_BUILT_FROM")
}

/// The most memory that this process has held so far, in bytes (`VmHWM`); 0 where Linux's `/proc` is
/// not there.
pub fn peak_rss_bytes() -> u64 {
    kib_field(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmHWM:")
}

/// Memory that new work may take without swapping, in bytes (`MemAvailable`); 0 where it is not known.
pub fn available_memory_bytes() -> u64 {
    kib_field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:")
}

/// The time now, in UTC, as RFC 3339 writes it: `2021-04-22T10:15:00Z`.
pub fn now() -> String {
    time_text(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn cpu_name(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// A field of `/proc` that is given in KiB, in bytes.
fn kib_field(text: &str, name: &str) -> u64 {
    let number = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1024)
}

#[cfg(target_arch = "x86_64")]
fn isa() -> Vec<&'static str> {
    let found = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("vaes", std::arch::is_x86_feature_detected!("vaes")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512dq", std::arch::is_x86_feature_detected!("avx512dq")),
        ("avx512ifma", std::arch::is_x86_feature_detected!("avx512ifma")),
        // Rust does not detect AMX yet; the kernel's list does.
        ("amx-int8", fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_int8"))),
    ];
    found.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn isa() -> Vec<&'static str> {
    Vec::new()
}

/// The names that NVIDIA's kernel driver gives, without a call into its library.
fn gpus() -> Vec<String> {
    let Ok(folders) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let name = |text: String| Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned());
    let mut names: Vec<String> = folders
        .filter_map(|folder| fs::read_to_string(folder.ok()?.path().join("information")).ok())
        .filter_map(name)
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Checked with `date -u -d @SECONDS +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(seconds), text);
        }
    }

    #[test]
    fn fields_of_proc_are_found_or_zero() {
        assert_eq!(kib_field("VmPeak:\t  9 kB\nVmHWM:\t  12 kB\n", "VmHWM:"), 12 * 1024);
        assert_eq!(kib_field("", "VmHWM:"), 0);
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), "Some CPU @ 2 GHz");
        assert_eq!(cpu_name(""), std::env::consts::ARCH);
    }

    #[test]
    fn this_machine_has_cores_and_this_process_memory() {
        assert!(machine().cores >= 1 && !machine().cpu.is_empty());
        if cfg!(target_os = "linux") {
            assert!(peak_rss_bytes() > 100_000 && peak_rss_bytes() < machine().memory_bytes);
        }
    }
}
