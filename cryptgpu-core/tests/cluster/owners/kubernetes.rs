//! The Kubernetes manifests: they keep to their schema and to what a locked-down cluster asks for, and what their ConfigMaps
//! hold makes three parties, each the first process of a process namespace, as in a container.

use super::{Owned, PARTIES, images, load, own_address};
use cryptgpu_core::cluster::owner::{AuditEvent, fingerprint_of};
use cryptgpu_datasets::bundled;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kubernetes").join(name)
}

/// Not println!, which the test harness hides when all is well.
fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "Kubernetes: {text}").unwrap();
}

/// The text of a key of a ConfigMap.
fn block(manifest: &str, key: &str) -> String {
    let head = format!("  {key}: |");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.get(4..).unwrap_or_default())).collect()
}

/// Writes files as a ConfigMap is mounted: links to a folder that is replaced as a whole.
fn mount(files: &[(&str, String)], at: &Path) {
    use std::os::unix::fs::symlink;
    fs::create_dir_all(at.join("..1")).unwrap();
    symlink("..1", at.join("..data")).unwrap();
    for (name, text) in files {
        fs::write(at.join("..1").join(name), text).unwrap();
        symlink(Path::new("..data").join(name), at.join(name)).unwrap();
    }
}

/// The program as the first process of a namespace, where this machine allows that.
fn first_process() -> Command {
    let unshare = ["--pid", "--fork", "--kill-child"];
    let may = Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success());
    if !may {
        say("no process namespace may be made here: parties are ordinary processes in this test");
        return Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    }
    let mut command = Command::new("unshare");
    command.args(unshare).arg(env!("CARGO_BIN_EXE_cryptgpu"));
    command
}

/// The party's own process: the child of `unshare`, or that process itself.
fn party_process(started: u32) -> u32 {
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let name = fs::read_to_string(format!("/proc/{started}/comm")).unwrap();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    match name.trim() {
        "unshare" => processes.into_iter().find(|&pid| parent(pid) == Some(started)).unwrap(),
        _ => started,
    }
}

#[test]
fn config_maps_make_three_parties_which_end_when_they_are_asked_to() {
    let hosts = [(); 3].map(|()| own_address());
    let (mut owned, keys) = Owned::prepare(hosts.each_ref().map(|host| format!("{host}:7100")));
    let lab = fingerprint_of(&owned.of("lab").join("lab.crt")).unwrap();
    for (party, name) in PARTIES.into_iter().enumerate() {
        let place = owned.of(name);
        let fill = |text: String| {
            let mut text = text.replace("0.0.0.0", &hosts[party]).replace("FINGERPRINT-OF-LAB", &lab.to_string());
            for (peer, key) in keys.iter().enumerate() {
                let upper = PARTIES[peer].to_uppercase();
                text = text.replace(&format!("FINGERPRINT-OF-{upper}"), &key.fingerprint.to_string());
                text =
                    text.replace(&format!("cryptgpu-party.cryptgpu-{}:", PARTIES[peer]), &format!("{}:", hosts[peer]));
            }
            text.replace("/run/cryptgpu/party.", &format!("{}/{name}.", place.display()))
                .replace("/var/lib/cryptgpu", &place.display().to_string())
        };
        let text = fs::read_to_string(manifest(&format!("{name}.yaml"))).unwrap();
        mount(&["party.toml", "policy.toml"].map(|file| (file, fill(block(&text, file)))), &place.join("etc"));
        let mut command = first_process();
        command.args(["party", "--config"]).arg(place.join("etc/party.toml"));
        owned.begin(command);
    }
    let weights = owned.of("bob").join("weights");
    fs::create_dir(&weights).unwrap();
    fs::write(weights.join("lenet.safetensors"), bundled::LENET_MNIST_SAFETENSORS).unwrap();
    let cluster = owned.cluster("lab").unwrap();
    let lenet = load(&owned, &cluster).unwrap();
    assert_eq!(cluster.infer(&lenet, &images(1)).unwrap().predictions(), [7]);

    // In the middle of a session, as when a pod is deleted.
    let start = Instant::now();
    let parties: Vec<_> = owned.parties.drain(..).collect();
    for party in &parties {
        // SAFETY: kill takes two numbers.
        assert_eq!(unsafe { libc::kill(party_process(party.id()) as i32, libc::SIGTERM) }, 0);
    }
    for (party, mut process) in parties.into_iter().enumerate() {
        assert_eq!(process.wait().unwrap().code(), Some(0), "party {party}");
        let last = owned.log(party).pop().unwrap();
        assert!(matches!(last.event, AuditEvent::Over { .. }), "party {party}: {last}");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "a pod has 30 s before it is killed");
}

