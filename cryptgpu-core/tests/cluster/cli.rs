//! The `cryptgpu` program as its user meets it: what it prints, what it writes, how it ends.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};

use cryptgpu_core::experiment::{Record, read};
use cryptgpu_core::ring::Ring;
use sha2::Digest;

fn cryptgpu(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    command.args(arguments.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn json_is_records_and_nothing_else_and_the_file_has_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.jsonl");
    let run = cryptgpu(&format!(
        "run inference --networks lenet --iterations 2 --parties threads --json --out {}",
        file.display()
    ));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let printed: Vec<Record> = text(&run.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed, read(&file).unwrap());
    assert_eq!((printed.len(), printed[0].iterations, printed[0].agreement), (1, 2, Some(2)));
    assert_eq!(run.stderr, b"", "no progress beside --json");

    let table = cryptgpu(&format!("table {}", file.display()));
    let shown = text(&table.stdout);
    assert!(shown.contains("lenet") && shown.contains("380 ms (T4)") && shown.contains("one-byte message"), "{shown}");
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_cryptgpu");
    for arguments in ["networks", "run paper --suite full --list", &format!("digest {PROGRAM}")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        let run = command.args(arguments.split_whitespace()).stdout(writer).stderr(Stdio::piped());
        let run = run.spawn().unwrap().wait_with_output().unwrap();
        assert!(run.status.success() && !text(&run.stderr).contains("panicked"), "{arguments}: {}", text(&run.stderr));
    }
}

#[test]
fn a_run_ends_with_the_comparison() {
    let run = cryptgpu("run inference --networks lenet --iterations 1 --parties threads");
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success() && out.contains("CryptGPU's code sends"), "{out}");
    assert!(err.contains("same prediction as plaintext on 1 of 1"), "{err}");
}

#[test]
fn shared_links_cost_what_others_do_and_every_record_and_row_says_that_they_are_unencrypted() {
    let run = |links: &str| {
        let run = cryptgpu(&format!("run inference --networks lenet --iterations 1 --link-type {links} --json"));
        assert!(run.status.success(), "{}", text(&run.stderr));
        (serde_json::from_str::<Record>(&text(&run.stdout)).unwrap(), text(&run.stdout))
    };
    let ((tls, _), (shared, line)) = (run("tls"), run("shared"));
    assert_eq!((tls.bytes_sent, tls.rounds, tls.max_abs_error.is_some()), (shared.bytes_sent, shared.rounds, true));
    assert_eq!(tls.parties, "local processes, TLS");
    assert_eq!(shared.parties, "local processes, shared memory, unencrypted");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.jsonl");
    std::fs::write(&file, line).unwrap();
    let table = cryptgpu(&format!("table {}", file.display()));
    let shown = text(&table.stdout);
    assert!(shown.contains("shared memory") && shown.contains("unencrypted"), "{shown}");
}

/// Files in a folder, those of shared memory that have our name, and processes that run in the folder.
fn left(folder: &std::path::Path) -> (Vec<String>, usize) {
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let shared = names("/dev/shm".as_ref()).into_iter().filter(|name| name.contains("cryptgpu"));
    let processes = names("/proc".as_ref()).into_iter().filter(|pid| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)
            && std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    });
    (names(folder).into_iter().chain(shared).collect(), processes.count())
}

#[test]
fn a_caller_on_shared_links_that_is_killed_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let mut caller = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    caller.args("run inference --networks lenet --iterations 1000000 --dataset random --compare 0".split(' '));
    caller.args(["--link-type", "shared"]).env("TMPDIR", &folder).current_dir(&folder);
    let mut caller = caller.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // All three have warned: they link up, and then compute.
    let lines = std::io::BufRead::lines(std::io::BufReader::new(caller.stderr.take().unwrap()));
    let warned = lines.map_while(std::result::Result::ok).filter(|line| line.contains("insecure shared links")).take(3);
    assert_eq!(warned.count(), 3);
    std::thread::sleep(std::time::Duration::from_millis(500));
    caller.kill().unwrap();
    caller.wait().unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while left(&folder).1 > 0 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(left(&folder), (vec![], 0));
}

