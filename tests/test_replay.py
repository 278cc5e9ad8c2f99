"""The replay player in a headless browser, and replay files that were damaged on the way."""

import re
from dataclasses import replace

import numpy as np
import pytest

from marl_nb.smac.replay import Replay
from marl_nb.smac.scenarios import SCENARIOS

FRAMES = 13


@pytest.fixture(scope="module")
def duel() -> Replay:
    """Two stalkers walk towards two zealots, shoot in frames 3 and 6, and win in the last frame."""
    scenario, first = SCENARIOS["3s_vs_3z"], np.arange(6) % 3 < 2
    facts = {name: getattr(scenario, name) for name in ("size", "pathing", "shoot_range", "sight_range")}
    units = {name: getattr(scenario, name)[first] for name in ("team", "radius", "health_max", "shield_max")}
    x, y = (np.tile(column, (FRAMES, 1)) for column in scenario.positions[first].T)
    health, shield = (np.tile(units[name], (FRAMES, 1)) for name in ("health_max", "shield_max"))
    x += np.linspace(0, 4, FRAMES)[:, None] * [1, 1, -1, -1]
    health[4:, 2] = 30
    health[8:, 2] = health[12:, 3] = 0
    shot, actions = np.full((FRAMES, 4), -1), np.tile([4, 6], (FRAMES, 1))
    shot[3, 0], shot[6, 1], actions[0] = 2, 3, -1
    return Replay(
        scenario="duel", outcome="won", seed=5, unit_names=("stalker", "stalker", "zealot", "zealot"), **facts, **units,
        x=x, y=y, health=health, shield=shield / 2, cooldown=np.zeros((FRAMES, 4)), shot_target=shot, actions=actions,
        reward=np.full(FRAMES, 0.5),
    )


@pytest.fixture
def page(browser, duel, tmp_path):
    """The player, opened from a file; fails the test on any console error or any request but the page itself."""
    duel.html(tmp_path / "duel.html")
    context = browser.new_context(viewport={"width": 1000, "height": 700}, device_scale_factor=2)
    tab, problems, requests = context.new_page(), [], []
    tab.on("console", lambda m: m.type == "error" and problems.append(m.text))
    tab.on("pageerror", lambda e: problems.append(str(e)))
    tab.on("request", lambda r: requests.append(r.url))
    tab.goto((tmp_path / "duel.html").as_uri())
    yield tab
    context.close()
    assert problems == []
    assert [r for r in requests if not r.startswith("data:")] == [(tmp_path / "duel.html").as_uri()]


def shows(page, selector, text) -> None:
    """Wait for a text, by looking at the element: the page's security policy forbids evaluating code from outside."""
    pytest.importorskip("playwright.sync_api").expect(page.locator(selector)).to_have_text(text)


def step_of(page) -> int:
    return int(page.locator("#clock").inner_text().split()[1])


def seek(page, frame) -> None:
    page.locator("#scrub").evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", frame)


def pixels(page) -> int:
    """A hash of every pixel of the field."""
    return page.evaluate(
        """() => {
            const c = document.getElementById("field");
            let h = 17;
            for (const v of c.getContext("2d").getImageData(0, 0, c.width, c.height).data) h = (h * 31 + v) | 0;
            return h;
        }"""
    )


def test_play_advances_and_pause_stops(page):
    assert step_of(page) == 0
    page.select_option("#speed", "8")
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    shows(page, "#clock", re.compile(r"^step ([2-9]|1\d) "))
    page.keyboard.press(" ")  # the button has the focus: space presses it
    assert page.inner_text("#play") == "Play"
    stopped = page.inner_text("#clock")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.inner_text("#clock") == stopped


def test_playing_to_the_end_stops_there_and_starts_over(page):
    page.select_option("#speed", "8")
    seek(page, FRAMES - 2)
    page.click("#play")
    shows(page, "#outcome", "Won")
    assert (page.inner_text("#play"), step_of(page)) == ("Play", FRAMES - 1)
    page.select_option("#speed", "1")
    page.click("#play")
    shows(page, "#outcome", "")


