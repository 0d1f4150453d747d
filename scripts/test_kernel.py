"""Tests of functions of cells in party processes, with a real kernel: they run there and on hosts that SSH reaches, an edited
one runs as edited, a fault is told and the next cell works, an interrupt ends a run and keeps variables, and neither an
interrupt nor a restart nor an end of the kernel leaves a process behind, here or there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from queue import Empty

import zmq
from jupyter_client.manager import KernelManager

SCRIPTS = Path(__file__).resolve().parent
TIMEOUT_S = 180
LATE_S = 10
ANSI = re.compile(r"\x1b\[[0-9;]*m")

START = "let cluster = Cluster::local().threads(1).start()?;\nprintln!(\"pids {:?}\", cluster.pids());"

FOREVER = (
    "fn forever(_: &mut Party, (): ()) -> Result<()> {\n"
    '    println!("started");\n'
    "    loop { std::hint::spin_loop() }\n"
    "}"
)


def exists(pid):
    try:
        # The state follows the name, which is in parentheses; Z is one that waits to be reaped.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Hosts:
    """Three hosts that SSH reaches: servers at ports of this machine, each with a home of its own for the library that cells
    link, and a cluster file that names them. What runs there names the folder in its arguments."""

    def __init__(self, folder, program):
        self.folder, self.servers = folder, []
        sshd = shutil.which("sshd", path=os.defpath + ":/usr/sbin:/usr/local/sbin:/sbin")
        assert sshd, "the test of a notebook over SSH needs OpenSSH's server: scripts/test installs it (openssh-server)"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(parents=True, exist_ok=True)
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        (folder / "program").symlink_to(program)
        host_key = (folder / "host.pub").read_text()
        known, client, cluster = "", "", f"ssh_config = '{folder}/ssh_config'\n"
        for host in ("h0", "h1", "h2"):
            port = free_port()
            (folder / f"sshd-{host}").write_text(
                f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
                "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                f"AllowTcpForwarding no\nSetEnv XDG_CACHE_HOME={folder}/{host}\n"
            )
            known += f"[127.0.0.1]:{port} {host_key}"
            client += f"Host {host}\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/user\nIdentitiesOnly yes\n"
            client += f"UserKnownHostsFile {folder}/known\nGlobalKnownHostsFile /dev/null\n\n"
            cluster += f"[[party]]\nhost = '{host}'\nprogram = '{folder}/program'\nthreads = 1\n"
            with open(folder / f"log-{host}", "w") as log:
                self.servers.append(subprocess.Popen([sshd, "-D", "-e", "-f", folder / f"sshd-{host}"], stderr=log))
        (folder / "known").write_text(known)
        (folder / "ssh_config").write_text(client)
        (folder / "cluster.toml").write_text(cluster)

    def left_over(self):
        """Processes of clusters: all that name the folder but the servers themselves."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.folder) in line and "sshd" not in line:
                found.append(line)
        return found

    def stop(self):
        for server in self.servers:
            server.kill()
            server.wait()


