//! `scripts/aws` against stand-ins of `aws`, `ssh-keyscan` and `cryptgpu` that record what they are called with.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// What the AWS command line answers, as it did for three instances of the account that the original's launcher is for.
const AWS: &str = r#"#!/bin/sh
echo "aws $*" >>"$RECORD"
case "$*" in
    *describe-instances*i-0*) printf 'ec2-0.example.com\t10.0.0.10\n' ;;
    *describe-instances*i-1*) printf 'ec2-1.example.com\t10.0.0.11\n' ;;
    *describe-instances*i-2*) printf 'ec2-2.example.com\t10.0.0.12\n' ;;
    *get-console-output*) printf 'boot\nec2: 256 %s root@ip (ED25519)\n' "$FINGERPRINT" ;;
esac
"#;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG2R0h5bJ8uX7m6nTqI0jXkzKQmmpT0rZ6lJ3c6o7hB";

struct Stand {
    folder: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        stand_in("aws", AWS);
        stand_in("ssh-keyscan", &format!("#!/bin/sh\nfor host; do :; done\necho \"$host {KEY}\"\n"));
        // Its fingerprint, without needing SSH's own tools here.
        stand_in(
            "ssh-keygen",
            "#!/bin/sh\ncat >/dev/null\necho '256 SHA256:theKeyThatTheInstanceHas host (ED25519)'\n",
        );
        stand_in("cryptgpu", "#!/bin/sh\necho \"cryptgpu $*\" >>\"$RECORD\"\nexit \"${ENDS:-0}\"\n");
        Stand { folder }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn aws(&self, arguments: &str, variables: &[(&str, &str)]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/aws");
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        // Its own folder of programs comes first on the path that the script makes.
        Command::new("bash")
            .arg(script)
            .args(arguments.split_whitespace())
            .env("PATH", path)
            .env("CARGO_INSTALL_ROOT", self.at("none"))
            .env("RECORD", self.at("record"))
            .env("CRYPTGPU_AWS_HOSTS", self.at("known"))
            .env("CRYPTGPU_PROGRAM", self.at("cryptgpu"))
            .env("FINGERPRINT", "SHA256:theKeyThatTheInstanceHas")
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// What was called since the last time.
    fn record(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("record")).unwrap_or_default();
        let _ = std::fs::remove_file(self.at("record"));
        text.lines().map(str::to_owned).collect()
    }
}

const INSTANCES: &str = "--instances i-0,i-1,i-2";

#[test]
fn three_instances_are_started_used_and_stopped_again_whatever_happens() {
    let stand = Stand::new();
    let early = stand.aws(&format!("run {INSTANCES} -- inference"), &[]);
    assert!(!early.status.success() && String::from_utf8_lossy(&early.stderr).contains("scripts/aws trust"));
    assert_eq!(stand.record(), [""; 0], "nothing is started whose host keys are unknown");
    let stranger = stand.aws(&format!("trust {INSTANCES}"), &[("FINGERPRINT", "SHA256:another")]);
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("none that its console shows"), "{stranger:?}");
    assert!(!stranger.status.success() && !stand.at("known").exists());
    let stops = |record: &[String]| record.iter().filter(|call| call.starts_with("aws ec2 stop-instances")).count();
    assert_eq!(stops(&stand.record()), 3);
    let trusted = stand.aws(&format!("trust {INSTANCES}"), &[]);
    assert!(trusted.status.success(), "{trusted:?}");
    let known = std::fs::read_to_string(stand.at("known")).unwrap();
    assert_eq!(known.lines().collect::<Vec<_>>(), ["i-0", "i-1", "i-2"].map(|id| format!("{id} {KEY}")));
    stand.record();

    let out = stand.at("out");
    let run =
        format!("run {INSTANCES} --regions us-west-2 --user me --out {} -- inference --networks lenet", out.display());
    assert!(stand.aws(&run, &[]).status.success());
    let record = stand.record();
    let each =
        |what: &str| ["i-0", "i-1", "i-2"].map(|id| format!("aws ec2 {what} --instance-ids {id} --region us-west-2"));
    assert_eq!(record[..3], each("start-instances").map(|call| call + " --output text"));
    assert_eq!(record[3..6], each("wait instance-status-ok"));
    let out = out.canonicalize().unwrap();
    let (cluster, records) = (out.join("cluster.toml"), out.join("records.jsonl"));
    let experiment =
        format!("cryptgpu run inference --networks lenet --cluster {} --out {}", cluster.display(), records.display());
    assert_eq!(record[record.len() - 4], experiment);
    assert_eq!(record[record.len() - 3..], each("stop-instances").map(|call| call + " --output text"));
    let hosts = cryptgpu_core::cluster::Hosts::read(&cluster).unwrap();
    let text = std::fs::read_to_string(&cluster).unwrap();
    assert!(text.contains("address = \"10.0.0.11:7001\""), "{hosts:?} {text}");
    let ssh = std::fs::read_to_string(out.join("ssh_config")).unwrap();
    assert!(
        ssh.contains("HostName ec2-1.example.com\n  HostKeyAlias i-1\n  User me")
            && ssh.contains("StrictHostKeyChecking yes")
    );

    // A run that fails, over three regions.
    let apart = format!("run {INSTANCES} --regions a,b,c --out {} -- inference", out.display());
    assert_eq!(stand.aws(&apart, &[("ENDS", "7")]).status.code(), Some(7));
    assert_eq!(stops(&stand.record()), 3);
    assert!(std::fs::read_to_string(&cluster).unwrap().contains("address = \"ec2-1.example.com:7001\""));
}
