"""Builds the book of the guides and the executed notebooks: `scripts/book` calls this with the folder to write to.

The pages keep the places that they have in the checkout, so that links between them hold. A notebook becomes a page with
its committed outputs; a layer of the core becomes a page with what its `mod.rs` says. A link to a file that is no page
becomes plain text. What is in the folders is in the book: nothing has to be entered anywhere.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

import layers

ROOT = Path(__file__).resolve().parent.parent
# Guides in the order in which they are read; others follow by name.
GUIDES = ["hosts", "onnx", "training", "precision-and-range", "precision", "security", "protocols", "performance", "gpu", "layers", "adding-an-operation"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# A link, or what links are not looked for in: code, and what HTML shows of outputs.
LINK_OR_CODE = re.compile(
    rf'^(?:```|~~~).*?^(?:```|~~~)|^<div class="output">.*?</div>$|{LINK.pattern}|`[^`\n]*`', re.MULTILINE | re.DOTALL
)


def title_of(text, path):
    """The first heading of a page."""
    found = re.search(r"^# (.+)$", FENCED.sub("", text), re.MULTILINE)
    return found[1].strip() if found else path.stem


def sources():
    """Every page's place in the checkout with the text of the page."""
    pages = {"README.md": (ROOT / "README.md").read_text(), "notebooks/README.md": (ROOT / "notebooks/README.md").read_text()}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        pages[str(path.relative_to(ROOT))] = path.read_text()
    for path in notebooks():
        pages[str(path.relative_to(ROOT))] = page_of(nbformat.read(path, as_version=4))
    pages.update(layers.pages(ROOT))
    decisions = [place for place in pages if place.startswith("docs/adr/")]
    entries = "\n".join(f"- [{title_of(pages[place], Path(place))}]({Path(place).name})" for place in decisions)
    pages["docs/adr/README.md"] = f"# Decisions\n\nWhy things are as they are, one decision a page.\n\n{entries}\n"
    return pages


def notebooks():
    """The notebooks of the checkout: those of the folder and of its subfolders."""
    found = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks").glob("*/*.ipynb")]
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def page_of(notebook):
    """A notebook as a page: its text, its code, and its outputs as they are committed."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        if cell.cell_type != "code":
            continue
        shown = [f"```rust,ignore\n{cell.source}\n```", *filter(None, map(output_of, cell.outputs))]
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            shown = ['<details class="solution"><summary>Solution</summary>', *shown, "</details>"]
        parts += shown
    return "\n\n".join(parts) + "\n"


def output_of(output):
    """An output as one block of HTML. A blank line would end the block, so there is none."""
    if output.output_type == "stream":
        return preformatted(output.text, output.name)
    if output.output_type == "error":
        return preformatted("\n".join(output.traceback), "stderr")
    data = output.data
    if "text/html" in data:
        shown = re.sub(r"\n\s*\n+", "\n", data["text/html"]).strip()
    elif "image/svg+xml" in data:
        shown = re.sub(r"\n\s*\n+", "\n", data["image/svg+xml"]).strip()
    elif "image/png" in data:
        shown = f'<img alt="{html.escape(data.get("text/plain", "a picture"))}" src="data:image/png;base64,{data["image/png"].strip()}">'
    else:
        return preformatted(data.get("text/plain", ""), "stdout")
    return f'<div class="output">{shown}</div>'


def preformatted(text, stream):
    text = html.escape(ANSI.sub("", text).rstrip()).replace("\n", "&#10;")
    return f'<div class="output"><pre class="{stream}">{text}</pre></div>' if text else ""


def page_path(place):
    """Where the page of a file lies in the book's sources."""
    path = Path(place)
    return path.with_name("index.md") if path.name == "README.md" else path.with_suffix(".md")


def linked(text, place, pages, images):
    """The text with links that hold in the book. Images that it shows are added to `images`."""

    def replaced(found):
        image, label, target = found.groups()
        if target is None or re.match(r"[a-z]+:", target) or target.startswith("#"):
            return found[0]
        file, _, fragment = target.partition("#")
        to = os.path.normpath(Path(place).parent / file)
        to = next((page for page in (to, f"{to}/README.md") if page in pages), to)
        if image and (ROOT / to).is_file():
            images.add(to)
            return found[0]
        if to not in pages:
            return label
        way = os.path.relpath(page_path(to), page_path(place).parent)
        return f"{image}[{label}]({way}{'#' + fragment if fragment else ''})"

    return LINK_OR_CODE.sub(replaced, text)


def summary(pages):
    """The table of contents, in which every page is."""
    left = dict.fromkeys(pages)

    def entry(place, depth=0):
        left.pop(place)
        title = title_of(pages[place], Path(place)).replace("[", "\\[").replace("]", "\\]")
        title = title.partition(": ")[0] if place.startswith("docs/layers/") else title
        return f"{'  ' * depth}- [{title}]({page_path(place)})"

    within = lambda folder, suffix: [place for place in left if str(Path(place).parent) == folder and place.endswith(suffix)]
    lines = ["# Summary", "", "[CryptGPU in Rust](index.md)", ""]
    left.pop("README.md")
    lines += ["# Guides", ""]
    order = lambda place: (GUIDES.index(Path(place).stem) if Path(place).stem in GUIDES else len(GUIDES), place)
    for place in sorted(within("docs", ".md"), key=order):
        lines.append(entry(place))
        lines += [entry(page, 1) for page in within(place.removesuffix(".md"), ".md")]
    lines += ["", "# Notebooks", "", entry("notebooks/README.md")]
    for heading, folder in (("", "notebooks"), ("# Tutorials", "notebooks/tutorials"), ("# The paper's tables", "notebooks/paper")):
        lines += [*(["", heading, ""] if heading and within(folder, ".ipynb") else []), *map(entry, within(folder, ".ipynb"))]
    others = [place for place in left if place.endswith(".ipynb")]
    lines += [*(["", "# More notebooks", ""] if others else []), *map(entry, others)]
    lines += ["", "# Decisions", "", entry("docs/adr/README.md"), *(entry(place, 1) for place in within("docs/adr", ".md"))]
    lines += [entry(place) for place in list(left)]
    return "\n".join(lines) + "\n"


def build(into):
    """Writes the book's sources to a folder of their own, and the book to `into`."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "src"
        pages, images = sources(), set()
        for place, text in pages.items():
            page = source / page_path(place)
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(linked(text, place, pages, images))
        for image in images:
            (source / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / image, source / image)
        (source / "SUMMARY.md").write_text(summary(pages))
        for file in ("book.toml", "book.css"):
            shutil.copy(ROOT / "docs" / file, directory)
        subprocess.run(["mdbook", "build", "--dest-dir", into.resolve(), directory], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
