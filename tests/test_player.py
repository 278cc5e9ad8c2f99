"""The player of core in a headless browser: series, marks and notes, and a page that is hidden when it is opened."""

from dataclasses import replace

import numpy as np
import pytest

from marl_nb.core.player import Choice, Effect, Mark, Movie, Series, Track

FRAMES = 9


@pytest.fixture
def movie() -> Movie:
    """Two dots that pass each other; a curve of nobody's, two marks, a note a frame."""
    x = np.linspace(2, 8, FRAMES)
    ways = (Choice("left", "L", "go", arrow=(-1, 0)), Choice("right", "R", "go", arrow=(1, 0)))
    a = Track("a", x, np.full(FRAMES, 4.0), choices=ways, chosen=np.full(FRAMES, 1),
              available=np.ones((FRAMES, 2), bool),
              meters={"fuel": (np.linspace(10, 2, FRAMES), 10.0)}, said=[f"step {f}" for f in range(FRAMES)])
    b = Track("b", x[::-1].copy(), np.full(FRAMES, 6.0), group=1, gone=6)
    return Movie(
        title="two dots", size=(10, 10), tracks=(a, b), groups=("left", "right"), effects=[Effect(3, "hit", 0, 1)],
        series={"regret": Series(np.arange(FRAMES) / 2)}, marks=[Mark(3, "a hits b"), Mark(6, "b is gone", 1)],
        notes=[f"<b>{f}</b>" for f in range(FRAMES)])


@pytest.fixture
def problems(tab):
    """Console errors of the tab; there must be none at the end."""
    found = []
    tab.on("console", lambda m: m.type == "error" and found.append(m.text))
    tab.on("pageerror", lambda e: found.append(str(e)))
    yield found
    assert found == []


def test_series_marks_and_notes(tab, problems, movie, tmp_path):
    movie.html(tmp_path / "m.html")
    tab.goto((tmp_path / "m.html").as_uri())
    assert (tab.inner_text("#legend"), tab.inner_text("#note")) == ("regret 0", "<b>0</b>")
    tab.keyboard.press("n")
    assert tab.inner_text("#clock") == "step 3 of 8, 1.5 s"
    assert (tab.inner_text("#note"), tab.inner_text("#action")) == ("<b>3</b>", "step 3")
    assert tab.inner_text("#legend").split("\n") == ["regret 1.5", "a hits b"]
    tab.keyboard.press("n")
    assert (tab.inner_text("#of-right"), tab.inner_text("#of-left")) == ("right 0 of 1", "left 1 of 1")
    tab.keyboard.press("Shift+N")
    assert tab.inner_text("#clock").startswith("step 3 ")
    assert tab.locator(".chips > .chosen").get_attribute("title") == "right: chosen"
    assert tab.inner_text("#of-fuel") == "7 of 10"
    box = tab.locator("#chart").bounding_box()
    tab.mouse.click(box["x"] + box["width"] - 9, box["y"] + 5)
    assert tab.inner_text("#note") == "<b>8</b>"


def test_html_notes_are_drawn(tab, problems, movie, tmp_path):
    replace(movie, html_notes=True).html(tmp_path / "m.html")
    tab.goto((tmp_path / "m.html").as_uri())
    assert tab.locator("#note b").inner_text() == "0"


def test_a_page_that_is_hidden_at_first_draws_when_it_is_shown(tab, problems, movie, tmp_path):
    """A tab of a site is laid out with a canvas of no size."""
    page = "<!doctype html><div id=box style='display: none'>" + movie._repr_html_() + "</div>"
    (tmp_path / "site.html").write_text(page, encoding="utf-8")
    tab.goto((tmp_path / "site.html").as_uri())
    frame = next(f for f in tab.frames if f.parent_frame)
    frame.wait_for_load_state()
    assert frame.locator("#clock").text_content() == "step 0 of 8, 0.0 s"  # it has run, on nothing
    tab.evaluate("document.getElementById('box').style.display = 'block'")
    frame.locator("#forth").click()
    drawn = "() => document.getElementById('field').getContext('2d').getImageData(40, 40, 1, 1).data[3]"
    assert frame.evaluate(drawn) == 255