/// Checks each document of the files and prints all of them; then one with a mistake, which must be found.
const VALIDATE: &str = r#"
import json, sys, yaml, kubernetes_validate
documents = [document for path in sys.argv[1:] for document in yaml.safe_load_all(open(path))]
for document in documents:
    kubernetes_validate.validate(document, "1.37.0", strict=True)
print(json.dumps(documents))
documents[-1]["spec"]["replica"] = 1
try:
    kubernetes_validate.validate(documents[-1], "1.37.0", strict=True)
except kubernetes_validate.ValidationError:
    sys.exit(0)
sys.exit("a mistake is not found")
"#;

/// The documents of all manifests, which keep to their schema; nothing where there is no validator.
fn validated() -> Option<Vec<Value>> {
    let given = std::env::var_os("CRYPTGPU_PYTHON").map(PathBuf::from);
    let python = given.clone().unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python"));
    let there = Command::new(&python).args(["-c", "import kubernetes_validate"]).output();
    if given.is_none() && !there.is_ok_and(|output| output.status.success()) {
        say(
            "manifests not checked, no Python with kubernetes-validate: scripts/test has one, CRYPTGPU_PYTHON names another",
        );
        return None;
    }
    let files = ["ann.yaml", "bob.yaml", "eve.yaml", "party.yaml"].map(manifest);
    let output = Command::new(&python).args(["-c", VALIDATE]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn manifests_keep_to_their_schema_and_a_pod_may_nothing_that_it_does_not_need() {
    let Some(documents) = validated() else { return };
    let of = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    assert_eq!(of("Namespace").count(), 3);
    assert_eq!(
        of("ConfigMap").map(|map| &map["metadata"]["namespace"]).collect::<Vec<_>>(),
        [&json!("cryptgpu-ann"), &json!("cryptgpu-bob"), &json!("cryptgpu-eve")]
    );
    assert!(of("Namespace").all(|it| it["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"));
    let set = of("StatefulSet").next().unwrap();
    assert_eq!(set["spec"]["replicas"], 1);
    let pod = &set["spec"]["template"]["spec"];
    let claims = &set["spec"]["volumeClaimTemplates"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let containers = ["initContainers", "containers"].map(|kind| &pod[kind][0]);
    for container in containers {
        let locked = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(container["securityContext"], locked);
        for mount in container["volumeMounts"].as_array().unwrap() {
            // A file that is mounted by itself does not change with its ConfigMap.
            assert_eq!(mount.get("subPath"), None);
            let volumes = [&pod["volumes"], claims].into_iter().flat_map(|list| list.as_array().unwrap());
            let named = |volume: &&Value| [&volume["name"], &volume["metadata"]["name"]].contains(&&mount["name"]);
            assert_eq!(volumes.filter(named).count(), 1, "{mount}");
        }
    }
    // The key comes to lie where party.toml looks for it, for the party alone; all that party.toml names is mounted.
    let [copies, party] = containers;
    assert_eq!(
        copies["command"],
        json!(["install", "-m", "0600", "/secret/party.key", "/secret/party.crt", "/run/cryptgpu"])
    );
    assert_eq!(pod["volumes"][2]["emptyDir"]["medium"], "Memory");
    let paths = party["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap());
    assert_eq!(paths.collect::<Vec<_>>(), ["/etc/cryptgpu", "/run/cryptgpu", "/var/lib/cryptgpu"]);
    assert_eq!(party["args"], json!(["party", "--config", "/etc/cryptgpu/party.toml"]));
    // Who reaches the pod, and where.
    let network = &of("NetworkPolicy").next().unwrap()["spec"];
    let allowed = network["ingress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (&rule["from"][0]["namespaceSelector"]["matchLabels"]["cryptgpu"], &rule["ports"][0]["port"]));
    assert_eq!(allowed.collect::<Vec<_>>(), [(&json!("party"), &json!(7101)), (&json!("caller"), &json!(7100))]);
    assert_eq!(network["policyTypes"], json!(["Ingress", "Egress"]));
}
