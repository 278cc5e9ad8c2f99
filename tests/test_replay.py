"""The replay player in a headless browser, and replay files that were damaged on the way."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from marl_nb.core.protocols import RandomPolicy
from marl_nb.smac import make
from marl_nb.smac.replay import Replay, load_battle, record, rerun, save_battle, still
from marl_nb.smac.scenarios import SCENARIOS

FRAMES = 13


@pytest.fixture(scope="module")
def duel() -> Replay:
    """Two stalkers walk towards two zealots, shoot in frames 3 and 6, and win in the last frame."""
    scenario, first = SCENARIOS["3s_vs_3z"], np.arange(6) % 3 < 2
    facts = {name: getattr(scenario, name) for name in ("size", "pathing", "cliff_level")}
    units = {name: getattr(scenario, name)[first] for name in ("team", "radius", "health_max", "shield_max")}
    x, y = (np.tile(column, (FRAMES, 1)) for column in scenario.positions[first].T)
    health, shield = (np.tile(units[name], (FRAMES, 1)) for name in ("health_max", "shield_max"))
    x += np.linspace(0, 4, FRAMES)[:, None] * [1, 1, -1, -1]
    health[4:, 2] = 30
    health[8:, 2] = health[12:, 3] = 0
    shot, actions = np.full((FRAMES, 4), -1), np.tile([4, 6], (FRAMES, 1))
    shot[3, 0], shot[6, 1], actions[0] = 2, 3, -1
    available = np.zeros((FRAMES, 2, 8), bool)
    available[:-1, :, [1, 4, 6]] = True
    return Replay(
        scenario="duel", outcome="won", seed=5, unit_names=("stalker", "stalker", "zealot", "zealot"), **facts, **units,
        x=x, y=y, health=health, shield=shield / 2, cooldown=np.zeros((FRAMES, 4)), shot_target=shot, actions=actions,
        reward=np.full(FRAMES, 0.5), available=available, shoot_range=np.full(4, 6), sight_range=np.full(4, 9),
    )


@pytest.fixture(scope="module")
def zoo(duel) -> Replay:
    """The duel with every effect: a medivac that heals a colossus, which burns a line; a baneling that bursts."""
    shot = np.full((FRAMES, 4), -1)
    shot[3], shot[5, 1], shot[7, 2] = [1, -1, -1, -1], 3, 0
    actions = np.tile([6 + 12 + 1, 6 + 12 + 1], (FRAMES, 1))
    actions[0], actions[2] = -1, [6 + 3, 6 + 11]
    return replace(
        duel, scenario="zoo", unit_names=("medivac", "colossus", "baneling", "zergling"), shot_target=shot,
        actions=actions, available=np.ones((FRAMES, 2, 6 + 12 + 2), bool), looks=12,
        fov=np.tile([3, 11], (FRAMES, 1)), heals=[1, 0, 0, 0], flies=[1, 0, 0, 0], blast=[0, 0, 2.2, 0],
        beam=[0, 1.25, 0, 0], energy=np.tile([50.0, 0, 0, 0], (FRAMES, 1)), energy_max=[200, 0, 0, 0],
        attack_prob=[1, 0.5], health_level=[0, 0.1], cliff_level=("1" * 32,) * 16 + ("2" * 32,) * 16,
    )


@pytest.fixture
def show(browser, tmp_path):
    """Opens players from files; fails the test on any console error or any request but the pages themselves."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, device_scale_factor=2)
    problems, requests, pages = [], [], []

    def open_page(replay):
        path, tab = tmp_path / f"{len(pages)}.html", context.new_page()
        replay.html(path)
        pages.append(path.as_uri())
        tab.on("console", lambda m: m.type == "error" and problems.append(m.text))
        tab.on("pageerror", lambda e: problems.append(str(e)))
        tab.on("request", lambda r: requests.append(r.url))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    context.close()
    assert problems == []
    assert [r for r in requests if not r.startswith("data:")] == pages


