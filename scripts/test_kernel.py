"""Tests of functions of cells in party processes, with a real kernel: they run there, an edited one runs as edited, a fault
is told and the next cell works, an interrupt ends a run and keeps variables, and neither an interrupt nor a restart nor an
end of the kernel leaves a process behind."""

import os
import re
import sys
import time
import unittest
from pathlib import Path
from queue import Empty

from jupyter_client.manager import KernelManager

SCRIPTS = Path(__file__).resolve().parent
TIMEOUT_S = 180
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


class Cells(unittest.TestCase):
    """One kernel for all of them, as a start of it takes half a minute; a test that leaves none makes the next one start it."""

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

    def connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.addCleanup(self.client.stop_channels)
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def run_cell(self, code, until=None):
        """Runs a cell to its end, or until it has printed `until`; gives what it printed and what it showed."""
        request = self.client.execute(code)
        text, deadline = "", time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            text += content.get("text", "") + ANSI.sub("", "\n".join(content.get("traceback", [])))
            text += content.get("data", {}).get("text/plain", "")
            if until is not None and until in text:
                return text
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return text
        self.fail(f"the cell did not end:\n{code}\n{text}")

    def start_cluster(self):
        """Starts a cluster in a cell; gives its processes."""
        text = self.run_cell(START)
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
        text = self.run_cell(
            "fn scale(p: &mut Party, (x, n): (Rep, u64)) -> Result<(Rep, u32)> {\n"
            '    println!("at work in party {}", p.id());\n'
            "    Ok((x.mul_word(n), std::process::id()))\n"
            "}\n"
            "let x = cluster.share(&array![1.0, -2.0])?;\n"
            "let run = cluster.run(scale, (&x, 3))?;\n"
            'println!("{:?} at {:?}", run.outputs[0].0.reveal()?.as_slice(), run.outputs.each_ref().map(|o| o.1));'
        )
        self.assertIn(f"Some([3.0, -6.0]) at {pids}", text)
        for party in range(3):
            self.assertIn(f"[P{party}] at work in party {party}", text)

        # The same name, other code.
        text = self.run_cell(
            "fn scale(_: &mut Party, (x, n): (Rep, u64)) -> Result<Rep> { Ok(x.mul_word(n + 1)) }\n"
            'println!("{:?}", cluster.run(scale, (&x, 3))?.reveal()?.as_slice());'
        )
        self.assertIn("Some([4.0, -8.0])", text)

        # A type of the cell, and a fault, of which the next cell knows nothing.
        text = self.run_cell(
            "#[derive(Serialize, Deserialize)]\n"
            '#[serde(crate = "cryptgpu::serde")]\n'
            "struct Options { name: String }\n"
            "fn fault(p: &mut Party, Plain(options): Plain<Options>) -> Result<()> {\n"
            '    p.step("cooking", |p| if p.id().index() == 1 { panic!("no {}", options.name) } else { Ok(()) })\n'
            "}\n"
            'println!("{}", cluster.run(fault, Plain(Options { name: "tea".into() })).unwrap_err());'
        )
        self.assertIn("party 1 failed in job fault at step cooking: panicked: no tea", text)
        self.assert_gone(pids)
        text = self.run_cell(
            "let x = cluster.share(&array![5.0])?;\n"
            'println!("{:?}", cluster.run(scale, (&x, 1))?.reveal()?.as_slice());'
        )
        self.assertIn("Some([10.0])", text)

        # On threads of the kernel's child, which a debugger can step through.
        text = self.run_cell(
            "let here = Cluster::in_memory().start()?;\n"
            "let y = here.share(&array![7.0])?;\n"
            'println!("{:?}", here.run(scale, (&y, 1))?.reveal()?.as_slice());\n'
            'println!("{}", here.run(scale, (&x, 1)).unwrap_err());'
        )
        self.assertIn("Some([14.0])", text)
        self.assertIn("belongs to another cluster", text)

        text = self.run_cell("let n = 3; cluster.run(move |_: &mut Party, x: Rep| -> Result<Rep> { Ok(x.mul_word(n)) }, &x)?;")
        self.assertIn("Pass the values as arguments", text)

    def interrupt_when(self, code, started, says):
        """Runs a cell, interrupts it once it has printed `started`, and waits until it has ended and said `says`: what goes to
        standard error may come behind the end. Gives after how long the cell ended."""
        self.run_cell(code, until=started)
        began = time.monotonic()
        self.manager.interrupt_kernel()
        text, ended = "", None
        while time.monotonic() - began < TIMEOUT_S:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
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
            text = self.run_cell("cluster.restart()?; println!(\"{kept}, pids {:?}\", cluster.pids());")
            self.assertIn("4242, pids", text)
            pids = [int(pid) for pid in re.findall(r"\d+", text.split("pids")[1])]
            self.assertTrue(all(map(exists, pids)), pids)

        # What is no run ends with the process of the cells, whose variables are lost.
        self.interrupt_when('println!("started"); loop { std::hint::spin_loop() }', "started", "signal")
        self.assert_gone(pids)
        self.assertIn("2", self.run_cell("1 + 1"))
        self.start_cluster()

    def test_a_restart_and_an_end_leave_no_process_behind(self):
        pids = self.start_cluster()
        self.run_cell(FOREVER)
        self.run_cell("cluster.run(forever, ())?;", until="started")
        self.manager.restart_kernel(now=False)
        self.assert_gone(pids)

        self.connect()
        pids = self.start_cluster()
        self.manager.shutdown_kernel(now=False)
        self.assert_gone(pids)

    def test_values_show_themselves_and_a_broken_cell_is_an_error(self):
        self.start_cluster()
        for cell, shown in [
            ("cluster", "Three parties, each a process of its own"),
            ("cluster.share(&ndarray::Array4::<f64>::zeros((1, 1, 2, 2)))?", "a share of shape [1, 1, 2, 2]"),
            ('cluster.load_model("lenet", WeightSource::Bundled)?', "lenet: 1×28×28 to 10"),
            ('zoo::by_name("lenet")?', "multiply-accumulates"),
            ("Cost { bytes: 8, rounds: 1 }", "1 round, 8 bytes"),
        ]:
            self.assertIn(shown, self.run_cell(cell))
        self.assertIn("end of input", self.run_cell("let a = std::"))
        self.assertIn("2", self.run_cell("1 + 1"))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
