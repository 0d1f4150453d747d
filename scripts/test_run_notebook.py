"""Tests of the headless runner and, through it, of the kernel: real notebooks, each in a kernel of its own."""

import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import drift

SCRIPTS = Path(__file__).resolve().parent
FRAME = SCRIPTS.parent / "notebooks" / "frame"


class Headless(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "notebook.ipynb"

    def run_cells(self, *cells, options=()):
        """Runs a notebook of these cells; gives the runner's result and the notebook as it left it."""
        nbformat.write(new_notebook(cells=[new_markdown_cell("# A test"), *map(new_code_cell, cells)]), self.path)
        run = subprocess.run(
            [SCRIPTS / "run-notebook", *options, self.path], capture_output=True, text=True, timeout=600
        )
        return run, nbformat.read(self.path, as_version=4)

    def assert_fails(self, run, cell, message):
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn(f"cell {cell} failed", run.stderr)
        self.assertIn(message, run.stderr)

    def test_outputs_are_kept_and_others_than_the_committed_ones_are_told(self):
        cells = (
            f':dep cryptgpu-frame = {{ path = "{FRAME}" }}\nuse cryptgpu_frame::prelude::*;',
            'println!("one"); eprintln!("{} words", 2); println!("three");',
            'let table = frame::from_json(&[json!({"network": "LeNet", "seconds": 0.0123456})])?;\ntable',
            "Picture::new(Array3::<u8>::zeros((1, 28, 28)).view())?",
            "use cryptgpu_frame::plotters::prelude::*;\n"
            "let line = Figure::draw((100, 50), |c| { c.fill(&WHITE)?; Ok(()) })?;\n"
            "Bundle::new().with(&table).with(&line)",
        )
        # The cells come without outputs, so those of the run are others than the committed ones.
        run, notebook = self.run_cells(*cells, options=["--compare"])
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn("cell 3: kinds of output: committed [], now ['stderr', 'stdout']", run.stderr)
        self.assertIn(f"scripts/refresh-notebooks {self.path.resolve()}", run.stderr)
        self.assertNotIn("failed", run.stderr)
        _, dep, prints, table, picture, both = notebook.cells
        self.assertEqual([cell.execution_count for cell in (dep, prints, both)], [1, 2, 5])
        streams = {name: "".join(o.text for o in prints.outputs if o.name == name) for name in ("stdout", "stderr")}
        self.assertEqual(streams, {"stdout": "one\nthree\n", "stderr": "2 words\n"})
        self.assertIn('<td style="text-align:right">0.012346</td>', table.outputs[0].data["text/html"])
        self.assertIn("LeNet", table.outputs[0].data["text/plain"])
        self.assertIn("image/png", picture.outputs[0].data)
        html = both.outputs[0].data["text/html"]
        self.assertTrue("<table" in html and "<svg" in html, html)
        self.assertEqual(notebook.metadata.kernelspec.name, "cryptgpu")
        self.assertNotIn(str(SCRIPTS.parent), "".join(str(cell.outputs) for cell in notebook.cells[1:]))

    def test_a_panic_fails(self):
        run, notebook = self.run_cells("1 + 1", 'if true { panic!("out of cheese"); }', "3")
        self.assert_fails(run, 3, "out of cheese")
        self.assertEqual(notebook.cells[1].outputs[0].data["text/plain"], "2")
        self.assertIsNone(notebook.cells[3].execution_count)

    def test_a_question_mark_fails_and_a_copy_leaves_the_notebook_as_it_is(self):
        copies = self.path.parent / "copies"
        copies.mkdir()
        cells = ('let error = 7; eprintln!("{}", error); 1 + 1', 'let n: u8 = "many".parse()?;\nn')
        run, notebook = self.run_cells(*cells, options=["--output-dir", copies])
        self.assert_fails(run, 3, "invalid digit found in string")
        self.assertIsNone(notebook.cells[1].execution_count)
        copy = nbformat.read(copies / self.path.name, as_version=4)
        self.assertEqual([o.data["text/plain"] for o in copy.cells[1].outputs if "data" in o], ["2"])

    def test_a_cell_that_does_not_compile_fails(self):
        run, _ = self.run_cells("cluster_that_is_not_there()")
        self.assert_fails(run, 2, "cannot find function `cluster_that_is_not_there`")

    def test_a_cell_that_does_not_end_fails(self):
        run, _ = self.run_cells("loop { std::thread::park(); }", options=["--timeout", "3"])
        self.assert_fails(run, 2, "--timeout")

    def test_numbers_and_progress_may_differ_and_words_and_headings_may_not(self):
        def notebook(text, table="<th>time, 3 ms</th>", stream="stdout"):
            shown = new_output("execute_result", data={"text/html": f"<table>{table}<td>4</td></table>", "text/plain": text})
            return new_notebook(cells=[new_code_cell("", outputs=[new_output("stream", name=stream, text=text), shown])])

        committed = notebook("it holds\n5 digits in 30ms, pid 7\n")
        same = notebook("loss: 3 of 9, 5 s, about 9 s to go\n5 digits in 1.2 s, pid 12\nit  holds\n", "<th>time, 1.02 s</th>")
        self.assertEqual(drift.differences(committed, same), [])
        for other, what in [
            (notebook("it does not hold\n5 digits in 30ms, pid 7\n"), "lines on stdout"),
            (notebook("it holds\n", "<th>bytes</th>"), "headings"),
            (notebook("it holds\n", "<th>time, 3 ms</th><svg></svg>"), "tables and pictures"),
            (notebook("it holds\n", stream="stderr"), "kinds of output"),
        ]:
            self.assertIn(f"cell 1: {what}: ", "\n".join(drift.differences(committed, other)))

    def test_a_missing_notebook_is_named(self):
        run = subprocess.run([SCRIPTS / "run-notebook", "nowhere.ipynb"], capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 2)
        self.assertIn("nowhere.ipynb", run.stderr)

    def test_a_folder_that_is_not_there_is_noticed_before_anything_runs(self):
        missing = self.path.parent / "nowhere"
        began = time.monotonic()
        run, notebook = self.run_cells("1 + 1", options=["--output-dir", missing])
        self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
        self.assertIn(f"--output-dir {missing} is not a folder", run.stderr)
        self.assertNotIn("Traceback", run.stderr)
        self.assertIsNone(notebook.cells[1].execution_count)
        self.assertLess(time.monotonic() - began, 30)

    def test_runs_that_share_a_list_leave_to_each_other_what_is_begun(self):
        shared = self.path.parent / "shared"
        shared.mkdir()
        nbformat.write(new_notebook(cells=[new_code_cell("not Rust")]), self.path)
        (shared / str(self.path.resolve()).replace("/", "%2F")).touch()
        run = subprocess.run(
            [SCRIPTS / "run-notebook", "--share", shared, self.path], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        self.assertEqual([mark.name.count("%2F") > 0 for mark in shared.iterdir()], [True])

    def test_only_one_script_changes_committed_notebooks(self):
        """Of the scripts that execute notebooks, all but one write copies elsewhere."""
        callers = [path for path in SCRIPTS.iterdir() if path.is_file() and path.suffix == ""]
        calls = {path.name: [line for line in path.read_text().splitlines() if '/run-notebook"' in line] for path in callers}
        in_place = {name for name, lines in calls.items() if any("--output-dir" not in line for line in lines)}
        self.assertEqual(in_place, {"refresh-notebooks"})

    def test_every_tutorial_ends_with_exercises_whose_solutions_are_folded(self):
        folder = SCRIPTS.parent / "notebooks" / "tutorials"
        for path in sorted(folder.glob("*.ipynb")):
            cells = nbformat.read(path, as_version=4).cells
            solutions = [i for i, cell in enumerate(cells) if "solution" in cell.metadata.get("tags", [])]
            self.assertIn(len(solutions), (2, 3), path.name)
            self.assertEqual(solutions[-1], len(cells) - 1, path.name)
            for i in solutions:
                folded = {"source_hidden": True, "outputs_hidden": True}
                self.assertEqual(cells[i].metadata.get("jupyter"), folded, f"{path.name}: cell {i + 1}")
                # The cell that a reader changes, and before it what is asked.
                self.assertEqual([cell.cell_type for cell in cells[i - 2 : i]], ["markdown", "code"], path.name)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
