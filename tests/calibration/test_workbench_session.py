"""A window of the workbench without a browser: what it is asked, what it tells, its jobs, and what goes wrong."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from bokeh.document import Document

from bruno_spice.calibration.workbench import PAGES, server
from bruno_spice.calibration.workbench.figures import Shown, plots
from bruno_spice.calibration.workbench.page import (
    Choice,
    Drawing,
    Fitted,
    Knob,
    Page,
    Panel,
    checked,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.server import Workbench
from bruno_spice.calibration.workbench.session import Session
from bruno_spice.calibration.workbench.state import Memory, State, typed
from bruno_spice.devices.errors import InputError

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "start").mkdir()
    return Place(tmp_path / "start", tmp_path / "start" / "workbench")


def test_a_link_holds_what_a_choice_brings_to_choose(place, monkeypatch):
    monkeypatch.chdir(place.root)
    shown = []
    page, silent = PAGES["neuron"], lambda *_: None
    session = Session(page, place, Memory(), silent, shown.append, silent, silent)
    monkeypatch.setattr(type(page), "spice_key", lambda *_: None)  # nothing is simulated
    state = State(choices={"stimulus": "trace", "file": "", "unit": "t=us v=mV", "current": "308p"})
    session.ask(json.dumps({"do": "link", "query": state.link()}))
    assert session.state.choices["unit"] == "t=us v=mV"
    assert session.state.choices["current"] == "308p"
    session.ask(json.dumps({"do": "choose", "name": "stimulus", "value": "dc"}))
    session.ask(json.dumps({"do": "set", "name": "current", "text": "1n"}))
    session.ask(json.dumps({"do": "choose", "name": "stimulus", "value": "noise"}))
    assert session.notice == ""
    assert "current" not in session.state.values


class Pulses(Page):
    """A page whose simulator can be waited for: a model at once, what SPICE says and the difference later."""

    name, title, intro = "pulses", "Pulses", "A page of a test."

    def choices(self, state, place):
        return []

    def knobs(self, state, place):
        return [Knob("rate", "Hz", "", 1.0, 0.5, 2.0)]

    def panels(self, state, place):
        return [Panel("curve", "Curve", "time (ms)", "V"), Panel("left", "Difference", "time (ms)", "V", low=True)]

    def model(self, state, place, spice):
        line = np.arange(3.0), np.full(3, state.values.get("rate", 1.0))
        return Drawing({("curve", "model"): line} | ({} if spice is None else {("left", "left"): line}))

    def spice(self, state, place, progress):
        return Drawing({("curve", "spice"): (np.arange(3.0), np.ones(3))})


def test_a_simulation_waits_until_the_window_has_drawn_and_what_it_brings_is_waited_for(place, monkeypatch):
    begun, silent = [], lambda *_: None
    monkeypatch.setattr("bruno_spice.calibration.workbench.session.Job", lambda *given: begun.append(given))
    session = Session(Pulses(), place, Memory(), silent, silent, silent, silent)
    session.start(0)
    assert (session.waiting, begun) == (True, [])
    session.ask(json.dumps({"do": "drawn"}))
    assert (session.waiting, len(begun)) == (True, 1)
    session._hear("spice", session._jobs["spice"], ("done", Pulses().spice(None, None, silent)))
    assert not session.waiting
    assert ("left", "left") in session.model.lines


class Two(Pulses):
    def model(self, state, place, spice):
        line = np.arange(3.0), np.ones(3)
        return Drawing({("curve", "model"): line, ("left", "left"): line})


def test_a_window_gets_its_first_figure_before_the_others_are_made(place, monkeypatch):
    silent = lambda *_: None  # noqa: E731
    monkeypatch.setattr("bruno_spice.calibration.workbench.session.Job", lambda *_: None)
    asked = []
    session = Session(Two(), place, Memory(), lambda now: asked.append(now.wanted(())), silent, silent, silent)
    session.start(0)
    session.ask(json.dumps({"do": "drawn"}))
    assert [[panel.name for panel in panels] for panels in asked] == [["curve"], ["curve", "left"]]


def test_a_simulation_that_was_stopped_does_not_begin_again_until_something_is_moved(place, monkeypatch):
    begun, ended, silent = [], [], lambda *_: None

    class Endless:
        def __init__(self, *given):
            begun.append(self)

        def cancel(self):
            ended.append(self)

    monkeypatch.setattr("bruno_spice.calibration.workbench.session.Job", Endless)
    session = Session(Pulses(), place, Memory(), silent, silent, silent, silent)
    for request in ({"do": "drawn"}, {"do": "stop"}, {"do": "region", "text": ""}):
        session.ask(json.dumps(request))
    assert (len(begun), ended, session.waiting, session.progress) == (1, begun, False, {})
    session.ask(json.dumps({"do": "set", "name": "rate", "text": "1.5"}))
    assert len(begun) == 2
    session.close()


def test_a_figure_that_is_another_one_now_waits_for_its_first_line():
    curve, left = Pulses().panels(None, None)
    now = Shown((curve, replace(left, title="Another")), (Drawing(), Drawing()), None, waiting=True, drawn=True)
    assert now.wanted({curve, left}) == [curve]


def test_figures_that_are_there_stay_and_hide_what_they_lack():
    panels = Pulses().panels(None, None)
    shown = plots(panels, dark=False)
    line = np.arange(3.0), np.ones(3)
    for plot in shown:
        plot.show([Drawing({("curve", "model"): line, ("left", "left"): line})])
    again = plots(panels, False, shown)
    assert [a is b for a, b in zip(again, shown, strict=True)] == [True, True]
    again[1].show([Drawing({("curve", "model"): line})])
    left = again[1].lines["left"]
    assert (left.visible, len(left.data_source.data["x"])) == (False, 3)
    again[1].show([Drawing({("left", "left"): line})])
    assert left.visible
    first, second = plots([panels[0], replace(panels[1], title="Another")], False, shown)
    assert first is shown[0]
    assert second is not shown[1]
    assert second.figure.x_range is first.figure.x_range


def a_session(page, place, told=None):
    """A session without a window: what it tells goes into `told`."""
    silent = lambda *_: None  # noqa: E731
    tell = silent if told is None else told.append
    session = Session(page, place, Memory(), silent, tell, lambda call: call(), silent)
    session.start(0)
    return session


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State({"ea": 0.0}), "'ea' lies between"),
        (State({"ea": -3.0}), "'ea' lies between"),
        (State({"nmerz": 0.0}), "'nmerz' lies between"),
        (State({"tempk": 0.0}), "'tempk' lies between"),
        (State({"frequency": 0.0}), "'frequency' lies between"),
        (State({"width": 1e-12}, {"view": "pund"}), "'width' lies between"),
    ],
)
def test_a_film_that_there_is_not_is_refused_before_anything_is_computed(state, said, place, monkeypatch):
    monkeypatch.chdir(place.root)
    page = PAGES["fecap"]
    with pytest.raises(InputError, match=said):
        checked(state, page.choices(state, place), page.knobs(state, place))
    session = a_session(page, place)
    session.ask(json.dumps({"do": "link", "query": state.link()}))
    assert said in session.notice
    assert session.state == State()


class Broken(Pulses):
    def model(self, state, place, spice):
        if state.values:
            raise ZeroDivisionError("float division by zero")
        return super().model(state, place, spice)

    def panels(self, state, place):
        if state.region:
            raise RuntimeError("no such region")
        return super().panels(state, place)


def test_what_nobody_expected_is_a_sentence_and_the_window_lives_on(place, caplog):
    told = []
    session = a_session(Broken(), place, told=told)
    session.start(0)
    session.ask(json.dumps({"do": "set", "name": "rate", "text": "2", "seen": 1}))
    assert (told[-1]["seen"], told[-1]["undo"]) == (1, True)
    assert "ZeroDivisionError" in told[-1]["problem"]
    assert "\n" not in told[-1]["problem"]
    assert "model" in caplog.text
    session.ask(json.dumps({"do": "undo", "seen": 2}))
    assert (told[-1]["seen"], told[-1]["problem"]) == (2, "")
    session.select(1.0, 2.0)
    assert "no such region" in told[-1]["problem"]
    for text in ("{", "[]", '{"do": "no"}', '{"do": "set"}', '{"do": "set", "name": "rate", "position": "x"}'):
        session.ask(text)
        assert told[-1]["problem"]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("41", "1", 41.0), ("0.31", "1", 0.31), ("1", "1", 1.0), ("10m", "m", 0.01), ("3nA", "A", 3e-9),
     ("1e-9A", "A", 1e-9), ("300 K", "K", 300.0), ("2.5 MV/cm", "MV/cm", 2.5), ("5µs", "s", 5e-6), ("10 V", "V", 10.0)],
)  # fmt: skip
def test_a_field_takes_a_number_with_or_without_its_unit(text, unit, value):
    assert typed(text, unit) == value


def test_what_a_choice_takes_away_goes_from_the_state_and_the_link(place, monkeypatch):
    monkeypatch.chdir(place.root)
    place.upload("loop.csv", (CASES / "fecap" / "loop.csv").read_bytes())
    session = a_session(PAGES["fecap"], place)
    file = "workbench/uploads/loop.csv"
    for request in (
        {"do": "set", "name": "frequency", "text": "2k"},
        {"do": "set", "name": "amplitude", "text": "2"},
        {"do": "choose", "name": "file", "value": file},
        {"do": "choose", "name": "unit", "value": "t=us v=V q=uC/cm2"},
        {"do": "choose", "name": "record_hz", "value": "1k"},
        {"do": "set", "name": "cycles", "text": "2"},
    ):
        session.ask(json.dumps(request))
        assert session.notice == ""
    assert dict(session.state.values) == {"cycles": 2.0}
    link = session.state.link()
    session.ask(json.dumps({"do": "choose", "name": "file", "value": ""}))
    assert (session.notice, session.state) == ("", State())
    again = a_session(PAGES["fecap"], place)
    again.ask(json.dumps({"do": "link", "query": link}))
    assert again.notice == ""
    assert again.state.link() == link
    neuron = a_session(PAGES["neuron"], place)
    monkeypatch.setattr(type(neuron.page), "spice_key", lambda *_: None)
    for name, value in (("stimulus", "trace"), ("unit", "t=us"), ("stimulus", "dc")):
        neuron.ask(json.dumps({"do": "choose", "name": name, "value": value}))
    assert neuron.state.choices == {"stimulus": "dc"}


class Compared(Pulses):
    """Its rms is 0.5 for the file `far` and 0.1 for any other."""

    def choices(self, state, place):
        return [Choice("file", "File", "near")]

    def knobs(self, state, place):
        return [*super().knobs(state, place), Knob("drive", "V", "", 1.0, 0.5, 2.0)]

    def compared(self, state):
        return state.values.get("drive")

    def model(self, state, place, spice):
        rms = 0.5 if state.choices.get("file") == "far" or "drive" in state.values else 0.1
        return Drawing({("curve", "model"): (np.arange(3.0), np.arange(3.0))}, rms=rms)

    def fit(self, state, place, folder, progress):
        return Fitted({"rate": 1.5}, (), "", folder, (), {"file": "far"})


def test_best_and_saved_are_of_what_is_compared_now(place):
    session = a_session(Compared(), place)
    session.start(0)
    assert session.memory.best == (0.1, State())
    far = State(choices={"file": "far"})
    session.memory.history = session.memory.history.to(far)
    session._refresh()
    session.memory.best, session.memory.saved = (0.1, State()), object()
    session.ask(json.dumps({"do": "undo"}))
    assert session.memory.best == (0.1, State())
    assert session.memory.saved is None
    session.ask(json.dumps({"do": "redo"}))
    assert session.memory.best == (0.5, far)
    session.ask(json.dumps({"do": "undo"}))
    session.ask(json.dumps({"do": "set", "name": "drive", "text": "2"}))
    assert session.memory.best == (0.5, State({"drive": 2.0}))
    session.ask(json.dumps({"do": "undo"}))
    session._fitted(State(values={"gone": 1.0}), Compared().fit(None, None, place.root, None))
    session._refresh()
    assert session.state == State({"rate": 1.5}, {"file": "far"})
    assert session.memory.best == (0.5, session.state)


class Slow(Compared):
    def fit(self, state, place, folder, progress):
        progress("begun")
        while not (place.root / "go").exists():
            time.sleep(0.01)
        return super().fit(state, place, folder, progress)


def test_a_fit_goes_on_while_its_page_is_reloaded(place):
    calls, memory = SimpleQueue(), Memory()
    silent = lambda *_: None  # noqa: E731

    def until(true):
        limit = time.monotonic() + 60
        while not true() and time.monotonic() < limit:
            calls.get(timeout=60)()
        assert true()

    first, second = (Session(Slow(), place, memory, silent, silent, calls.put, silent) for _ in range(2))
    first.start(0)
    first.ask(json.dumps({"do": "fit"}))
    until(lambda: first.progress.get("fit") == "begun")
    job = memory.job
    first.close()
    second.start(0)
    assert memory.job is job
    until(lambda: second.progress.get("fit") == "begun")
    (place.root / "go").touch()
    until(lambda: memory.fitted is not None)
    assert second.state.values == {"rate": 1.5}
    assert (memory.job, second.progress) == (None, {})
    for _ in range(2):
        second.ask(json.dumps({"do": "fit"}))
        until(lambda: memory.job is None)
    assert len(list(memory.folder.iterdir())) <= 2
    memory.forget()
    assert not memory.folder.exists()


def test_a_window_that_was_closed_finds_the_fit_that_ended_meanwhile(place):
    calls, memory = SimpleQueue(), Memory()
    silent = lambda *_: None  # noqa: E731
    (place.root / "go").touch()
    first, second = (Session(Slow(), place, memory, silent, silent, calls.put, silent) for _ in range(2))
    first.start(0)
    first.ask(json.dumps({"do": "fit"}))
    first.close()
    memory.job._thread.join(60)
    second.start(0)
    while not calls.empty():
        calls.get()()
    assert second.state.values == {"rate": 1.5}


def test_a_save_says_what_it_took_the_place_of(place, monkeypatch):
    monkeypatch.chdir(place.root)
    session = a_session(PAGES["rram"], place)
    monkeypatch.setattr(type(session.page), "spice_key", lambda *_: None)
    replaced = []
    for value in ("700", "700", "800"):
        session.ask(json.dumps({"do": "set", "name": "r_series", "text": value}))
        session.ask(json.dumps({"do": "save"}))
        replaced.append([path.name for path in session.memory.saved.replaced])
    assert replaced == [[], [], ["rram.json", "rram.set"]]


def test_one_window_does_not_wait_for_what_another_computes(place, monkeypatch):
    go, told = threading.Event(), SimpleQueue()

    class Heavy(Pulses):
        def model(self, state, place, spice):
            assert go.wait(60)
            return super().model(state, place, spice)

    monkeypatch.setattr(server, "PAGES", {"heavy": Heavy(), "light": Pulses()})
    monkeypatch.setattr(server._View, "_in_loop", lambda self, call: call())
    workbench = Workbench(place)
    heavy, light = (server._View(workbench, name, Document()) for name in ("heavy", "light"))
    for view in (heavy, light):
        view._window.on_change("tell", lambda _, __, new, view=view: told.put((view, json.loads(new))))
        view._hear(json.dumps({"window": "w", "seen": 1}))
        assert told.get(timeout=60)[0] is view
        if view is heavy:
            view._hear(json.dumps({"do": "undo", "seen": 2}))
    view, first = told.get(timeout=60)
    assert (view, first["seen"]) == (light, 1)
    go.set()
    assert [told.get(timeout=60)[1]["seen"] for _ in range(2)] == [1, 2]
    for view in (heavy, light):
        view._close()
    assert [memory.owner for memory in workbench._memories.values()] == [None, None]


def test_this_machine_goes_by_two_names(place):
    served = Workbench(place).serve(0)
    assert served._tornado.websocket_origins == {f"{host}:{served.port}" for host in ("127.0.0.1", "localhost")}
    served.unlisten()
