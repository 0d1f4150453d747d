"""Whether the outputs that a notebook was committed with are still those of its code.

Times, process numbers and figures differ from run to run, so it is the shape of outputs that is compared, cell by cell: the
kinds of output, headings of tables and how many there are, how many pictures, and every line of text without a number in it."""

import html
import re

NUMBER = re.compile(r"[-−]?\d[\d.,]*(?:e[-+]?\d+)?(?:\s*(?:ns|µs|ms|s|min|h|B|kB|MB|GB|KiB|MiB|GiB)\b)?")
# Said only by what takes longer than a few seconds.
PROGRESS = re.compile(r"to go$|^\d+ of \d+: ")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
TAG = re.compile(r"<[^>]*>")


def plain(text):
    """Words of a heading: no tags, no numbers."""
    return " ".join(NUMBER.sub("#", html.unescape(TAG.sub(" ", text))).split())


def wordy(lines):
    """The lines without a number, of which the order may differ: parties print when they come to it."""
    return sorted({" ".join(line.split()) for line in lines if line.strip() and not re.search(r"\d", line)})


def shape(cell):
    """What two runs of a cell have in common, by what it is called in a message."""
    found = {"kinds of output": set()}
    for stream in ("stdout", "stderr"):
        lines = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == stream)
        lines = [line for line in ANSI.sub("", lines).splitlines() if line.strip() and not PROGRESS.search(line.strip())]
        if lines:
            found["kinds of output"].add(stream)
            found[f"lines on {stream}"] = wordy(lines)
    for data in (o.data for o in cell.outputs if "data" in o):
        kinds = set(data) - {"text/plain"} or set(data)
        found["kinds of output"] |= kinds
        if "text/html" in data:
            shown = data["text/html"]
            headings = re.findall(r"<(th|caption|h[1-6])\b[^>]*>(.*?)</\1>", shown, re.DOTALL)
            found["headings"] = [plain(text) for _, text in headings]
            found["tables and pictures"] = {tag: len(re.findall(f"<{tag}\\b", shown)) for tag in ("table", "svg", "img")}
        elif kinds == {"text/plain"}:
            found["lines shown"] = wordy(data["text/plain"].splitlines())
    found["kinds of output"] = sorted(found["kinds of output"])
    return found


def differences(committed, fresh):
    """What is no longer as it was committed, a line each."""
    said = []
    for index, (old, new) in enumerate(zip(committed.cells, fresh.cells)):
        if old.cell_type != "code":
            continue
        old, new = shape(old), shape(new)
        for what in [*old, *(key for key in new if key not in old)]:
            was, now = old.get(what, []), new.get(what, [])
            if was != now:
                said.append(f"cell {index + 1}: {what}: committed {was}, now {now}")
    return said