@pytest.fixture
def page(show, duel):
    """The player of the duel."""
    return show(duel)


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
    assert page.inner_text("#of-enemies") == "enemies 0 of 2, health 50 of 300"
    seek(page, 8)
    assert page.inner_text("#outcome") == ""
    assert page.inner_text("#of-enemies") == "enemies 1 of 2, health 150 of 300"


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
    assert page.inner_text("#action") == "east"
    assert (page.inner_text("#of-health"), page.inner_text("#of-shield")) == ("80 of 80", "40 of 80")
    assert "weapon\nready\n" in page.inner_text("#facts")
    page.keyboard.press("u")
    assert page.inner_text("#action") == "attack enemy 0"
    page.keyboard.press("End")
    assert step_of(page) == FRAMES - 1
    page.keyboard.press("Home")
    before = pixels(page)
    page.keyboard.press("m")
    assert page.is_checked("#whole") and pixels(page) != before
    page.keyboard.press("+")
    assert page.input_value("#speed") == "4"
    seek(page, 6)
    assert page.inner_text("#action") == "attack enemy 0, hit enemy 1"
    page.select_option("#unit", "2")
    seek(page, 9)
    assert page.inner_text("#action") == "dead"
    page.keyboard.press("Home")
    page.locator("#unit").blur()
    page.keyboard.press("Shift+U")
    assert page.input_value("#unit") == "1"


def chips(page) -> dict[str, str]:
    """What the panel offers: a chip's explanation and its look."""
    found = page.locator(".chips > span")
    return {c.get_attribute("title"): c.get_attribute("class") for c in found.all()}


def test_the_panel_shows_what_an_agent_can_do_and_does(page):
    """At a frame: what is available there, and what is chosen there for the next step."""
    assert chips(page) == {
        "no-op: not available": "off", "stop: available": "on", "north: not available": "off",
        "south: not available": "off", "east: chosen": "chosen", "west: not available": "off",
        "attack enemy 0: available": "on", "attack enemy 1: not available": "off",
    }
    assert page.locator(".chips > .chosen").inner_text() == "\u2192"
    page.keyboard.press("u")
    assert page.locator(".chips > .chosen").get_attribute("title") == "attack enemy 0: chosen"
    page.keyboard.press("End")
    assert chips(page) == {}  # no step follows
    page.select_option("#unit", "3")
    seek(page, 2)
    assert chips(page) == {} and page.inner_text("#action") == "no hit in this step"  # the computer's unit


def test_a_click_selects_the_unit_under_it(page, duel):
    """The scale and the middle of the picture follow from where the units were."""
    page.keyboard.press("m")
    box = page.locator("#field").bounding_box()
    scale = min(box["width"] / 32, box["height"] / 32)
    for u in (3, 1, 2, 0):
        x = box["x"] + box["width"] / 2 + (duel.x[0, u] - 16) * scale
        y = box["y"] + box["height"] / 2 - (duel.y[0, u] - 16) * scale
        page.mouse.click(float(x), float(y))
        assert page.input_value("#unit") == str(u)
    page.mouse.click(box["x"] + 4, box["y"] + 4)
    assert page.input_value("#unit") == "0"  # nobody there


def test_every_effect_is_drawn_and_every_action_has_the_same_name_as_in_python(show, zoo):
    tab = show(zoo)
    still_frames = {}
    for frame in (2, 3, 5, 7):
        seek(tab, frame)
        still_frames[frame] = pixels(tab)
    plain = show(replace(zoo, shot_target=np.full((FRAMES, 4), -1)))
    for frame, seen in still_frames.items():
        seek(plain, frame)
        assert (pixels(plain) == seen) == (frame == 2)
    for u, target in ((0, "heal agent 1"), (1, "attack enemy 1")):
        tab.select_option("#unit", str(u))
        seek(tab, 4)
        titles = list(chips(tab))
        assert [t.split(":")[0] for t in titles] == [zoo.action_name(u, a) for a in range(20)]
        assert tab.locator(".chips > .chosen").get_attribute("title") == f"{target}: chosen"
    assert "looks to\n330\u00b0\nattacks with\np = 0.5\ndies below\n10 % health" in tab.inner_text("#facts")
    tab.select_option("#unit", "0")
    assert tab.inner_text("#of-energy") == "50 of 200"
    seek(tab, 2)
    assert tab.inner_text("#action") == "look 90\u00b0"
    seek(tab, 3)
    assert tab.inner_text("#action") == "heal agent 1, healed agent 1"


