"""What the workbench is made of, without a browser: states, steps, files, jobs, and fits of a region."""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bruno_spice.calibration.benches.fecap import pund, pv_loops, twin_fecaps
from bruno_spice.calibration.cards.catalogue import load_any_card
from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.fecap.fit import fit_fecap
from bruno_spice.calibration.fecap.measurement import measurement, within
from bruno_spice.calibration.neuron.fit import fit_neuron, free_parameters, with_values
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.targets.comparison import card_sections
from bruno_spice.calibration.workbench import PAGES, TITLES
from bruno_spice.calibration.workbench.fecap import DRIVE, library
from bruno_spice.calibration.workbench.figures import Plot
from bruno_spice.calibration.workbench.page import (
    Drawing,
    Knob,
    Panel,
    answer,
    checked,
    spice_key,
)
from bruno_spice.calibration.workbench.place import MOST_BYTES, Place
from bruno_spice.calibration.workbench.server import Workbench
from bruno_spice.calibration.workbench.state import History, State
from bruno_spice.cli import app
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "start").mkdir()
    return Place(tmp_path / "start", tmp_path / "start" / "workbench")


def test_a_link_brings_the_same_floats_back():
    state = State({"ps": 0.1 + 0.2, "tau0": 5.7e-13}, {"view": "pv", "unit": "t=us q=uC/cm2"}, ("ps",), (1e-4, 1 / 3))
    assert State.of_link(state.link(), {"view": 0, "unit": 0}) == state
    for broken in ("ps=much", "region=3", "region=2:1", "ps=" + "1" * 9000):
        with pytest.raises(InputError):
            State.of_link(broken, {})


def test_a_drag_is_one_step_that_is_undone_and_done_again():
    history = History()
    for value in (0.1, 0.2, 0.3):
        history = history.to(State({"ps": value}), settled=value == 0.3)
    history = history.to(State({"ps": 0.9}))
    assert len(history.past) == 2
    back = history.back()
    assert back.now.values == {"ps": 0.3}
    assert back.back().now == State()
    assert back.back().forth().forth().now == history.now
    assert back.to(State({"ps": 0.4})).undone == ()


@pytest.mark.parametrize("knob", [Knob("t", "s", "", 1e-6, 1e-9, 1e-2), Knob("v", "V", "", 0.0, -5.0, 5.0)])
def test_a_slider_goes_from_bound_to_bound_and_back_to_where_it_was(knob):
    assert (knob.at(0.0), knob.at(1.0)) == (knob.low, knob.high)
    for position in np.linspace(0, 1, 31):
        assert knob.position(knob.at(position)) == pytest.approx(position, abs=1e-3)
    assert knob.log == (knob.name == "t")


def test_files_are_read_below_the_folder_of_start_alone(place, tmp_path):
    (tmp_path / "secret.csv").write_text("1")
    (place.root / "mine.csv").write_text("1")
    (place.root / "link.csv").symlink_to(tmp_path / "secret.csv")
    assert str(place.path("mine.csv")) == "mine.csv"
    for name in ("../secret.csv", str(tmp_path / "secret.csv"), "link.csv"):
        with pytest.raises(InputError, match="outside"):
            place.path(name)
    with pytest.raises(InputError, match="no such file"):
        place.path("none.csv")


def test_an_upload_keeps_what_is_there_and_has_a_bound(place):
    assert place.upload("../../loop.csv", b"1") == "workbench/uploads/loop.csv"
    assert place.upload("loop.csv", b"1") == "workbench/uploads/loop.csv"
    assert place.upload("loop.csv", b"2") == "workbench/uploads/loop-2.csv"
    assert (place.out / "uploads" / "loop.csv").read_bytes() == b"1"
    with pytest.raises(InputError, match="at most"):
        place.upload("big.csv", bytes(MOST_BYTES + 1))