#[test]
fn shared_links_are_refused_where_parties_share_no_memory() {
    for (place, hint) in [("--parties threads", "hand their messages over"), ("--parties h0,h1,h2", "--parties local")]
    {
        let run = cryptgpu(&format!("run inference --networks lenet --link-type shared {place}"));
        let error = text(&run.stderr);
        assert!(!run.status.success() && error.contains("links of type `shared`") && error.contains(hint), "{error}");
    }
    let error = text(&cryptgpu("run inference --networks lenet --link-type plaintext").stderr);
    assert!(error.contains("insecure-plaintext"), "{error}");
}

#[test]
fn an_unknown_network_is_refused_before_anything_runs() {
    let run = cryptgpu("run inference --networks lenet,resnet51");
    assert!(!run.status.success() && run.stdout.is_empty());
    assert!(text(&run.stderr).contains("did you mean `resnet50`"), "{}", text(&run.stderr));
}

#[test]
fn a_connection_is_not_awaited_for_longer_than_the_deadline() {
    let run = cryptgpu("run inference --networks lenet --deadline 20 --resume-within 20.5");
    assert!(!run.status.success() && run.stdout.is_empty());
    assert!(text(&run.stderr).contains("20.5s, not less than the deadline of 20s"), "{}", text(&run.stderr));
    let run = cryptgpu("run inference --resume-within soon");
    assert!(text(&run.stderr).contains("`soon` is not a number of seconds"), "{}", text(&run.stderr));
}

#[test]
fn bad_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.jsonl");
    std::fs::write(&file, "{\"experiment\": 1}\n").unwrap();
    for (arguments, hint) in [
        (format!("table {}", file.display()), "line 1, is not a record"),
        ("table no/such.jsonl".to_owned(), "cannot read the records in no/such.jsonl"),
        ("run inference --networks lenet --weights no/such.safetensors".to_owned(), "no/such.safetensors"),
        (format!("run inference --networks lenet --weights {}", file.display()), "safetensors"),
    ] {
        let run = cryptgpu(&arguments);
        assert!(!run.status.success(), "{arguments}");
        assert!(text(&run.stderr).contains(hint), "{arguments}: {}", text(&run.stderr));
    }
}

#[test]
fn a_record_that_cannot_be_written_is_noticed_before_the_work() {
    for arguments in [
        "run inference --networks lenet --iterations 1000 --compare 0 --out /nonexistent/x.jsonl",
        "run micro --out /nonexistent/x.jsonl",
    ] {
        let run = cryptgpu(arguments);
        assert!(!run.status.success() && run.stdout.is_empty(), "{arguments}");
        let error = text(&run.stderr);
        assert!(error.starts_with("cryptgpu: cannot open the records in /nonexistent/x.jsonl"), "{arguments}: {error}");
    }
}

#[test]
fn images_are_never_counted_twice_and_sizes_beyond_reason_are_typed_errors() {
    for (arguments, hint) in [
        ("--networks lenet --batch 250 --images 2000", "it has 1000 images, enough for 4 iterations of 250"),
        ("--networks lenet --iterations 1001", "1000 images"),
        ("--networks lenet --batch 4611686018427387904", "at most"),
        ("--networks resnet50 --batch 4611686018427387904", "at most"),
        ("--networks lenet --dataset random --iterations 18446744073709551615", "at most"),
        ("--networks lenet --window 4294967280:16", "is not a window"),
        ("--networks lenet --link 1:1e300", "is not a link"),
    ] {
        let run = cryptgpu(&format!("run inference {arguments} --out /nonexistent/x.jsonl"));
        let error = text(&run.stderr);
        assert!(!run.status.success() && run.stdout.is_empty() && !error.contains("panicked"), "{arguments}: {error}");
        assert!(error.contains(hint), "{arguments}: {error}");
    }
}

