"""Build the site from the notebooks, with a reference of every exported name and nothing fetched from the network.

    .venv/bin/python tools/site.py [FOLDER]      FOLDER: where to, `site` if not given

Chapters are the notebooks without directives and hidden cells; equations become MathML, which browsers draw by
themselves. The reference pages come from the exported modules, so no notebook is executed.
"""

import ast
import html
import importlib
import inspect
import json
import logging
import os
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["NO_MKDOCS_2_WARNING"] = "1"

import nbformat
from latex2mathml.converter import convert
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbdev.doclinks import nbglob
from nbdev.showdoc import BasicMarkdownRenderer

ROOT = Path(__file__).resolve().parent.parent
SERIES = ("core", "smac", "mappo", "amal", "counterfactual", "induction", "curriculum", "app", "experiments", "reports")
CODE_OR_MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|(?P<fence>\$\$?)(?P<math>.+?)(?P=fence)", re.S)
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s]+)")
HREF = re.compile(r"(<a href=')(?![a-z]+:|#)([^']+)")
CODE = re.compile(r"Copied! <pre>(.*?)</pre>(.*?)(?=Copied! <pre>|\Z)", re.S)
MATHJAX = re.compile(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", re.S)


def mathml(text: str) -> str:
    """Markdown with MathML in place of `$...$` and `$$...$$`; code is left alone."""
    def element(m: re.Match) -> str:
        if m["code"]:
            return m["code"]
        return convert(" ".join(m["math"].split()), display="block" if m["fence"] == "$$" else "inline")

    return CODE_OR_MATH.sub(element, text)


def moved(folder: str) -> Callable[[re.Match], str]:
    """Rewrites a link of a notebook in `folder` (such as "nbs/core") for the place of its page in the site."""
    def link(m: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(folder, m[2])).removeprefix("nbs/")
        here = folder.removeprefix("nbs").strip("/") or "."
        return m[1] + re.sub(r"\.(ipynb|md)(?=#|$)", ".html", posixpath.relpath(target, here))

    return link


def chapter(notebook: Path) -> Any:
    """The notebook as readers of the site see it."""
    nb, folder = nbformat.read(notebook, as_version=4), notebook.parent.relative_to(ROOT).as_posix()
    nb.cells = [cell for cell in nb.cells if not re.match(r"#\|\s*(hide|default_exp)\b", cell.source)]
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(moved(folder), mathml(cell.source))
        else:
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
            for data in (output.data for output in cell.outputs if "text/html" in output.get("data", ())):
                data["text/html"] = HREF.sub(moved(folder), data["text/html"])
    return nb


def entry(name: str, thing: Any, level: int) -> str:
    """Heading, signature with the meaning of each parameter, and docstring."""
    shown = BasicMarkdownRenderer(thing, name=name)._repr_markdown_()
    return f"{'#' * level} `{name}`\n\n" + shown[shown.index("```python"):]


def reference(notebooks: list[Path]) -> str:
    """The reference page of a series: everything its chapters export."""
    parts = ["# Reference"]
    for notebook in notebooks:
        source = "\n".join(cell.source for cell in nbformat.read(notebook, as_version=4).cells)
        if not (found := re.search(r"^#\| default_exp (\S+)$", source, re.M)):
            continue
        module = importlib.import_module(f"marl_nb.{found[1]}".removesuffix(".__init__"))
        parts.append(f"## {module.__name__}\n\nChapter: [{title(notebook)}]({notebook.name})")
        for name in module.__all__:
            thing = getattr(module, name)
            if not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            parts.append(entry(name, thing, 3))
            methods = vars(thing).items() if inspect.isclass(thing) else ()
            parts += [entry(f"{name}.{k}", v, 4) for k, v in methods if inspect.isfunction(v) and k[0] != "_"]
    return "\n\n".join(parts) + "\n"


def title(notebook: Path) -> str:
    """The chapter's heading."""
    return nbformat.read(notebook, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")


def write_pages(docs: Path) -> list[Any]:
    """Write every page into `docs` and return the navigation."""
    paths: list[Path] = sorted(Path(p).resolve() for p in nbglob(ROOT / "nbs"))
    for notebook in paths:
        page = docs / notebook.relative_to(ROOT / "nbs")
        page.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(chapter(notebook), page)
    shutil.copytree(ROOT / "figures", docs / "figures", dirs_exist_ok=True)
    shutil.copy(ROOT / "CONTRIBUTING.md", docs)
    (docs / "wide.css").write_text(".md-grid { max-width: 72rem }\n")  # room for lines of 100 characters
    folders = {p.parent.name: p.parent for p in paths if p.parent.name != "nbs"}
    nav: list[Any] = [{"Home": "index.ipynb"}]
    for series in sorted(folders, key=lambda s: (SERIES.index(s) if s in SERIES else len(SERIES), s)):
        notebooks = [p for p in paths if p.parent == folders[series]]
        pages: list[Any] = [{title(p): f"{series}/{p.name}"} for p in notebooks]
        text = reference(notebooks)
        if "\n## " in text:
            (docs / series / "reference.md").write_text(text)
            pages.append({"Reference": f"{series}/reference.md"})
        nav.append({series: pages})
    return [*nav, {"Contributing": "CONTRIBUTING.md"}]


def after_imports(code: str) -> str:
    """A code cell, as the index of the search has it, without the imports that it begins with."""
    try: body = ast.parse(html.unescape(code)).body
    except SyntaxError: return code
    kept = [node.lineno for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(code.splitlines()[kept[0] - 1:]) if kept else ""


def worth_finding(text: str) -> str:
    """The text of a page without the imports, and every cell once: the index has a second, hidden copy of each."""
    def cell(m: re.Match) -> str:
        code, rest = after_imports(m[1]), m[2].replace(m[1].replace("\n", " ").strip(), "", 1)
        return f"<pre>{code}</pre>{rest}" if code else rest

    return CODE.sub(cell, text).strip()


def tidy_search(index: Path) -> None:
    """Rewrite the index of the search: no imports, no signs for paragraphs, chapters before the pages of reference."""
    found = json.loads(index.read_text())
    for page in found["docs"]:
        page |= {"title": page["title"].removesuffix("¶"), "text": worth_finding(page["text"])}
        if not page["location"].partition("#")[0].endswith("reference.html"): page["boost"] = 2
    index.write_text(json.dumps(found, separators=(",", ":")))


def main(folder: Path) -> None:
    """Build the site into `folder`; any warning of mkdocs is an error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("traitlets").setLevel(logging.ERROR)  # nbconvert asks for alternative texts of every plot
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as docs:
        nav = write_pages(Path(docs))
        config = load_config(str(ROOT / "mkdocs.yml"), docs_dir=docs, site_dir=str(folder.resolve()), nav=nav)
        config.plugins.run_event("startup", command="build", dirty=False)
        build(config)
    tidy_search(folder / "search" / "search_index.json")
    for page in folder.rglob("*.html"):
        page.write_text(MATHJAX.sub("", page.read_text()))  # the equations are MathML already
    print(f"{len(list(folder.rglob('*.html')))} pages")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site"))