def test_a_window_that_comes_back_is_remembered_and_a_copy_goes_its_own_way(place):
    workbench = Workbench(place)
    _, memory = workbench.memory("w", "fecap", "owner")
    memory.history = memory.history.to(State({"ps": 0.3}))
    name, copy = workbench.memory("w", "fecap", "another")
    assert name != "w"
    assert copy.history.now == memory.history.now
    copy.history = copy.history.to(State({"ps": 0.4}))
    memory.owner = None
    assert workbench.memory("w", "fecap", "the same again") == ("w", memory)
    assert memory.history.now.values == {"ps": 0.3}


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_is_whole_and_refuses_what_it_does_not_have(name, place, monkeypatch):
    monkeypatch.chdir(place.root)
    page = PAGES[name]
    assert page.name in TITLES
    choices, knobs = page.choices(State(), place), page.knobs(State(), place)
    assert len({knob.name for knob in knobs} | {choice.name for choice in choices}) == len(knobs) + len(choices)
    assert all(knob.meaning for knob in knobs)
    drawing = page.model(State(), place, None)
    panels = {panel.name for panel in page.panels(State(), place)}
    assert drawing.lines or drawing.said
    assert {panel for panel, _ in drawing.lines} <= panels
    with pytest.raises(InputError, match="no parameter 'nonsense'"):
        checked(State({"nonsense": 1.0}), choices, knobs)
    for choice in choices:
        if choice.options:
            with pytest.raises(InputError, match="there is no 'nonsense'"):
                checked(State(choices={choice.name: "nonsense"}), choices, knobs)


def test_a_measured_trace_is_held_against_a_card_and_fitted_within_a_region(place, one_domain, monkeypatch):
    monkeypatch.chdir(place.root)
    page, truth = PAGES["neuron"], one_domain["alpha"]
    simulate(NeuronParameters.from_card(one_domain), Stimulus.dc(3e-9), 6e-3, dt_s=2e-6).to_csv("trace.csv")
    one_domain.with_values(alpha=1.05 * truth).save("moved.json")
    state = page.file_chosen(State(choices={"card": "moved.json"}), "trace.csv")
    before = page.model(state, place, None)
    assert (before.lines["membrane", "measured"][1].max()) == pytest.approx(
        before.lines["membrane", "model"][1].max(), rel=0.05
    )
    assert before.numbers["spikes"] == {"model": "1", "measured": "1"}
    region = (0.5e-3, 3e-3)
    found = page.fit(replace(state, free=("alpha",), region=region), place, place.root, lambda _: None)
    assert found.values["alpha"] == pytest.approx(truth, rel=1e-3)
    after = page.model(replace(state, values=found.values), place, None)
    assert after.rms < 0.1 * before.rms
    within = page.model(replace(state, region=region), place, None)
    time_ms, left_mv = within.lines["left", "left"]
    inside = (time_ms >= 1e3 * region[0]) & (time_ms <= 1e3 * region[1])
    assert within.numbers["rms to the trace"]["model"] == f"{np.sqrt(np.mean(left_mv[inside] ** 2)):.3g} mV"
    with pytest.raises(InputError, match="outside"):
        page.model(state.with_choice("current", "/etc/passwd"), place, None)
    Path("drive.csv").write_text(Stimulus.dc(1e-9).to_csv_text())
    assert page.file_chosen(State(), "drive.csv").choices["stimulus"] == "file"


def test_two_reports_lie_over_each_other_as_bruno_compare_has_them(place, one_domain, monkeypatch):
    monkeypatch.chdir(place.root)
    other = one_domain.with_values(alpha=1.05 * one_domain["alpha"])
    for name, card in (("before", one_domain), ("after", other)):
        card.save(Path(name) / "felif.json")
        Path(name, "fecap.json").write_text("{}")
    state, page = State(choices={"of": "card", "a": "before", "b": "after"}), PAGES["cards"]
    sections = card_sections(load_any_card("before/felif.json"), load_any_card("after/felif.json"))
    figures = [each.figure for section in sections for each in section.plotly][1:]
    under = next(choice for choice in page.choices(state, place) if choice.name == "under")
    assert [title for _, title in under.options] == [figure.layout.title.text for figure in figures]
    drawn = page.model(state.with_choice("under", "2"), place, None).lines
    for trace, panel in zip(figures[1].data, ("membrane", "film", "membrane", "film", "left"), strict=True):
        role = {"A": "a", "B": "b", "difference": "left"}[trace.name]
        assert drawn[panel, role][1].tolist() == list(trace.y)
    assert {panel for panel, _ in drawn} == {panel.name for panel in page.panels(state, place)}
    tables = {table.title: table for table in page.tables(state, place)}
    assert ("SHA-256", *[card.provenance.sha256[:48] for card in (one_domain, other)]) in [
        tuple(cell[:48] for cell in row) for row in tables["Where the cards come from"].rows
    ]
    with pytest.raises(InputError, match="no card"):
        page.model(state.with_choice("a", "."), place, None)


