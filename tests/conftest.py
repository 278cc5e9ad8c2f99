"""What several tests share: the repository's root, a copy of it, a free port and a browser; and who runs what when."""

import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins with it ignored, and hands that on

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import patience  # noqa: E402, F401
from checks import recorded, unit  # noqa: E402

SOURCES = ("nbs", "marl_nb", "tools", "figures", "settings.ini", "setup.py", "constraints.txt", "mkdocs.yml",
           "mypy.ini", "ruff.toml", "ruff_package.toml", "README.md", "LICENSE")
def longest_first(tests: list[str], seconds: dict[str, float]) -> list[str]:
    """Tests in units, the longest unit first: then two processes end at the same time. A new one counts as 20 s."""
    return sorted(tests, key=lambda test: (-seconds.get(unit(test), 20.0), unit(test)))  # the order in a unit stays


def pytest_collection_modifyitems(config, items):
    """With several processes: the longest first."""
    if hasattr(config, "workerinput"):
        place = {test: i for i, test in enumerate(longest_first([i.nodeid for i in items], recorded()))}
        items.sort(key=lambda item: place[item.nodeid])


def pytest_xdist_make_scheduler(config, log):
    """With --dist=loadfile: units in the order of the collection."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        _split_scope = staticmethod(unit)

    config.option.loadscopereorder = False
    return Units(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def copy_repository() -> Callable[[Path], Path]:
    """Copies the repository's sources to a new folder."""
    def copy(folder: Path) -> Path:
        folder.mkdir(parents=True)
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            elif source.exists():
                shutil.copy(source, folder / name)
        return folder

    return copy


@pytest.fixture
def repository(copy_repository, tmp_path) -> Path:
    """A copy of the repository's sources that a test may damage."""
    return copy_repository(tmp_path / "repository")


@pytest.fixture
def port() -> int:
    """A port of this machine that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; the tests that need it are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p]
    if not found:
        pytest.skip("no Chromium on this machine; install it: apt-get install chromium, or any Google Chrome")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser):
    """A new page of the browser."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    yield page
    page.close()