#[test]
fn lists_may_have_blanks_behind_their_commas() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
    command.args(["run", "inference", "--iterations", "1", "--parties", "threads", "--json"]);
    let run = command.args(["--networks", "lenet, lenet-maxpool"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    let networks: Vec<String> =
        text(&run.stdout).lines().map(|line| serde_json::from_str::<Record>(line).unwrap().network).collect();
    assert_eq!(networks, ["lenet", "lenet-maxpool"]);
}

#[test]
fn a_batch_that_does_not_fit_the_memory_is_refused() {
    let run = cryptgpu("run inference --networks lenet --dataset random --batch 16777216");
    assert!(!run.status.success() && text(&run.stderr).contains("use a smaller --batch"), "{}", text(&run.stderr));
}

/// What two runs differ in stands in their records, and the table has a row for each.
#[test]
fn every_setting_that_changes_a_number_has_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.jsonl");
    for arguments in
        ["", "--window 0:32", "--window 4:32", "--fraction-bits 12", "--weights random", "--dataset random"]
    {
        let run = cryptgpu(&format!(
            "run inference --networks lenet --iterations 1 --parties threads {arguments} --out {}",
            file.display()
        ));
        assert!(run.status.success(), "{}", text(&run.stderr));
    }
    let shown = text(&cryptgpu(&format!("table --json {}", file.display())).stdout);
    let labels: Vec<String> = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["marks"].to_string())
        .collect();
    assert_eq!(labels.len(), 6, "{shown}");
    let marks = [
        "threads of one process",
        "window 0:32",
        "window 4:32",
        "12 fraction bits",
        "weights random, seed 1",
        "images random",
    ];
    for (label, mark) in labels.iter().zip(marks) {
        assert!(label.contains(mark), "{label} lacks {mark}");
    }
}

/// Built in, so that a copy of the program somewhere else knows it too.
#[test]
fn the_program_knows_its_commit_without_its_checkout() {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()
            .filter(|git| git.status.success())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("elsewhere");
    std::fs::copy(env!("CARGO_BIN_EXE_cryptgpu"), &program).unwrap();
    let mut command = Command::new(program);
    command.args("run inference --networks lenet --iterations 1 --parties threads --json".split(' '));
    let run = command.current_dir(dir.path()).env_remove("PATH").output().unwrap();
    let record: Record = serde_json::from_str(&text(&run.stdout)).unwrap();
    let built = option_env!("CRYPTGPU_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned);
    let expected = built.unwrap_or(text(&head.stdout).trim().to_owned());
    assert_eq!(record.commit.trim_end_matches('+'), expected);
}

#[test]
fn networks_and_doctor_have_json() {
    let networks = text(&cryptgpu("networks --json").stdout);
    let first: serde_json::Value = serde_json::from_str(networks.lines().next().unwrap()).unwrap();
    assert_eq!((&first["network"], &first["relus"]), (&"lenet".into(), &15_220.into()));
    assert_eq!(networks.lines().count(), 10);
    let doctor: serde_json::Value = serde_json::from_str(&text(&cryptgpu("doctor --json").stdout)).unwrap();
    let finding =
        |what: &str| doctor.as_array().unwrap().iter().find(|finding| finding["what"] == what).unwrap().clone();
    assert_eq!(finding("bundled weights")["status"], "ok");
    assert_eq!(finding("bundled images")["status"], "ok");
    assert_eq!(finding("party processes")["status"], "ok");
}

/// A libcuda made from a source of the kernels' tests, in a folder for `LD_LIBRARY_PATH`.
fn libcuda(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("{}/../kernels/tests/libcuda/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let library = folder.path().join("libcuda.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success(), "{source}");
    folder
}

#[test]
fn a_driver_that_cannot_be_used_has_a_row_and_auto_computes_on_the_processor() {
    let with = |folder: &tempfile::TempDir, arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
        command.env_remove("CRYPTGPU_LIBCUDA").env("LD_LIBRARY_PATH", folder.path());
        command.args(arguments.split_whitespace()).output().unwrap()
    };
    for (name, reason) in [("fake", "lacks"), ("old", "lacks"), ("nodev", "lacks"), ("stub", "stub")] {
        let folder = libcuda(name);
        let doctor = with(&folder, "doctor --json");
        let findings: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let row = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "CUDA driver").unwrap();
        let (found, hint) = (row["found"].as_str().unwrap(), row["hint"].as_str().unwrap());
        assert!(found.ends_with("libcuda.so") && hint.contains(reason), "{name}: {row}");
        assert!(doctor.status.success() && !text(&doctor.stderr).contains("panic"), "{}", text(&doctor.stderr));
    }
    let folder = libcuda("old");
    let run = "run inference --networks lenet --iterations 1 --parties threads --json --device";
    let auto = with(&folder, &format!("{run} auto"));
    let record: Record = serde_json::from_slice(&auto.stdout).unwrap();
    assert_eq!(record.device, "cpu");
    let cuda = with(&folder, &format!("{run} cuda"));
    let error = text(&cuda.stderr);
    assert!(!cuda.status.success() && error.contains("lacks") && error.contains("--device cpu"), "{error}");
}