def test_scrubbing_shows_outcome_and_numbers(page):
    assert page.inner_text("#outcome") == ""
    seek(page, FRAMES - 1)
    assert page.inner_text("#outcome") == "Won"
    assert page.inner_text("#clock") == "step 12 of 12, 6.0 s, return 6.50"
    assert page.inner_text("#enemies") == "enemies 0 of 2, health 50 of 300"
    seek(page, 8)
    assert page.inner_text("#outcome") == ""
    assert page.inner_text("#enemies") == "enemies 1 of 2, health 150 of 300"


def test_the_picture_changes_with_the_frame_and_is_sharp(page):
    seen = []
    for frame in (0, 3, 6, 8, 12):
        seek(page, frame)
        seen.append(pixels(page))
    assert len(set(seen)) == len(seen)
    seek(page, 3)
    assert pixels(page) == seen[1]
    assert page.evaluate("document.getElementById('field').width / document.getElementById('field').clientWidth") == 2


def test_keyboard_and_selection(page):
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert step_of(page) == 1
    words = ", health 80 of 80, shield 40 of 80, weapon ready in 0 loops"
    assert page.inner_text("#action") == "east" + words
    page.keyboard.press("u")
    assert page.inner_text("#action") == "attack enemy 0" + words
    page.keyboard.press("End")
    assert step_of(page) == FRAMES - 1
    page.keyboard.press("Home")
    before = pixels(page)
    page.keyboard.press("m")
    assert page.is_checked("#whole") and pixels(page) != before
    page.keyboard.press("+")
    assert page.input_value("#speed") == "4"
    seek(page, 6)
    assert page.inner_text("#action") == "attack enemy 0, shot at enemy 1" + words
    page.select_option("#unit", "2")
    seek(page, 9)
    assert page.inner_text("#action") == "dead"


def test_dark_and_light_differ_and_the_name_is_only_text(browser, duel, tmp_path):
    replace(duel, scenario="</script><b>3m").html(tmp_path / "x.html")
    seen = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        tab = context.new_page()
        tab.goto((tmp_path / "x.html").as_uri())
        assert tab.inner_text("#name") == "</script><b>3m"
        seen.append(pixels(tab))
        context.close()
    assert seen[0] != seen[1]


def test_it_runs_inside_a_notebook_frame(browser, duel, tmp_path):
    (tmp_path / "notebook.html").write_text("<!doctype html>" + duel._repr_html_(), encoding="utf-8")
    tab = browser.new_page()
    tab.goto((tmp_path / "notebook.html").as_uri())
    frame = tab.frame_locator("iframe")
    frame.locator("#forth").click()
    assert frame.locator("#clock").inner_text() == "step 1 of 12, 0.5 s, return 1.00"
    tab.close()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_named(duel, tmp_path, keep):
    path = tmp_path / "battle.npz"
    duel.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="battle.npz: not a readable replay"):
        Replay.load(path)


def test_a_flipped_bit_is_found(duel, tmp_path):
    """The zip container has a checksum for every array, so damage inside one never becomes a wrong battle."""
    path = tmp_path / "battle.npz"
    duel.save(path)
    good = path.read_bytes()
    for at in range(60, len(good) // 2, 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        try:
            again = Replay.load(path)
        except ValueError as e:
            assert "battle.npz" in str(e)
        else:  # the bit was in a field of the container that nobody reads
            assert again.html() == duel.html()


def test_foreign_and_missing_files(duel, tmp_path):
    for name, content in {"text.npz": b"hello", "pickle.npz": b"\x80\x04K\x01."}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            Replay.load(tmp_path / name)
    np.savez(tmp_path / "objects.npz", meta=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="objects.npz"):
        Replay.load(tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError):
        Replay.load(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file(duel, tmp_path, monkeypatch):
    path = tmp_path / "battle.npz"
    duel.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace(duel, seed=6).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["battle.npz"]