def test_the_field_of_view_and_the_ranges_of_the_selected_unit_are_drawn(show, zoo):
    zoo = replace(zoo, actions=np.minimum(zoo.actions, 1))
    others = [dict(fov=zoo.fov + 1), dict(sight_range=zoo.sight_range + 1), dict(shoot_range=[5] * 4), dict(looks=0)]
    seen = [pixels(show(replace(zoo, **changes))) for changes in ({}, *others)]
    assert len(set(seen)) == 5


def test_agents_on_both_sides_have_names_and_choices(show, duel):
    both = replace(
        duel, actions=np.tile([1, 6, 7, 5], (FRAMES, 1)), available=np.ones((FRAMES, 4, 8), bool), fov=None,
    )
    assert [both.action_name(u, 7) for u in range(4)] == ["attack enemy 1"] * 2 + ["attack agent 1"] * 2
    tab = show(both)
    tab.select_option("#unit", "2")
    assert tab.locator(".chips > .chosen").get_attribute("title") == "attack agent 1: chosen"


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
    assert frame.locator("#panel").is_visible()
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
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace(duel, seed=6).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["battle.npz"]


@pytest.mark.parametrize("scenario", ["3m", "8m", "5m_vs_6m"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_battle_runs_again_to_the_bit_from_its_file(scenario, seed, tmp_path):
    """Lane 2 of four with random play: what the file holds is enough to repeat it alone."""
    path = tmp_path / "battle.npz"
    save_battle(path, record(make(scenario, n_envs=4), RandomPolicy(), lane=2, seed=seed, greedy=False))
    battle = load_battle(path)
    half = rerun(battle, len(battle) // 2)
    for name in ("x", "y", "health", "cooldown"):
        assert np.array_equal(half.units()[name].astype("f4"), getattr(battle, name)[len(battle) // 2])
    assert rerun(battle).fingerprint()[0].hex() == battle.fingerprint
    assert path.stat().st_size < 60_000


def test_options_and_a_used_up_script_survive_the_file(tmp_path):
    env = make("3m", obs_last_action=True, reward_sparse=True)
    battle = record(env, np.full((4, 1, 3), 4), seed=3)
    battle.save(tmp_path / "b.npz")
    again = load_battle(tmp_path / "b.npz")
    assert again.options["obs_last_action"] is True and again.outcome == "unfinished"
    assert rerun(again).options == env.options


def test_pictures_of_every_effect(zoo):
    """Colours that only an effect has: green for healing, orange for what burns, purple for energy."""
    near = lambda image, colour: (np.abs(image.astype(int) - colour).max(-1) < 12).any()
    green, orange, purple = (0x12, 0xA3, 0x5A), (0xE5, 0x8A, 0x00), (0x8F, 0x5B, 0xD1)
    found = {f: (near(zoo.image(f), green), near(zoo.image(f), orange)) for f in (2, 3, 5, 7)}
    assert found == {2: (False, False), 3: (True, False), 5: (False, True), 7: (False, True)}
    assert near(zoo.image(2), purple)
    pieces = [still(zoo, frame, trail=0) for frame in (4, 5, 6, 7)]
    lines, patches = ([len(getattr(ax, name)) for ax in pieces] for name in ("lines", "patches"))
    assert lines[1] == lines[0] + 3  # line and dot of the shot, and the beam
    assert patches[3] == patches[2] + 1  # the explosion
    plt.close("all")