/// As a notebook starts it: with the library that its cells link, which has been built anew since.
#[test]
fn a_party_does_not_open_a_library_that_is_not_its_callers() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("library.c"), folder.path().join("libcells.so"));
    let marker = folder.path().join("marker");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void begin(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n\
         int cryptgpu_party(void) {{ return 0; }}\n",
        marker.display()
    );
    std::fs::write(&source, code).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success());
    let argument = format!("{}:libcells.so:{}", "00".repeat(32), library.display());
    let party = Command::new(env!("CARGO_BIN_EXE_cryptgpu")).args(["party", "--runtime", &argument]).output().unwrap();
    let error = text(&party.stderr);
    assert!(!party.status.success() && error.contains("libcells.so is not what the caller has loaded"), "{error}");
    assert!(error.contains("restart the kernel"), "{error}");
    assert!(!marker.exists(), "its initialisers have run");
    let party = Command::new(env!("CARGO_BIN_EXE_cryptgpu")).args(["party", "--runtime", "libcells.so"]).output();
    assert!(text(&party.unwrap().stderr).contains("names no library with its digest"));
    assert!(!marker.exists(), "its initialisers have run");
}

#[test]
fn training_state_is_left_out_and_prefixes_are_taken_off_with_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let graph = cryptgpu_core::nn::zoo::by_name("lenet").unwrap();
    let lenet = cryptgpu_core::nn::WeightSource::Bundled.load(&graph).unwrap();
    let mut checkpoint = cryptgpu_core::nn::Weights::new();
    for (name, tensor) in lenet.iter() {
        checkpoint.insert(format!("module.{name}"), tensor.clone());
    }
    checkpoint.insert("optimizer.step", ndarray::ArrayD::zeros(vec![1]));
    checkpoint.save(&path).unwrap();
    let run =
        format!("run inference --networks lenet --iterations 1 --parties threads --json --weights {}", path.display());
    let refused = cryptgpu(&run);
    assert!(!refused.status.success() && text(&refused.stderr).contains("--ignore-extra"), "{}", text(&refused.stderr));
    let accepted = cryptgpu(&format!("{run} --ignore-extra"));
    let notices = text(&accepted.stderr);
    assert!(accepted.status.success(), "{notices}");
    assert!(notices.contains("begin with `module.`") && notices.contains("`optimizer.step`"), "{notices}");
}

#[test]
fn help_teaches() {
    for (arguments, example) in [
        ("--help", "cryptgpu doctor"),
        ("run inference --help", "--link wan"),
        ("table --help", "results.jsonl"),
        ("networks --help", "-maxpool"),
        ("range --help", "--input-range 0:1"),
        ("doctor --help", "status 1"),
    ] {
        assert!(text(&cryptgpu(arguments).stdout).contains(example), "{arguments}");
    }
}

#[test]
fn the_recorded_runs_show_what_they_are_said_to() {
    let records =
        |name: &str| read([env!("CARGO_MANIFEST_DIR"), "/../datasets/records/", name].concat().as_ref()).unwrap();
    let mnist = &records("lenet-mnist-10000.jsonl")[0];
    assert_eq!((mnist.images, mnist.compared, mnist.dataset.as_str()), (10_000, 10_000, "mnist-test"));
    assert!(mnist.agreement.unwrap() >= 9_995 && mnist.max_abs_error.unwrap() < 1e-3, "{mnist:?}");
    let short = &records("lenet-mnist-10000-ring-32.jsonl")[0];
    assert_eq!((short.ring, short.check_range.as_str()), (Ring::Z32, "run"));
    assert_eq!((short.images, short.compared, short.dataset.as_str()), (10_000, 10_000, "mnist-test"));
    assert!(short.agreement.unwrap() >= 9_990 && short.max_abs_error.unwrap() < 0.05, "{short:?}");
    let ten = records("inference-ten-networks.jsonl");
    assert_eq!(ten.len(), 10);
    for row in cryptgpu_core::experiment::inference_table(&ten).unwrap() {
        let limit = if row.network.starts_with("resnet") { 0.30 } else { 0.42 };
        assert!(row.bytes_fraction.unwrap() <= limit, "{row:?}");
    }
    assert!(ten.iter().flat_map(|record| record.peak_rss_bytes).all(|bytes| bytes < 2 << 30));
}

