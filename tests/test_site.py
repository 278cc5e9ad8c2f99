"""The site, in a browser: search finds exported names, equations are drawn, nothing comes from the network."""

import functools
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading

import pytest


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not log."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """The built site, served on a free port: its address."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run([sys.executable, "tools/site.py", folder], cwd=root, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def watch(tab) -> list[str]:
    """The list of everything that goes wrong in a tab from now on.

    A page that is left while its search worker still loads gives the request up: that is no failure.
    """
    problems: list[str] = []
    tab.on("requestfailed", lambda r: r.failure == "net::ERR_ABORTED" or problems.append(f"failed {r.url}"))
    tab.on("response", lambda r: r.status >= 400 and problems.append(f"{r.status} {r.url}"))
    tab.on("request", lambda r: re.match(r"(http://127\.0\.0\.1|data:|blob:)", r.url) or problems.append(r.url))
    tab.on("pageerror", lambda e: problems.append(str(e)))
    return problems


def test_search_shows_no_imports(root, tmp_path):
    """A page of the index as the builder leaves it: every cell twice, imports first, a sign behind the title."""
    code = "import io\nfrom a import (\n    b,\n)\n\nx = b &lt; 1"
    cells = ("import os\n", code, "print(x)")
    text = "".join(f"Copied! <pre>{c}</pre> {c.replace(chr(10), ' ')} " for c in cells) + "True"
    pages = [{"location": f"core/{name}.html#x", "title": "Files¶", "text": text} for name in ("files", "reference")]
    index = tmp_path / "search_index.json"
    index.write_text(json.dumps({"docs": pages}))
    spec = importlib.util.spec_from_file_location("site_tool", root / "tools" / "site.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.tidy_search(index)
    chapter, reference = json.loads(index.read_text())["docs"]
    assert chapter["title"] == "Files" and chapter["boost"] == 2 and "boost" not in reference
    assert "".join(chapter["text"].split()) == "<pre>x=b&lt;1</pre><pre>print(x)</pre>True"


@pytest.mark.parametrize("name, page", [("stratified_bootstrap", "core/"), ("BattleEnv", "smac/")])
def test_search_finds_exported_names(site, tab, name, page):
    problems = watch(tab)
    tab.goto(f"{site}/index.html", wait_until="networkidle")
    tab.locator(".md-search__input").click()
    tab.keyboard.type(name, delay=30)  # key by key, as a person does: the search listens to every key
    hit = tab.locator(f".md-search-result__link[href*='{page}']").first
    hit.click()
    tab.wait_for_url(f"**/{page}**")
    assert name in tab.content()
    assert problems == []


def test_chapters_are_whole(site, tab):
    """Equations, plots and links of a chapter; the picture of the first page, and the links there and in the ledger."""
    problems = watch(tab)
    tab.goto(f"{site}/core/40_stats.html", wait_until="networkidle")
    assert tab.locator("math").count() > 5 and tab.locator("math[display=block]").first.bounding_box()["height"] > 10
    assert "$$" not in tab.content() and "#| export" not in tab.content() and "mathjax" not in tab.content().lower()
    assert tab.locator(".jp-RenderedImage img").first.evaluate("i => i.complete && i.naturalWidth") > 100
    pages = set()
    for start, fewest in (("reports/50_claims.html", 5), ("index.html", 20)):
        tab.goto(f"{site}/{start}", wait_until="networkidle")
        links = tab.eval_on_selector_all(".jupyter-wrapper a[href]", "as => as.map(a => a.href)")
        found = {link.split("#")[0] for link in links if link.startswith(site)}
        assert len(found) >= fewest, start
        pages |= found
    for page in sorted(pages):
        assert tab.request.get(page).status == 200, page
    assert problems == []


def test_a_failed_request_is_a_problem_and_an_aborted_one_is_not(site, tab):
    problems = watch(tab)
    for how in ("aborted", "connectionreset"):
        tab.route(f"**/{how}", lambda route, request: route.abort(request.url.rsplit("/", 1)[1]))
    tab.goto(f"{site}/index.html", wait_until="networkidle")
    tab.evaluate("""() => Promise.allSettled([fetch("aborted"), fetch("connectionreset")])""")
    assert problems == [f"failed {site}/connectionreset"]