@pytest.mark.parametrize("name", ["fecap", "neuron", "cards"])
def test_a_page_opens_with_what_its_model_says_and_remembers_it(name, place, monkeypatch, tmp_path):
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(place.root)
    page, state = PAGES[name], State()
    said = page.model(state, place, None)
    for count in (1, 1):
        first = answer(page, state, place, None)
        assert len(list((tmp_path / "cache").rglob("*.fit"))) == count
        assert {where: (x.tolist(), y.tolist()) for where, (x, y) in first.lines.items()} == {
            where: (x.tolist(), y.tolist()) for where, (x, y) in said.lines.items()
        }
        assert (first.numbers, first.rms, first.said) == (said.numbers, said.rms, said.said)
    monkeypatch.setattr(type(page), "model", lambda *_: Drawing(said=("anew",)))
    assert answer(page, state, place, None).said == said.said
    assert answer(page, State(values={"area": 2e-11}), place, None).said == ("anew",)
    assert answer(page, state, place, Drawing()).said == ("anew",)
    monkeypatch.setattr(type(page), "opens_with", lambda *_: ["another card, another netlist"])
    assert answer(page, state, place, None).said == ("anew",)


@pytest.mark.parametrize(
    ("name", "moved"), [("neuron", {"alpha": 4.4, "area": 2.6e-11}), ("rram", {"r_series": 700.5})]
)
def test_what_a_page_saves_is_what_the_command_that_it_shows_writes(name, moved, place, monkeypatch):
    """Bit for bit: the page's own card, and the file of the command run in the folder of start."""
    monkeypatch.chdir(place.root)
    found = PAGES[name].save(State(values=moved), place, None)
    card = next(path for path in found.paths if path.suffix == ".json")
    mine = card.read_bytes()
    card.unlink()
    words = shlex.split(found.command)
    assert words[:3] == ["bruno", "card", "set"]
    said = CliRunner().invoke(app, words[1:])
    assert said.exit_code == 0, said.output
    assert card.read_bytes() == mine
    assert {n: load_any_card(card)[n] for n in moved} == moved


def test_a_figure_sends_again_only_what_is_new():
    """Under a moving slider the simulator's line stays as it is, and so does the title."""
    x = np.linspace(0.0, 1.0, 11)
    spice = Drawing({("loop", "spice"): (x, x)})
    plot, sent = Plot(Panel("loop", "Loop", "x", "y"), dark=False), []
    plot.show([Drawing({("loop", "model"): (x, x**2)}), spice], "rms 1 %")

    def told(name):
        return lambda attr, old, new: sent.append(name)

    for role, line in plot.lines.items():
        line.data_source.on_change("data", told(role))
    plot.figure.title.on_change("text", told("title"))
    plot.show([Drawing({("loop", "model"): (x, x**3)}), spice], "rms 1 %")
    assert sent == ["model"]
    plot.show([Drawing({("loop", "model"): (x, x**3)})])
    assert sent == ["model", "title", "spice"]
    assert len(plot.lines["spice"].data_source.data["x"]) == 0


def test_the_twin_answers_the_benches_as_the_netlist_does(farm):
    for bench, asked in ((pv_loops, ([3.0], [1e3])), (pund, ([(2.5, 1e-4)],))):
        spice, twin = (bench(*asked, {"ps": 0.2}, **how) for how in ({"farm": farm}, {"engine": twin_fecaps}))
        np.testing.assert_allclose(twin.numbers, spice.numbers, rtol=5e-3, atol=5e-4)


