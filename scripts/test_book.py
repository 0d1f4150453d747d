"""Tests of the book and of what is drawn for it: everything is in it, every link in it holds, and a browser that opens it asks
nobody for anything."""

import re
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import book
import figures
import layers

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
# What a browser fetches by itself, by element: a link that a reader clicks on is none of it.
FETCHED = {"src", "srcset", "data", "poster", "background", "action"}


class Page(HTMLParser):
    """What one page of the book fetches, links to and can be linked to at."""

    def __init__(self, path):
        super().__init__()
        self.fetched, self.links, self.ids = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = {name: value or "" for name, value in attributes}
        self.fetched += [value for name, value in attributes.items() if name in FETCHED]
        if tag in ("link", "use", "image"):
            self.fetched += [attributes[name] for name in ("href", "xlink:href") if name in attributes]
        self.fetched += re.findall(r"url\(['\"]?([^'\")]+)", attributes.get("style", ""))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.ids.update(value for name, value in attributes.items() if name in ("id", "name"))


class Book(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        book.build(cls.folder)
        cls.pages = {path: Page(path) for path in cls.folder.rglob("*.html")}

    def test_everything_is_in_it(self):
        files = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/*/*.ipynb")]
        layered = [ROOT / place for place in layers.pages(ROOT)]
        wanted = {book.page_path(path.relative_to(ROOT)).with_suffix(".html") for path in [*files, *layered]}
        contents = {link.partition("#")[0] for link in self.pages[self.folder / "toc.html"].links}
        self.assertEqual([str(page) for page in sorted(wanted) if str(page) not in contents], [], "not in the contents")
        self.assertEqual([str(page) for page in sorted(wanted) if self.folder / page not in self.pages], [], "no page")
        self.assertGreater(len(layered), 5)

    def test_a_browser_asks_nobody_for_anything(self):
        asked = [(str(path.relative_to(self.folder)), one) for path, page in self.pages.items() for one in page.fetched]
        for path in self.folder.rglob("*.css"):
            found = re.findall(r"url\(['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text())
            asked += [(path.name, "".join(one)) for one in found]
        self.assertEqual([one for one in asked if OUTSIDE.match(one[1])], [])
        self.assertGreater(len(asked), 100)

    def test_every_link_in_it_holds(self):
        broken = []
        for path, page in self.pages.items():
            if path.name == "404.html":
                continue  # Its links are those of the folder from which a server hands it out.
            for link in page.links + page.fetched:
                if re.match(r"[a-z]+:", link) or OUTSIDE.match(link):
                    continue
                file, _, fragment = unquote(link).partition("#")
                to = (path.parent / file).resolve() if file else path
                to = to / "index.html" if to.is_dir() else to
                known = to.exists() and (not fragment or to not in self.pages or fragment in self.pages[to].ids)
                if not known:
                    broken.append(f"{path.relative_to(self.folder)}: {link}")
        self.assertEqual(broken, [])

    def test_links_of_the_guides_hold_in_the_checkout_too(self):
        broken = []
        for path in [ROOT / "README.md", ROOT / "notebooks/README.md", *ROOT.glob("docs/**/*.md")]:
            for _, _, link in book.LINK.findall(book.FENCED.sub("", path.read_text())):
                file = link.partition("#")[0]
                if file and not re.match(r"[a-z]+:", file) and not (path.parent / file).exists():
                    broken.append(f"{path.relative_to(ROOT)}: {link}")
        self.assertEqual(broken, [])

    def test_outputs_of_notebooks_are_on_their_pages(self):
        page = (self.folder / "notebooks/paper/01-inference.html").read_text()
        self.assertIn("<svg", page)
        self.assertIn("<table", page)
        self.assertNotIn("&lt;svg", page)
        self.assertNotIn("&lt;table", page)


class Drawn(unittest.TestCase):
    def test_a_layer_imports_only_layers_below_it(self):
        self.assertEqual(layers.upwards(), [])

    def test_an_import_of_a_layer_above_is_found(self):
        """In nested braces, and not in comments, texts and tests."""
        self.assertEqual(list(layers.named_in("use crate::{mpc::{Party, net}, nn, self as me};")), ["mpc", "nn", "self"])
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / layers.SOURCES
            (source / "ring").mkdir(parents=True)
            (source / "lib.rs").write_text("//! | [`ring`] | words |\n//! | [`mpc`] | protocols |\n")
            (source / "ring/mod.rs").write_text(
                '// crate::mpc\nconst TEXT: &str = "crate::mpc";\n#[cfg(test)]\nmod tests {\n    use crate::mpc;\n}\n'
            )
            self.assertEqual(layers.upwards(Path(folder)), [])
            (source / "ring/mod.rs").write_text("use crate::{\n    ring::Word,\n    mpc,\n};\n")
            (wrong,) = layers.upwards(Path(folder))
            self.assertIn("ring/mod.rs: `ring` may not use `mpc`", wrong)

    def test_committed_figures_are_those_of_records_and_sources(self):
        for script in (figures, layers):
            check = subprocess.run([sys.executable, script.__file__, "--check"], capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stderr)

    def test_the_readme_is_short(self):
        self.assertLess(len((ROOT / "README.md").read_text().splitlines()), 150)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
