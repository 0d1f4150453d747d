"""The layers of `cryptgpu-core`, read from its sources: what each says of itself, and what it really imports.

`scripts/layers.py` draws `docs/figures/layers.svg`; `scripts/layers.py --check` fails where a layer imports one above it, and
where the picture is not that of the imports. `scripts/book.py` takes a page for each layer from here."""

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path("cryptgpu-core/src")
PICTURE = Path("docs/figures/layers.svg")
# From here on a file is tests, which may use anything.
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*\n(?:#\[[^\n]*\n)*mod \w+ \{", re.MULTILINE)


def order(root=ROOT):
    """The layers from the lowest, with what lives there: the table of `lib.rs`."""
    found = re.findall(r"^//! \| \[`(\w+)`\] \| (.+) \|$", (root / SOURCES / "lib.rs").read_text(), re.MULTILINE)
    assert found, "lib.rs has no table of layers"
    return dict(found)


def code_of(path):
    """What the compiler sees of a file, without its tests: no comments, no text in quotes."""
    text = path.read_text()
    tests = TESTS.search(text)
    text = text[: tests.start()] if tests else text
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.DOTALL)


def named_in(text):
    """The parts of the crate that code names: `crate::mpc::…` and `crate::{mpc, net::…}`."""
    yield from re.findall(r"\bcrate::(\w+)", text)
    for start in re.finditer(r"\bcrate::\{", text):
        depth, part, at = 1, "", start.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            part += text[at] if depth == 1 else ""
            at += 1
        yield from (re.match(r"\s*(\w*)", one)[1] for one in part.split(","))


def imports(root=ROOT):
    """For each layer the layers that it uses, each with a file that does."""
    layers = order(root)
    used = {layer: {} for layer in layers}
    for layer in layers:
        for path in sorted((root / SOURCES / layer).rglob("*.rs")):
            place = path.relative_to(root / SOURCES)
            if "tests" in place.parts or path.name == "tests.rs":
                continue
            for name in named_in(code_of(path)):
                if name in layers and name != layer:
                    used[layer].setdefault(name, str(place))
    return used


def upwards(root=ROOT):
    """Imports of a layer above, which may not be: a line each."""
    layers = list(order(root))
    return [
        f"{file}: `{layer}` may not use `{name}`, which is above it (the table in {SOURCES}/lib.rs)"
        for layer, of in imports(root).items()
        for name, file in of.items()
        if layers.index(name) > layers.index(layer)
    ]


def paragraphs(path):
    """What a module says of itself, as Markdown without the links of rustdoc."""
    lines = re.match(r"(?://![^\n]*\n)*", path.read_text())[0].splitlines()
    return plain("\n".join(line.removeprefix("//!").removeprefix(" ") for line in lines))


def plain(text):
    text = re.sub(r"\[(`[^`\]]+`)\](?:\([^)\s]*\))?", r"\1", text)
    return re.sub(r"\[([^\]\n]+)\]\((?:crate|self|super)::[^)\s]*\)", r"\1", text)


def first_sentence(path):
    said = paragraphs(path).split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[^.].)\. (?=[A-Z`])", said)[0].rstrip(".").replace("|", "\\|")


def parts_of(folder):
    """A table of the files and folders of a layer, for those whose `mod.rs` has none."""
    rows = []
    for path in sorted(folder.iterdir()):
        module = path / "mod.rs" if path.is_dir() else path
        if path.name in ("mod.rs", "tests", "tests.rs", "fuzz.rs") or module.suffix != ".rs" or not module.exists():
            continue
        rows.append(f"| `{path.name}{'/' if path.is_dir() else ''}` | {first_sentence(module)} |")
    return "\n".join(["| file | what |", "|---|---|", *rows])


def pages(root=ROOT):
    """A page for each layer, from the top one down, by the place where the book has it."""
    layers, used = order(root), imports(root)
    made = {}
    for layer, lives in reversed(layers.items()):
        link = lambda name: f"[`{name}`]({name}.md)"
        below = ", ".join(link(name) for name in layers if name in used[layer]) or "none: it stands by itself"
        above = ", ".join(link(name) for name in layers if layer in used[name]) or "none: programs and notebooks do"
        said = paragraphs(root / SOURCES / layer / "mod.rs")
        files = "" if re.search(r"^\| (file|folder) \|", said, re.MULTILINE) else f"\n\n## Files\n\n{parts_of(root / SOURCES / layer)}"
        made[f"docs/layers/{layer}.md"] = (
            f"# `{layer}`: {plain(lives)}\n\n{said}{files}\n\n## Its place\n\n"
            f"Layers that it uses: {below}.\n\nLayers that use it: {above}.\n\n"
            f"![The layers of cryptgpu-core and what each imports](../figures/layers.svg)\n"
        )
    return made


ROW, BOX, DOT, HEAD, LEFT = 46, 600, 30, 136, 12


def picture(root=ROOT):
    """The layers one above the other, and beside each the layers that it imports."""
    layers, used = order(root), imports(root)
    names = list(reversed(layers))
    height, width = HEAD + ROW * len(names) + 12, LEFT + BOX + 24 + DOT * len(names) + 30
    label = lambda x, y, size, content, more="": f'<text x="{x}" y="{y}" font-size="{size}"{more}>{escape(content)}</text>'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" fill="#222" role="img">',
        "<title>The layers of cryptgpu-core</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        label(LEFT, 28, 16, "The layers of cryptgpu-core", ' font-weight="bold"'),
        label(LEFT, 50, 12, "A layer imports only layers below it. A dot: the layer of this row imports"),
        label(LEFT, 67, 12, "the layer of this column. Drawn from the imports in the sources."),
    ]
    column = lambda name: LEFT + BOX + 24 + DOT * names.index(name) + DOT // 2
    for name in names:
        x = column(name)
        drawn.append(label(x, HEAD - 10, 12, name, f' transform="rotate(-50 {x} {HEAD - 10})"'))
    for row, name in enumerate(names):
        y = HEAD + ROW * row
        drawn.append(f'<rect x="{LEFT}" y="{y}" width="{BOX}" height="{ROW - 8}" rx="4" fill="#e8f1f8" stroke="#0072b2"/>')
        drawn.append(label(LEFT + 12, y + 24, 14, name, ' font-weight="bold"'))
        drawn.append(label(LEFT + 112, y + 24, 12, plain(layers[name])))
        for other in names:
            x, middle = column(other), y + (ROW - 8) // 2
            if other in used[name]:
                drawn.append(f'<circle cx="{x}" cy="{middle}" r="7" fill="#0072b2"/>')
            elif names.index(other) > row:
                drawn.append(f'<circle cx="{x}" cy="{middle}" r="2" fill="#bbb"/>')
    return "\n".join([*drawn, "</svg>", ""])


def main():
    if wrong := upwards():
        sys.exit("\n".join(wrong))
    drawn, path = picture(), ROOT / PICTURE
    if path.exists() and path.read_text() == drawn:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"{PICTURE} does not show the imports of now; run `python3 scripts/layers.py`")
    path.write_text(drawn)


if __name__ == "__main__":
    main()