def test_a_fit_of_a_region_sees_nothing_else(farm):
    time_s = np.linspace(0.0, 2e-3, 321)
    voltage = np.interp((1e3 * time_s) % 1, [0, 0.25, 0.75, 1], 3.0 * np.array([0, 1, -1, 0]))
    known = {name: param.value for name, param in library().items()}
    charge = charge_density(time_s, voltage, {**known, "ps": 0.18, "ea": 1.4})
    charge += np.random.default_rng(1).normal(0, 1e-3, charge.size)
    broken = charge + np.where(time_s < 1e-3, 0.08 * np.sin(9e3 * time_s), 0.0)
    record = measurement(time_s, voltage, broken, "charge")
    found = fit_fecap(within(record, (1.05e-3, 2e-3)), {}, ["ps", "ea"], farm=farm)
    assert found.values["ps"] == pytest.approx(0.18, rel=5e-3)
    assert found.values["ea"] == pytest.approx(1.4, rel=5e-3)
    assert found.only.used.sum() == (time_s >= 1.05e-3).sum()
    with pytest.raises(InputError, match="too few"):
        within(record, (0.0, 1e-5))


def test_a_neuron_is_fitted_within_a_region_before_its_first_spike(one_domain):
    truth = NeuronParameters.from_card(one_domain)
    stimulus = Stimulus.dc(3e-9)
    wave = simulate(truth, stimulus, 6e-3, dt_s=2e-6)
    moved = with_values(truth, {"alpha": 1.05 * truth.alpha})
    free = [each for each in free_parameters(moved) if each.name == "alpha"]
    assert wave.spike_times_s[0] > 4e-3
    found, _ = fit_neuron([Recording(stimulus, wave)], moved, free, region_s=(0.5e-3, 3e-3))
    assert found.values["alpha"] == pytest.approx(truth.alpha, rel=1e-3)
    with pytest.raises(InputError, match="before its first spike"):
        fit_neuron([Recording(stimulus, wave)], moved, free, region_s=(3e-3, 6e-3))


def test_a_place_looks_for_the_fastest_simulator_once(place):
    assert replace(place, found="ngspice").farm(place.root / "never_read.cir") == Farm(simulator="ngspice")


def test_an_edited_file_is_another_for_the_simulator(place):
    stimulus = place.root / "step.csv"
    stimulus.write_text("time_s,i_syn_a\n0,1e-9\n")
    page, state = PAGES["neuron"], State(choices={"stimulus": "file", "file": "step.csv"})
    before = spice_key(page, state, place)
    assert spice_key(page, state, place) == before
    os.utime(stimulus, ns=(1, 1))
    assert spice_key(page, state, place) != before


def test_a_record_is_driven_a_whole_number_of_times_before():
    (cycles,) = DRIVE["measured"]
    assert cycles.refusal(2.0) is None
    assert "whole" in cycles.refusal(1.5)
    assert "between 0 and 8" in cycles.refusal(1e9)
    assert all(cycles.at(position) == round(cycles.at(position)) for position in np.linspace(0, 1, 30))


def test_sliders_and_choices_have_names_of_their_own_with_a_file_too(place, monkeypatch):
    monkeypatch.chdir(place.root)
    place.upload("loop.csv", (CASES / "fecap" / "loop.csv").read_bytes())
    page = PAGES["fecap"]
    for view in ("pv", "pund", "kinetics", "measured"):
        state = State(choices={"file": "workbench/uploads/loop.csv", "view": view})
        names = {each.name for each in (*page.knobs(state, place), *page.choices(state, place))}
        assert len(names) == len(page.knobs(state, place)) + len(page.choices(state, place))


def test_a_link_keeps_emptied_fields_and_odd_names():
    state = State(choices={"window": "", "file": "a#b &+%.csv"})
    assert State.of_link(state.link(), {"window", "file"}) == state
    assert "#" not in state.link()
