//! CUDA's multi-process service (MPS). Processes that compute on one card take turns without it, and wait for each other's
//! kernels; with it they compute side by side. Here is what this machine says of it: it is the user's to start, and
//! nothing else here depends on it.

use std::path::{Path, PathBuf};

/// The program that starts the service.
const CONTROL: &str = "nvidia-cuda-mps-control";
/// Environment variable of the service: the folder in which programs find it.
const FOLDER_VARIABLE: &str = "CUDA_MPS_PIPE_DIRECTORY";
/// Where it is without that variable.
const FOLDER: &str = "/tmp/nvidia-mps";

/// How to start the service for one's own user, and what it is good for.
pub const SERVICE_HINT: &str = "parties of this machine that share a card take turns on it without CUDA's multi-process \
    service (LeNet took 22 ms instead of 5 on an H100): start it with `nvidia-cuda-mps-control -d`, with \
    CUDA_MPS_PIPE_DIRECTORY and CUDA_MPS_LOG_DIRECTORY set to folders of yours if /tmp/nvidia-mps is another user's";

/// The process of the multi-process service that programs of this environment would find; none where it does not run.
pub fn service() -> Option<u32> {
    let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
    service_of(&folder)
}

fn service_of(folder: &Path) -> Option<u32> {
    let written = std::fs::read_to_string(folder.join(format!("{CONTROL}.pid"))).ok()?;
    let process = written.trim().parse().ok()?;
    // The file outlives a service that was killed. The system keeps 15 characters of a program's name.
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    (name.len() > 1 && CONTROL.starts_with(name.trim_end())).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_service_is_a_process_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let written = |process: u32| {
            std::fs::write(folder.path().join("nvidia-cuda-mps-control.pid"), format!("{process}\n")).unwrap();
            service_of(folder.path())
        };
        assert_eq!(service_of(folder.path()), None, "nothing there");
        assert_eq!(written(std::process::id()), None, "another program has the number of one that is no more");
        let program = folder.path().join(CONTROL);
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut control = Command::new(&program).arg("60").spawn().unwrap();
        // Its name is that of this process until a moment after it has begun.
        let found = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            written(control.id())
        });
        control.kill().unwrap();
        control.wait().unwrap();
        assert_eq!(found, Some(control.id()));
        assert_eq!(written(control.id()), None, "it has ended");
    }
}