#[test]
fn a_key_is_made_and_printed_and_a_log_that_was_changed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display();
    let made = cryptgpu(&format!("keygen --out {folder} --name ann"));
    assert!(made.status.success() && text(&made.stdout).trim().len() == 64, "{}", text(&made.stderr));
    let again = cryptgpu(&format!("keygen --out {folder} --name ann"));
    assert!(!again.status.success() && text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));

    // Two lines, as a party writes them.
    let zeros = "0".repeat(64);
    let first =
        format!("{{\"n\":1,\"time\":\"t\",\"at\":1,\"event\":\"over\",\"session\":\"aa\",\"before\":\"{zeros}\"}}");
    let digest: String = sha2::Sha256::digest(&first).iter().map(|byte| format!("{byte:02x}")).collect();
    let second = first.replace("\"n\":1", "\"n\":2").replace(&zeros, &digest);
    let log = dir.path().join("audit.log");
    std::fs::write(&log, format!("{first}\n{second}\n")).unwrap();
    let read = cryptgpu(&format!("audit {} --head {digest}", log.display()));
    assert!(read.status.success() && text(&read.stdout).contains("session aa over"), "{}", text(&read.stderr));
    assert!(text(&read.stderr).contains("2 lines, each follows"), "{}", text(&read.stderr));
    let cut = cryptgpu(&format!("audit {} --head {zeros}1", log.display()));
    assert!(!cut.status.success() && text(&cut.stderr).contains("its end was cut off"), "{}", text(&cut.stderr));
    std::fs::write(&log, format!("{}\n{second}\n", first.replace("aa", "bb"))).unwrap();
    let changed = cryptgpu(&format!("audit {}", log.display()));
    assert!(!changed.status.success() && text(&changed.stderr).contains("line 2"), "{}", text(&changed.stderr));

    let config = cryptgpu(&format!("party --config {}", log.display()));
    assert!(!config.status.success() && text(&config.stderr).contains("audit.log, line 1"), "{}", text(&config.stderr));
}

#[test]
fn the_paper_is_a_list_that_can_be_looked_at_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paper.jsonl");
    let run = cryptgpu(&format!("run paper --only same-card,training --list --out {}", file.display()));
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success() && err.starts_with("13 measurements, 0 of them in "), "{err}");
    assert!(out.contains("inference resnet50 (") && out.contains("train lenet × 128 (") && !file.exists(), "{out}");
    assert!(out.contains("micro matmul 1024x1024x1024 (") && out.lines().count() == 13, "{out}");
    let run = cryptgpu("run paper --only figures");
    assert!(!run.status.success() && text(&run.stderr).contains("same-card"), "{}", text(&run.stderr));
}

