"""The replay page of an arena in a browser: it plays, and says what an agent holds and what a machine does."""

from dataclasses import replace

from marl_nb.curriculum.arena import Arena
from marl_nb.curriculum.config import new_arena, recipes
from marl_nb.curriculum.replay import movie, record
from marl_nb.curriculum.scripted import crew


def test_the_page_plays(tab):
    room = replace(new_arena(), rooms=1, room_size=13, border=1, recipes=recipes(1),
                   objects={"mine": 6, "generator": 4, "altar": 2, "wall": 6})
    film = record(Arena(room), crew, 40, seed=4)
    errors = []
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    tab.set_content(movie(film).html())
    assert "step 0 of 40" in tab.inner_text("body")
    tab.keyboard.press("End")
    assert "step 40 of 40" in tab.inner_text("body")
    holder = int(film.inventory[-1].sum(1).argmax())
    tab.select_option("#unit", str(2 * holder))  # tracks of agents come in pairs
    name = next(iter(k for k, n in zip(room.limits, film.inventory[-1, holder], strict=True) if n))
    assert name in tab.inner_text("body") and "looks" in tab.inner_text("body")
    tab.select_option("#unit", str(2 * 6))
    assert any(phase in tab.inner_text("body") for phase in ("idle", "converting", "cooling"))
    assert errors == []
