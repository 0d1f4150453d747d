"""Executes Rust notebooks headless and fails at the first cell that fails.

Jupyter's own runners are not enough for evcxr, which calls a cell "ok" when a `?` in it returned an error. The kernel
of this project notes such an error in a file (see `cryptgpu::cell`), and this runner looks there after every cell. It
also writes the notebook so that running it again changes as little as possible: no timings, no versions, no paths of
this machine, cells numbered from 1.
"""

import argparse
import copy
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from queue import Empty

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

import drift

KERNEL = "cryptgpu"
METADATA = {
    "kernelspec": {"display_name": "Rust (CryptGPU)", "language": "rust", "name": KERNEL},
    "language_info": {"file_extension": ".rs", "mimetype": "text/rust", "name": "Rust"},
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# A thread that a cell started has panicked; a panic of the cell itself ends the kernel's child, which is an error. One of
# a party on a thread (P0, P1, P2) comes back to the cell as an error like any other.
THREAD_PANIC = re.compile(r"^thread '(?!P[012]').*' (\(\d+\) )?panicked at .*\n.*", re.MULTILINE)
# The kernel forwards what a cell prints on its own time: how long to wait for lines that come after the cell's end.
STRAGGLERS_S = 0.15


class Failure(Exception):
    """A cell failed; the text is for people."""


class Drift(Failure):
    """The outputs are not of the shape of the committed ones."""


class Runner(NotebookClient):
    """Runs the cells of one notebook, and knows which cell is running."""

    def __init__(self, notebook, path, noted, **settings):
        super().__init__(notebook, on_cell_start=self.starts, on_cell_executed=self.executed, **settings)
        self.name, self.noted, self.running = path.name, noted, 0
        self.began = time.monotonic()

    def starts(self, cell, cell_index):
        self.running = cell_index

    async def executed(self, cell, cell_index, execute_reply):
        """After a cell that the kernel calls ok: collects its last lines, and looks for hidden errors."""
        try:
            while True:
                message = await self.kc.iopub_channel.get_msg(timeout=STRAGGLERS_S)
                self.process_message(message, cell, cell_index)
        except Empty:
            pass
        took = time.monotonic() - self.began
        print(f"{self.name}: cell {cell_index + 1} of {len(self.nb.cells)} done after {took:.1f} s", flush=True)
        if noted := self.noted.read_text():
            raise Failure(f"`?` returned an error: {noted.strip()}")
        if panic := THREAD_PANIC.search(written(cell, "stderr")):
            raise Failure(panic.group())


def written(cell, stream):
    """What a cell wrote to a stream."""
    return ANSI.sub("", "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == stream))


def reason(cell, error):
    """Why a cell failed, with what the compiler or the panic said."""
    if isinstance(error, Failure):
        return str(error)
    if isinstance(error, CellTimeoutError):
        return "it did not end within the time allowed (--timeout)"
    if isinstance(error, DeadKernelError):
        return "the kernel died\n" + written(cell, "stderr")
    lines = [line for o in cell.outputs if o.output_type == "error" for line in o.get("traceback") or [o.evalue]]
    return (written(cell, "stderr") + ANSI.sub("", "\n".join(lines))).strip()


def normalise(notebook, root):
    """Removes what changes from run to run and from machine to machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index + 1:02}"
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code" or cell.execution_count is None:
            continue
        count += 1
        cell.execution_count = count
        merged = []
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if output.output_type == "stream":
                output.text = output.text.replace(str(root), ".").replace(str(Path.home()), "~")
                # The kernel sends line by line: joined, the file does not depend on timing.
                if merged and merged[-1].output_type == "stream" and merged[-1].name == output.name:
                    merged[-1].text += output.text
                    continue
            merged.append(output)
        cell.outputs = merged


def execute(path, timeout, output, compare=False):
    """Runs one notebook and writes it with its outputs, those of a failed cell included, to `output`. With `compare` it fails
    where they are no longer of the shape of those that the notebook came with."""
    notebook = nbformat.read(path, as_version=4)
    committed = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as directory:
        noted = Path(directory) / "errors"
        noted.touch()
        os.environ["CRYPTGPU_CELL_ERRORS"] = str(noted)
        runner = Runner(
            notebook,
            path,
            noted,
            kernel_name=KERNEL,
            timeout=timeout,
            startup_timeout=300,
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
        )
        try:
            runner.execute()
        except (Failure, CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            cell = notebook.cells[runner.running]
            raise Failure(
                f"{path}: cell {runner.running + 1} failed\n\n{cell.source}\n\n{reason(cell, error)}"
            ) from None
        finally:
            normalise(notebook, Path(__file__).resolve().parent.parent)
            nbformat.write(notebook, output)
    if compare and (changed := drift.differences(committed, notebook)):
        raise Drift(
            f"{path}: the committed outputs are not those of the code:\n  " + "\n  ".join(changed)
            + f"\nExecute it in place and look at the difference: scripts/refresh-notebooks {path}"
        )
    code = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{path}: {code} cells in {time.monotonic() - runner.began:.1f} s")


def places(parser, arguments):
    """Where each notebook is written; what cannot work ends the program here, before a minute of work."""
    for path in arguments.notebook:
        if not path.is_file():
            parser.error(f"there is no notebook {path}")
    folder = arguments.output_dir
    if folder and not folder.is_dir():
        parser.error(f"--output-dir {folder} is not a folder: make it first (mkdir -p {folder})")
    if arguments.share and not arguments.share.is_dir():
        parser.error(f"--share {arguments.share} is not a folder: make it first (mkdir -p {arguments.share})")
    outputs = [folder / path.name if folder else path for path in arguments.notebook]
    for path, output in zip(arguments.notebook, outputs):
        if outputs.count(output) > 1:
            parser.error(f"two notebooks would be written to {output}: run them one by one, to folders of their own")
        # A notebook appears by writing to it, or in its folder.
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            parser.error(f"{output} cannot be written: choose a folder of yours with --output-dir")
    return outputs


def claimed(path, folder):
    """Whether this run takes a notebook: without a folder always, else the first of the runs that ask for it."""
    if folder is None:
        return True
    mark = str(path.resolve()).replace("%", "%25").replace("/", "%2F")
    try:
        (folder / mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/run-notebook",
        description="Executes notebooks in place, without a browser. Ends with 1 if a cell fails: if it does not "
        "compile, panics, runs out of time, or ends early because a `?` in it returned an error.",
    )
    parser.add_argument("notebook", type=Path, nargs="+", help="a notebook for the kernel Rust (CryptGPU)")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="leave the notebook as it is, write it here")
    parser.add_argument(
        "--compare", action="store_true", help="fail where the outputs are of another shape than those in the notebook"
    )
    parser.add_argument(
        "--share",
        type=Path,
        metavar="DIR",
        help="leave out what another run with this folder has begun, so that several runs share a list",
    )
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="seconds that a cell may take (%(default)s)")
    arguments = parser.parse_args()
    outputs, status = places(parser, arguments), 0
    for path, output in zip(arguments.notebook, outputs):
        if not claimed(path, arguments.share):
            continue
        try:
            execute(path.resolve(), arguments.timeout, output, arguments.compare)
        except Drift as drifted:
            print(drifted, file=sys.stderr)
            status = 1
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 1
        except NoSuchKernel:
            print("the kernel is not installed: run scripts/setup", file=sys.stderr)
            return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