/// The files that `tests/data/onnx/make.py` has made.
fn onnx(name: &str) -> String {
    format!("{}/tests/data/onnx/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_network_of_a_file_is_shown_with_its_costs_and_evaluated_on_an_array() {
    let shown = cryptgpu(&format!("show {}", onnx("lenet-like.onnx")));
    let shown = text(&shown.stdout);
    for part in ["lenet-like: 1×16×16 to 10", "SHA-256 ", "conv1", "rounds", "over a WAN"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = text(&cryptgpu(&format!("show {} --json --batch 2", onnx("lenet-like.onnx"))).stdout);
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (whole, steps) = lines.split_last().unwrap();
    let digest: String = sha2::Sha256::digest(std::fs::read(onnx("lenet-like.onnx")).unwrap())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(whole["digest"], digest);
    for sum in ["bytes", "rounds"] {
        let steps: u64 = steps.iter().map(|step| step[sum].as_u64().unwrap()).sum();
        assert_eq!(whole[sum].as_u64().unwrap(), steps, "{sum}");
    }

    // Channels last outside, weights and images in files, one image at a time.
    let dir = tempfile::tempdir().unwrap();
    let scores = dir.path().join("y.npy");
    let run = |parties: &str, model: &str, input: &str| {
        let output = scores.display();
        let (model, input) = (onnx(model), onnx(input));
        let record = dir.path().join("records.jsonl");
        cryptgpu(&format!(
            "infer --model {model} --input {input} --output {output} --out {} --batch 1 --parties {parties}",
            record.display()
        ))
    };
    for (parties, name) in [("local", "keras-like"), ("threads", "channels-last-to-the-end"), ("threads", "external")] {
        let done = run(parties, &format!("{name}.onnx"), &format!("{name}.x.npy"));
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert!(out.contains("away from plaintext") && out.contains("2 images in"), "{out}");
        assert!(err.contains("Room in the ring") && err.contains("of memory at the weights' owner"), "{err}");
        let ours = cryptgpu_datasets::npy::read(&scores).unwrap();
        let expected = cryptgpu_datasets::npy::read(onnx(&format!("{name}.y.npy"))).unwrap();
        assert_eq!(ours.shape(), expected.shape());
        let error = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < 1e-3, "{name}: {error}");
    }
    std::fs::remove_file(&scores).unwrap();
    // A record of each, which tables are made of as well.
    let records = cryptgpu_core::experiment::read(&dir.path().join("records.jsonl")).unwrap();
    assert_eq!(
        records.iter().map(|record| record.network.as_str()).collect::<Vec<_>>(),
        ["keras-like", "channels-last-to-the-end", "external"]
    );
    let first = &records[0];
    let file = cryptgpu_core::nn::OnnxModel::load(onnx("keras-like.onnx")).unwrap();
    let plan = cryptgpu_core::nn::fold::fold_graph(&file.graph)
        .and_then(|graph| cryptgpu_core::nn::lower::lower(&graph, Default::default(), Default::default()))
        .unwrap();
    let declared = cryptgpu_core::nn::cost::infer(&plan, 1, &Default::default());
    assert_eq!((first.total_bytes(), first.weights_sha256.as_str()), (declared.bytes, file.digest.as_str()));
    assert_eq!((first.parties.as_str(), first.dataset.as_str()), ("local processes, TLS", "keras-like.x.npy"));
    assert_eq!((first.batch, first.iterations, first.images, first.compared, first.agreement), (1, 2, 2, 2, Some(2)));
    assert!(first.max_abs_error.unwrap() < 1e-3 && first.seconds > 0.0 && first.rounds > 0, "{first:?}");
    assert!(first.threads.iter().all(|&threads| threads > 0), "{first:?}");
    // What a file's reader may take otherwise is said once.
    let told = run("threads", "ending-log-softmax.onnx", "ending-log-softmax.x.npy");
    assert_eq!(text(&told.stderr).matches("of the opened scores").count(), 1, "{}", text(&told.stderr));
    std::fs::remove_file(&scores).unwrap();
    for (model, input, hint) in [
        ("refused/many.onnx", "mlp.x.npy", "3 of 7 nodes"),
        ("mlp.onnx", "lenet-like.x.npy", "[20]"),
        ("mlp.onnx", "mlp.onnx", "NumPy"),
        ("missing.onnx", "mlp.x.npy", "missing.onnx"),
    ] {
        let refused = run("threads", model, input);
        assert!(!refused.status.success() && text(&refused.stderr).contains(hint), "{}", text(&refused.stderr));
        assert!(!scores.exists(), "nothing is written");
    }
}

#[test]
fn inference_in_the_ring_of_32_bits_says_so_and_sends_half() {
    let run = |more: &str| {
        let done = cryptgpu(&format!("run inference --networks lenet --iterations 3 --parties threads --json {more}"));
        assert!(done.status.success(), "{}", text(&done.stderr));
        serde_json::from_str::<serde_json::Value>(text(&done.stdout).trim()).unwrap()
    };
    let (wide, narrow) = (run(""), run("--ring 32 --check-range=off"));
    let bytes =
        |record: &serde_json::Value| record["bytes_sent"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    let (wide_bytes, narrow_bytes): (u64, u64) = (bytes(&wide), bytes(&narrow));
    assert!(narrow_bytes as f64 <= 0.52 * wide_bytes as f64, "{narrow_bytes} for {wide_bytes}");
    assert_eq!((&wide["ring"], &wide["fraction_bits"]), (&"Z64".into(), &20.into()));
    assert_eq!((&narrow["ring"], &narrow["fraction_bits"]), (&"Z32".into(), &12.into()));
    assert_eq!((&narrow["agreement"], &narrow["compared"]), (&3.into(), &3.into()));
    assert!(narrow["max_abs_error"].as_f64().unwrap() < 0.1, "{narrow}");

    let shown = text(&cryptgpu("run inference --networks lenet --iterations 1 --parties threads --ring 32").stdout);
    assert!(shown.contains("ring of 32 bits") && !shown.contains("12 fraction bits"), "{shown}");
    for (command, hint) in [
        ("run inference --networks lenet --ring 32 --fraction-bits 15", "fraction bits 15"),
        ("run inference --networks lenet --ring 16", "of 64 and of 32 bits"),
        (
            "run train --networks resnet8-cifar10 --dataset random --iterations 1 --ring 32 --fraction-bits 14",
            "use 6 to 13 fraction bits",
        ),
    ] {
        let refused = cryptgpu(command);
        assert!(!refused.status.success() && text(&refused.stderr).contains(hint), "{}", text(&refused.stderr));
    }
}

#[test]
fn pictures_are_inferred_by_a_named_preprocessing_and_their_classes_told() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, scores, labels) = (dir.path().join("digits"), dir.path().join("y.npy"), dir.path().join("labels.txt"));
    std::fs::create_dir(&folder).unwrap();
    let digits = cryptgpu_datasets::bundled::mnist_test_1000().unwrap();
    for index in 0..2 {
        let pixels = digits.pixels.index_axis(ndarray::Axis(0), index).iter().copied().collect();
        let picture = image::GrayImage::from_raw(28, 28, pixels).unwrap();
        picture.save(folder.join(format!("digit-{index}.png"))).unwrap();
    }
    std::fs::write(&labels, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n").unwrap();
    let run = |input: &std::path::Path, more: &str| {
        let (input, output) = (input.display(), scores.display());
        cryptgpu(&format!("infer --model lenet --input {input} --output {output} --parties threads {more}"))
    };

    let done = run(&folder, &format!("--preprocess mnist --labels {}", labels.display()));
    assert!(done.status.success(), "{}", text(&done.stderr));
    let told = text(&done.stdout);
    assert!(told.contains("digit-0.png: seven ") && told.contains("digit-1.png: two "), "{told}");
    let ours = cryptgpu_datasets::npy::read(&scores).unwrap();
    let graph = cryptgpu_core::nn::zoo::by_name("lenet").unwrap();
    let weights = cryptgpu_core::nn::WeightSource::Bundled.open(&graph).unwrap().weights;
    let batch = digits.batch(0..2).unwrap().mapv(f64::from).into_dyn();
    let expected = cryptgpu_core::nn::plaintext::evaluate(&graph, &weights, &batch.view()).unwrap();
    let error = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(ours.shape() == expected.shape() && error < 1e-3, "{error}");

    let told = text(&run(&folder.join("digit-1.png"), "--preprocess mnist").stdout);
    assert!(told.starts_with("digit-1.png: class 2 ") && told.contains("1 images in"), "{told}");
    for (input, more, hint) in [
        (folder.clone(), "", "one of imagenet, inception"),
        (folder.clone(), "--preprocess imagenet", "3 numbers for 1 channels"),
        (scores.clone(), "--preprocess mnist", "leave --preprocess out"),
        (dir.path().join("gone.jpg"), "--preprocess mnist", "gone.jpg is not there"),
        (folder.join("digit-0.png"), "--preprocess mnist --labels no/such.txt", "no/such.txt"),
    ] {
        let refused = run(&input, more);
        assert!(!refused.status.success() && text(&refused.stderr).contains(hint), "{}", text(&refused.stderr));
    }
}
