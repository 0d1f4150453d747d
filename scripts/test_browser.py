"""JupyterLab and the book in a real browser: Debian's chromium, without a window.

A notebook is opened, completed, run, interrupted, restarted and run again as a person does it. What it shows is looked at:
no figure is cut off, nothing is shown as raw `Debug` text, no wall of text. Neither JupyterLab nor the book may ask another
host for anything. A failure leaves a picture of the page in `results/browser`."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

try:
    from playwright.sync_api import Error, sync_playwright
except ImportError:
    sync_playwright = None

import book

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "results/browser"
CHROMIUM = shutil.which("chromium")
WAIT_MS = 240_000
READY = re.compile(r"Rust \(CryptGPU\) \| (Idle|Busy)")
IDLE = re.compile(r"Rust \(CryptGPU\) \| Idle")
METADATA = {"kernelspec": {"display_name": "Rust (CryptGPU)", "language": "rust", "name": "cryptgpu"}}
CELLS = [
    'let cluster = Cluster::local().threads(1).start()?;\nprintln!("three parties");',
    "cluster.share(&array![1.5, -2.0])?",
    f':dep cryptgpu-frame = {{ path = "{ROOT}/notebooks/frame" }}\nuse cryptgpu_frame::prelude::*;',
    "fn product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> { Ok(p.mul(&x, &y)?.sum()) }\n"
    "let x = cluster.share(&array![1.5, -2.0])?;\n"
    "let run = cluster.run(product, (&x, &x))?;\n"
    "Bundle::new().with(&plots::timeline(&run.trace())?).with(&tables::trace(&run.trace())?)",
    "cluster.pids().len()",
]
FOREVER = (
    "fn forever(_: &mut Party, (): ()) -> Result<()> {\n"
    '    println!("started");\n'
    "    loop { std::hint::spin_loop() }\n"
    "}\n"
    "cluster.run(forever, ())?;"
)
# Whether all cells have numbers, one after the other from the kernel's first.
NUMBERED = """() => {
    const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
    const numbers = prompts.map(prompt => parseInt(prompt.innerText.replace('[', '')));
    return numbers[0] <= 2 && numbers.every((number, index) => number === numbers[0] + index);
}"""
# What is wrong with what a page shows, a line each: `outputs` is a selector of what cells have shown.
FAULTS = """outputs => {
    const faults = [], box = element => element.getBoundingClientRect();
    for (const output of document.querySelectorAll(outputs)) {
        for (const figure of output.querySelectorAll('svg, img')) {
            const edge = box(figure), room = box(output);
            if (edge.width < 1 || edge.height < 1) continue; // folded away
            if (edge.right > room.right + 1 && output.scrollWidth <= output.clientWidth)
                faults.push(`a figure of ${Math.round(edge.width)} pixels is cut off at ${Math.round(room.width)}`);
            for (const text of figure.querySelectorAll('text, rect, circle')) {
                const part = box(text);
                const beyond = Math.max(edge.left - part.left, part.right - edge.right, edge.top - part.top, part.bottom - edge.bottom);
                if (part.width > 0 && beyond > 2)
                    faults.push(`"${text.textContent || text.tagName}" reaches ${Math.round(beyond)} pixels out of its figure`);
            }
        }
        const text = output.innerText || '';
        const debug = text.match(/\\b[A-Z]\\w* \\{ \\w+: .{0,40}/);
        if (debug) faults.push(`raw Debug text: ${debug[0]}`);
        const lines = [...output.querySelectorAll('pre')].map(pre => pre.innerText.split('\\n').length);
        if (Math.max(0, ...lines) > 60) faults.push(`a wall of ${Math.max(...lines)} lines of text`);
    }
    return faults;
}"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@unittest.skipUnless(CHROMIUM and sync_playwright, "chromium or playwright is missing (scripts/lib.sh, ensure_chromium)")
class Browser(unittest.TestCase):
    """One browser for all tests; what it asks other hosts for is noted, and not given."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        driver = sync_playwright().start()
        cls.addClassCleanup(driver.stop)
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        cls.chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        cls.addClassCleanup(cls.chromium.close)

    def setUp(self):
        self.outside = []
        context = self.chromium.new_context(viewport={"width": 1280, "height": 900})
        self.addCleanup(context.close)
        context.route("**/*", self.let_through)
        context.on("request", self.note)
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)

    def tearDown(self):
        self.assertEqual(self.outside, [], "asked of other hosts")

    def inside(self, url):
        parts = urlsplit(url)
        return parts.scheme in ("data", "blob", "file", "about") or parts.hostname in ("127.0.0.1", "localhost")

    def note(self, request):
        if not self.inside(request.url):
            self.outside.append(request.url)

    def let_through(self, route):
        route.continue_() if self.inside(route.request.url) else route.abort()

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def assert_shown_well(self, outputs, name):
        faults = self.page.evaluate(FAULTS, outputs)
        if faults:
            self.fail(f"{name}: " + "; ".join(faults[:5]) + f" ({self.picture(name)})")

    def start_lab(self):
        """JupyterLab on a folder with one notebook, with the settings of `scripts/lab` and none of the user's; its address."""
        notebook = new_notebook(cells=[new_markdown_cell("# A test"), *map(new_code_cell, CELLS)], metadata=METADATA)
        nbformat.write(notebook, self.folder / "test.ipynb")
        port = free_port()
        own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
        environment = {**os.environ, **{name: str(self.folder / name) for name in own}}
        environment.pop("CRYPTGPU_HEADLESS", None)
        with open(self.folder / "log", "w") as log:
            lab = subprocess.Popen(
                [Path(sys.executable).parent / "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}"]
                + ["--ServerApp.port_retries=0", "--IdentityProvider.token=test"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(self.stop, lab)
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and lab.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/api?token=test", timeout=5).close()
                return f"{address}/lab/tree/test.ipynb?token=test"
            except OSError:
                time.sleep(0.1)
        self.fail(f"JupyterLab did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, lab):
        """Ends JupyterLab, which ends its kernels."""
        lab.terminate()
        try:
            lab.wait(30)
        except subprocess.TimeoutExpired:
            lab.kill()
            lab.wait()

    def cell(self, number):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number, text):
        """Waits until a cell has shown a text."""
        self.cell(number).locator(".jp-OutputArea").get_by_text(text).first.wait_for()

    def write(self, number, code):
        """Puts code in the place of what a cell has."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)

    def run_cell(self, number):
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def press(self, command):
        self.page.locator(f'.jp-NotebookPanel-toolbar [data-command="{command}"]').first.click()

    def restart_and_run_all(self):
        """Waits until all cells have run in a new kernel."""
        self.press("notebook:restart-run-all")
        self.page.locator(".jp-Dialog .jp-mod-accept, .jp-Dialog .jp-mod-warn").last.click()
        # Cells count from the start of their kernel, which takes one number itself: the first one ran as the third before.
        self.page.wait_for_function(NUMBERED)

    def test_a_notebook_in_jupyterlab(self):
        try:
            self.use_a_notebook(self.start_lab())
        except (AssertionError, Error) as error:
            log = (self.folder / "log").read_text()[-4000:]
            raise AssertionError(f"{error}\nthe page: {self.picture('jupyterlab')}\nJupyterLab said:\n{log}") from None

    def use_a_notebook(self, address):
        scratch = len(CELLS)
        began = time.monotonic()
        self.page.goto(address)
        self.cell(scratch).wait_for()
        opened = time.monotonic() - began
        # Before there is a kernel, JupyterLab runs nothing, or asks which one should.
        self.page.locator("#jp-bottom-panel").get_by_text(READY).wait_for()
        ready = time.monotonic() - began
        self.run_cell(1)
        self.output(1, "three parties")
        took = time.monotonic() - began
        print(f"a notebook is open after {opened:.1f} s, its kernel after {ready:.1f} s, its first result after {took:.1f} s")

        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.output(scratch, "3")
        self.output(2, "a share of shape [2]")
        self.cell(4).locator("svg").first.wait_for()
        self.assert_shown_well(".jp-OutputArea-output", "jupyterlab-figures")

        self.write(scratch, "cluster.")
        self.page.keyboard.press("Tab")
        self.page.locator(".jp-Completer-item").first.wait_for()
        offered = [text.partition("(")[0] for text in self.page.locator(".jp-Completer-match").all_inner_texts()]
        self.assertLessEqual({"infer", "share", "run"}, set(offered), "what may be called")
        self.assertNotIn("inner", offered, "private members")
        self.page.keyboard.press("Escape")

        self.write(scratch, 'let right = 1;\nlet wrong: u8 = "text";')
        self.run_cell(scratch)
        self.output(scratch, "mismatched types")
        said = self.cell(scratch).locator(".jp-OutputArea").inner_text()
        self.assertRegex(said, r'let wrong: u8 = "text";')
        self.assertRegex(said, r"expected `u8`")
        self.assertNotIn("src/lib.rs", said)

        self.write(scratch, FOREVER)
        self.run_cell(scratch)
        self.output(scratch, "started")
        self.press("notebook:interrupt-kernel")
        self.output(scratch, "interrupted")
        self.write(scratch, "cluster.pids().len()")
        # JupyterLab takes a kernel that it restarts in the middle of a cell for one that has died.
        self.page.locator("#jp-bottom-panel").get_by_text(IDLE).wait_for()
        self.restart_and_run_all()
        self.output(scratch, "3")

    def test_pages_of_notebooks_in_the_book(self):
        book.build(self.folder / "book")
        pages = [path.relative_to(ROOT).with_suffix(".html") for path in book.notebooks()]
        for page in [Path("index.html"), Path("docs/layers.html"), *pages]:
            self.page.goto((self.folder / "book" / page).as_uri())
            self.assertNotEqual(self.page.title(), "")
            self.assert_shown_well(".output, main p:has(> img)", str(page).replace("/", "-"))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