class Owners:
    """Three parties that their owners have started, with the library that cells link, and a caller's files in the same folder."""

    NAMES = ("ann", "bob", "eve")

    def __init__(self, folder, program, library):
        self.folder, self.program, self.parties = folder, program, []
        self.prints = {name: self.keygen(name) for name in (*self.NAMES, "lab")}
        controls, links = ([f"127.0.0.1:{free_port()}" for _ in range(3)] for _ in range(2))
        owners = "key = 'lab.key'\ncertificate = 'lab.crt'\n"
        for at, name in enumerate(self.NAMES):
            lines = f"name = '{name}'\nfingerprint = '{self.prints[name]}'\n"
            owners += f"[[party]]\naddress = '{controls[at]}'\n{lines}"
            text = f"party = {at}\nname = '{name}'\nkey = '{name}.key'\ncertificate = '{name}.crt'\nthreads = 1\n"
            text += f"control = '{controls[at]}'\nlinks = '{links[at]}'\npolicy = 'policy.toml'\naudit = '{name}.log'\n"
            text += f"runtime = '{library}'\n"
            for peer in ((at + 1) % 3, (at + 2) % 3):
                text += f"[[peer]]\nparty = {peer}\naddress = '{links[peer]}'\nfingerprint = '{self.prints[self.NAMES[peer]]}'\n"
            (folder / f"{name}.toml").write_text(text)
        (folder / "owners.toml").write_text(owners)
        self.allow("functions = []")
        for name in self.NAMES:
            command = [program, "party", "--config", folder / f"{name}.toml"]
            party = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.parties.append(party)
            said = party.stderr.readline()
            assert "waits for callers" in said, said

    def keygen(self, name):
        command = [self.program, "keygen", "--out", self.folder, "--name", name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def allow(self, lines):
        """The policy of all three from the next session on."""
        text = f"[[caller]]\nname = 'lab'\nfingerprint = '{self.prints['lab']}'\n[allow]\n{lines}\n"
        (self.folder / "policy.toml").write_text(text + "[[reveal]]\nwhat = 'result'\nto = 'caller'\n")

    def logs(self):
        """The lines of each party's log, which follow from one another."""
        for name in self.NAMES:
            command = [self.program, "audit", "--json", self.folder / f"{name}.log"]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            yield [json.loads(line) for line in lines.splitlines()]

    def stop(self):
        for party in self.parties:
            party.kill()
            party.wait()
            party.stderr.close()


class Cells(unittest.TestCase):
    """One kernel for all of them, as a start of it takes half a minute; a test that leaves none makes the next one start it."""

    client = None

    @classmethod
    def setUpClass(cls):
        os.environ.pop("CRYPTGPU_HEADLESS", None)
        cls.manager = None
        cls.addClassCleanup(lambda: cls.manager and cls.manager.has_kernel and cls.manager.shutdown_kernel(now=True))

    def setUp(self):
        if self.manager is None or not self.manager.has_kernel:
            type(self).manager = KernelManager(kernel_name="cryptgpu")
            self.manager.start_kernel(cwd=str(SCRIPTS.parent / "notebooks"))
        self.connect()

    def cache(self):
        return self.manager.kernel_spec.env["CRYPTGPU_CACHE"]

    def connect(self):
        # Clients of one manager have one identity: of two that are open each takes the other's connection away as it comes again, and
        # what is asked in such a moment is lost.
        if self.client is not None:
            self.client.stop_channels()
        self.client = self.manager.client()
        self.client.start_channels()
        self.addCleanup(self.client.stop_channels)
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def messages(self):
        """Messages of the kernel, as they come, for as long as a cell may take; None once a second without one."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                yield self.client.get_iopub_msg(timeout=1)
            except Empty:
                yield None

    def run_cell(self, code, *says, until=None):
        """Runs a cell to its end, or until it has printed `until`; gives what it printed and what it showed, in which all of
        `says` must be. What a cell prints may come shortly after its end."""
        request = self.client.execute(code)
        text, ended = "", None
        for message in self.messages():
            if message is not None and message["parent_header"].get("msg_id") == request:
                content = message["content"]
                text += content.get("text", "") + ANSI.sub("", "\n".join(content.get("traceback", [])))
                text += content.get("data", {}).get("text/plain", "")
                if message["msg_type"] == "status" and content["execution_state"] == "idle":
                    ended = time.monotonic()
            if until is not None and until in text:
                return text
            if ended is not None:
                missing = [part for part in says if part not in text]
                if not missing:
                    return text
                self.assertLess(time.monotonic(), ended + LATE_S, f"{missing} not in what the cell said:\n{code}\n{text}")
        self.fail(f"the cell did not end:\n{code}\n{text}")

    def start_cluster(self):
        """Starts a cluster in a cell; gives its processes."""
        return self.pids_in(self.run_cell(START, "pids ["))

    def pids_in(self, text):
        found = re.search(r"pids \[(\d+), (\d+), (\d+)\]", text)
        self.assertIsNotNone(found, text)
        pids = [int(pid) for pid in found.groups()]
        self.assertTrue(all(map(exists, pids)), pids)
        return pids

    def assert_gone(self, pids):
        deadline = time.monotonic() + 10
        while any(map(exists, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual([pid for pid in pids if exists(pid)], [])

    def test_functions_of_cells_run_in_the_parties(self):
        pids = self.start_cluster()
        self.run_cell(
            "fn scale(p: &mut Party, (x, n): (Rep, u64)) -> Result<(Rep, u32)> {\n"
            '    println!("at work in party {}", p.id());\n'
            "    Ok((x.mul_word(n), std::process::id()))\n"
            "}\n"
            "let x = cluster.share(&array![1.0, -2.0])?;\n"
            "let run = cluster.run(scale, (&x, 3))?;\n"
            'println!("{:?} at {:?}", run.outputs[0].0.reveal()?.as_slice(), run.outputs.each_ref().map(|o| o.1));',
            f"Some([3.0, -6.0]) at {pids}",
            *(f"[P{party}] at work in party {party}" for party in range(3)),
        )

        # The same name, other code.
        self.run_cell(
            "fn scale(_: &mut Party, (x, n): (Rep, u64)) -> Result<Rep> { Ok(x.mul_word(n + 1)) }\n"
            'println!("{:?}", cluster.run(scale, (&x, 3))?.reveal()?.as_slice());',
            "Some([4.0, -8.0])",
        )

        # A type of the cell, and a fault, of which the next cell knows nothing.
        self.run_cell(
            "#[derive(Serialize, Deserialize)]\n"
            '#[serde(crate = "cryptgpu::serde")]\n'
            "struct Options { name: String }\n"
            "fn fault(p: &mut Party, Plain(options): Plain<Options>) -> Result<()> {\n"
            '    p.step("cooking", |p| if p.id().index() == 1 { panic!("no {}", options.name) } else { Ok(()) })\n'
            "}\n"
            'println!("{}", cluster.run(fault, Plain(Options { name: "tea".into() })).unwrap_err());',
            "party 1 failed in job fault at step cooking: panicked: no tea",
        )
        self.assert_gone(pids)
        self.run_cell(
            "let x = cluster.share(&array![5.0])?;\n"
            'println!("{:?}", cluster.run(scale, (&x, 1))?.reveal()?.as_slice());',
            "Some([10.0])",
        )

        # On threads of the kernel's child, which a debugger can step through.
        self.run_cell(
            "let here = Cluster::in_memory().start()?;\n"
            "let y = here.share(&array![7.0])?;\n"
            'println!("{:?}", here.run(scale, (&y, 1))?.reveal()?.as_slice());\n'
            'println!("{}", here.run(scale, (&x, 1)).unwrap_err());',
            "Some([14.0])",
            "belongs to another cluster",
        )

        captures = "let n = 3; cluster.run(move |_: &mut Party, x: Rep| -> Result<Rep> { Ok(x.mul_word(n)) }, &x)?;"
        self.run_cell(captures, "Pass the values as arguments")

    def test_a_client_that_leaves_before_its_answers_harms_nobody(self):
        """As JupyterLab's server does, which asks a kernel that starts, again and again, and leaves with the first answer."""
        for _ in range(5):
            channels = [self.manager.connect_shell(), self.manager.connect_control()]
            for _ in range(100):
                for channel in channels:
                    self.manager.session.send(channel, "kernel_info_request")
            self.assertTrue(channels[0].poll(TIMEOUT_S * 1000))
            for channel in channels:
                channel.close(linger=0)
        self.run_cell("1 + 1", "2")
        control = self.client.control_channel
        control.send(self.client.session.msg("kernel_info_request"))
        self.assertEqual(control.get_msg(timeout=TIMEOUT_S)["msg_type"], "kernel_info_reply")

    def test_clients_that_come_as_others_go_find_a_kernel_that_answers(self):
        """As pages of JupyterLab and what its server asks on channels of its own for each of them."""
        # One that does not read what the kernel tells holds it up, for a while.
        self.client.stop_channels()
        before = []
        for number in range(2000):
            now = [self.manager.connect_shell() for _ in range(4)]
            for channel in now:
                self.manager.session.send(channel, "kernel_info_request")
            for channel in before:
                channel.close(linger=0)
            self.assertTrue(now[0].poll(LATE_S * 1000), f"the kernel does not answer client {4 * number}")
            before = now

    def test_a_client_that_comes_again_by_its_name_is_answered(self):
        """As all clients of one session do, whose channels have one identity: the end of the one it left is not its end."""
        self.client.stop_channels()
        before = []
        for number in range(1000):
            now = [self.manager.connect_shell(identity=name) for name in (b"ann", b"bob", b"eve", b"lab")]
            for channel in now:
                self.manager.session.send(channel, "kernel_info_request")
            for channel in before:
                channel.close(linger=0)
            for channel in now:
                self.assertTrue(channel.poll(LATE_S * 1000), f"the kernel does not answer the {number}th of a name")
            before = now
        for channel in before:
            channel.close(linger=0)

    def test_a_client_that_stops_reading_does_not_stop_the_kernel(self):
        """As one whose process is stopped, beside others of the same kernel; it hears what comes once it reads again."""
        stopped = self.manager.context.socket(zmq.SUB)
        self.addCleanup(stopped.close, linger=0)
        stopped.rcvhwm, stopped.rcvbuf = 1, 4096
        stopped.subscribe(b"")
        stopped.connect(f"tcp://{self.manager.ip}:{self.manager.iopub_port}")
        deadline = time.monotonic() + TIMEOUT_S
        while not stopped.poll(100):
            self.assertLess(time.monotonic(), deadline, "the client hears nothing")
            self.run_cell("1 + 1", "2")
        # More than the system's buffers for a connection hold, in few lines.
        self.run_cell('for line in 0..600 { println!("{line:016000}"); }', f"{599:016000}")

        heard, deadline = b"", time.monotonic() + TIMEOUT_S
        while b"again" not in heard:
            self.assertLess(time.monotonic(), deadline, "the client does not hear of what comes")
            self.run_cell('println!("again");', "again")
            while b"again" not in heard and stopped.poll(100):
                heard = b"".join(stopped.recv_multipart())

    def offered(self, code):
        """The names that may follow, of what completion offers."""
        reply = self.client.complete(code, reply=True, timeout=TIMEOUT_S)
        return {re.match(r"\w*", match).group() for match in reply["content"]["matches"]}

    def test_completion_offers_what_a_cell_may_use(self):
        self.start_cluster()
        self.run_cell("struct Mine { hidden: u32 }\nlet mine = Mine { hidden: 3 };")
        source = (SCRIPTS.parent / "cryptgpu-core/src/cluster/controller/cluster.rs").read_text()
        private = set(re.findall(r"^    (?:pub\(super\) )?(\w+): ", source.partition("pub struct Cluster {")[2].partition("\n}")[0], re.M))
        self.assertIn("inner", private)
        offered = self.offered("cluster.")
        self.assertLessEqual({"infer", "share", "run"}, offered)
        self.assertEqual(private & offered, set())
        self.assertIn("hidden", self.offered("mine."))

    def interrupt_when(self, code, started, says):
        """Runs a cell, interrupts it once it has printed `started`, and waits until it has ended and said `says`: what goes to
        standard error may come behind the end. Gives after how long the cell ended."""
        self.run_cell(code, until=started)
        began = time.monotonic()
        self.manager.interrupt_kernel()
        text, ended = "", None
        for message in filter(None, self.messages()):
            content = message["content"]
            text += content.get("text", "") + ANSI.sub("", "\n".join(content.get("traceback", [])))
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                ended = time.monotonic() - began
            if ended is not None and says in text:
                return ended
        self.fail(f"the cell did not end, or did not say `{says}`:\n{code}\n{text}")

    def test_an_interrupt_ends_a_run_and_keeps_variables(self):
        pids = self.start_cluster()
        self.run_cell(FOREVER)
        self.run_cell("let kept = 4242;")
        for _ in range(2):
            self.assertLess(self.interrupt_when("cluster.run(forever, ())?;", "started", "interrupted"), 2)
            self.assert_gone(pids)
            restarted = 'cluster.restart()?; println!("{kept}, pids {:?}", cluster.pids());'
            pids = self.pids_in(self.run_cell(restarted, "4242, pids ["))

        # What is no run ends with the process of the cells, whose variables are lost.
        self.interrupt_when('println!("started"); loop { std::hint::spin_loop() }', "started", "signal")
        self.assert_gone(pids)
        self.run_cell("1 + 1", "2")
        self.start_cluster()

    def test_a_restart_and_an_end_leave_no_process_behind_here_or_on_other_hosts(self):
        pids = self.start_cluster()
        self.run_cell(FOREVER)
        self.run_cell("cluster.run(forever, ())?;", until="started")
        self.manager.restart_kernel(now=False)
        self.assert_gone(pids)

        # Killed, also while a function of a cell runs on other hosts.
        self.connect()
        pids = self.start_cluster()
        hosts = self.start_hosts()
        self.functions_at_owners_parties()
        self.run_cell("far.run(forever, ())?;", until="started")
        self.assertGreaterEqual(len(hosts.left_over()), 6, hosts.left_over())
        self.manager.shutdown_kernel(now=True)
        self.assert_gone(pids)
        deadline = time.monotonic() + 10
        while hosts.left_over() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(hosts.left_over(), [])

    def start_hosts(self):
        """Starts a cluster over SSH, where functions of cells run; leaves one running."""
        folder = Path(tempfile.mkdtemp(prefix="cryptgpu-kernel-"))
        self.addCleanup(shutil.rmtree, folder)
        program = self.manager.kernel_spec.env["CRYPTGPU_PROGRAM"]
        hosts = Hosts(folder, program)
        self.addCleanup(hosts.stop)
        self.run_cell(
            f'let far = Cluster::hosts(Hosts::read("{folder}/cluster.toml")?).start()?;\n'
            "fn product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<(Rep, u32)> {\n"
            '    println!("at work in party {}", p.id());\n'
            "    Ok((p.mul(&x, &y)?.sum(), std::process::id()))\n"
            "}\n"
            "let x = far.share(&array![1.5, -2.0])?;\n"
            "let run = far.run(product, (&x, &x))?;\n"
            "let pids = run.outputs.each_ref().map(|output| output.1);\n"
            'println!("{:?}, in its own process: {}", run.outputs[0].0.reveal()?.as_slice(), far.pids() == pids);',
            "Some([6.25]), in its own process: true",
            *(f"[P{party}] at work in party {party}" for party in range(3)),
        )
        for party in range(3):
            self.assertTrue(list((folder / f"h{party}/cryptgpu/lib").glob("*/libcryptgpu*")), "shipped once, by digest")
        self.run_cell(FOREVER)
        return hosts

    def functions_at_owners_parties(self):
        """A function of a cell at parties that their owners have started: refused by its digest, allowed by it, and refused again
        where its code is too large; each log tells it."""
        folder = Path(tempfile.mkdtemp(prefix="cryptgpu-owners-"))
        self.addCleanup(shutil.rmtree, folder)
        library = next(Path(self.cache(), "evcxr/template").glob("target/*/debug/deps/libcryptgpu.so"))
        owners = Owners(folder, self.manager.kernel_spec.env["CRYPTGPU_PROGRAM"], library)
        self.addCleanup(owners.stop)
        owners.allow("functions = []\nadhoc = false")
        self.run_cell(
            f'let owned = Cluster::owners(Owners::read("{folder}/owners.toml")?).start()?;\n'
            "let ask: fn(&Cluster) -> String = |cluster| {\n"
            "    let product = |p: &mut Party, x: Rep| -> Result<Rep> { Ok(p.mul(&x, &x)?.sum()) };\n"
            "    let ask = || cluster.run(product, &cluster.share(&array![1.5, -2.0])?)?.reveal();\n"
            '    ask().map_or_else(|error| error.to_string(), |sum| format!("{:?}", sum.as_slice()))\n'
            "};\n"
            'println!("{}", ask(&owned));',
            "line 5 (`functions`) does not allow to run a function",
        )
        owners.allow(f"functions = ['{'0' * 64}']")
        said = self.run_cell('println!("{}", ask(&owned));', "and has the digest")
        digest = re.search(r"and has the digest ([0-9a-f]{64}), in an object with the digest ([0-9a-f]{64})", said)
        self.assertIsNotNone(digest, said)
        for allowed in digest.groups():
            owners.allow(f"functions = ['{allowed}']")
            self.run_cell('owned.restart()?; println!("{}", ask(&owned));', "Some([6.25])")
        owners.allow("adhoc = true\n[limits]\ncode_mib = 0")
        self.run_cell('owned.restart()?; println!("{}", ask(&owned));', "(`code_mib`) does not allow to keep")
        self.run_cell("drop(owned);")
        for log in owners.logs():
            runs = [line["event"] for line in log if line.get("function") == digest[1]]
            self.assertEqual(runs, ["run", "run"], log)
            self.assertEqual(sum(line["event"] == "refused" for line in log), 3, log)
            self.assertRegex(log[0]["runtime"], "^[0-9a-f]{64}$")

    def test_values_show_themselves_and_a_broken_cell_is_an_error(self):
        self.start_cluster()
        for cell, shown in [
            ("cluster", "Three parties, each a process of its own"),
            ("cluster.share(&ndarray::Array4::<f64>::zeros((1, 1, 2, 2)))?", "a share of shape [1, 1, 2, 2]"),
            ('cluster.load_model("lenet", WeightSource::Bundled)?', "lenet: 1×28×28 to 10"),
            ('zoo::by_name("lenet")?', "multiply-accumulates"),
            ("Cost { bytes: 8, rounds: 1 }", "1 round, 8 bytes"),
        ]:
            self.run_cell(cell, shown)
        self.run_cell("let a = std::", "end of input")
        self.run_cell("1 + 1", "2")

        # Variables have types of both libraries and of what these are made with.
        self.run_cell(
            ':dep cryptgpu-frame = { path = "frame" }\n'
            "use cryptgpu_frame::prelude::*;\n"
            'let records = frame::from_json(&[json!({"a": 42})])?;\n'
            "let (frame, array, value) = (DataFrame::clone(&records), array![1.5, 2.5], json!([3]));\n"
            'let column = frame.column("a")?.clone();\n'
            "let doubled: Vec<_> = array.iter().map(|x| x * 2.0).collect();"
        )
        self.run_cell('println!("{column:?} {doubled:?} {value} {}", frame.height());', "[3.0, 5.0] [3] 1")
        self.assertEqual(list(Path(self.cache(), "evcxr/kernels").glob("*/whole-graph")), [])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
