"""The pages of the workbench, without a browser: what they show, fit and save is what the commands give."""

import base64
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bruno_spice.calibration.cards.provenance import provenance
from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NETLISTS, RRAM_NETLIST, RRAMRun, program_rrams
from bruno_spice.calibration.workbench import PAGES
from bruno_spice.calibration.workbench.page import Drawing, spice_key, value_of
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.session import Session
from bruno_spice.calibration.workbench.state import Memory, State
from bruno_spice.cli import app
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.rram.filament import current_range
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from tests.support.testers import aixacct_loop, film, settled_loop


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of start, which is the working folder, too."""
    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    return Place(tmp_path / "start", tmp_path / "start" / "workbench")


def silent(_):
    """What a job tells nobody."""


def sets(command):
    """The values that a command is given with --set."""
    words = shlex.split(command)
    pairs = (words[n + 1].split("=") for n, word in enumerate(words) if word == "--set")
    return {name: float(value) for name, value in pairs}


def test_the_film_that_goes_on_has_the_thickness_and_temperature_that_its_file_states(place):
    page, truth = PAGES["fecap"], film(tfe=13e-9, ps=0.2)
    Path("loop.dat").write_text(aixacct_loop(truth), encoding="latin-1")
    rows = ("\t".join(f"{each:.9e}" for each in row) for row in zip(*settled_loop(truth), strict=True))
    head = "thickness [nm]: 13\ntemperature [K]: 350\ntime [s]\tvoltage [V]\tcharge [C/m2]\n"
    Path("warm.txt").write_text(head + "\n".join(rows) + "\n")
    for file, stated in (("loop.dat", {"tfe": 13e-9}), ("warm.txt", {"tfe": 13e-9, "tempk": 350.0})):
        state = page.file_chosen(State(values={"ps": 0.2}), file)
        assert page.model(state, place, None).rms < 0.05
        for view in ("measured", "pv"):  # it is the same film
            seen = state.with_choice("view", view)
            assert value_of(page.knobs(seen, place), seen)["tfe"] == pytest.approx(13e-9)
        goes_on = sets(page.save(state, place, None).command)
        assert goes_on == pytest.approx({"ps": 0.2, **stated})
        moved = replace(state, values={**state.values, "tfe": 9e-9, "cycles": 2.0, "s0": 0.5})
        assert sets(page.save(moved, place, None).command)["tfe"] == 9e-9
        assert not {"s0", "cycles"} & set(sets(page.save(moved, place, None).command))


MINE = (
    f"* mine\n.include {NETLISTS}/circuits/felif_neuron.lib\n.subckt mine inj vm spk pl pn vdd vth=2.5 cextra=1f\n"
    "Xcore inj vm spk pl pn vdd felif_neuron vth={vth}\nCextra vm 0 {cextra}\n.ends\n"
)
EARLY = State(values={"current": 10e-9, "end": 2e-3})


def of_circuit(card, netlist, overrides, path):
    """`card` as one that was calibrated on `netlist` at `overrides`, saved."""
    origin = provenance(neuron_deck(netlist), overrides, "").model_copy(update={"netlist": str(netlist)})
    card.model_copy(update={"provenance": origin}).save(Path(path))


def test_spice_is_the_circuit_that_the_chosen_card_was_calibrated_on(place, one_domain, farm):
    page, place = PAGES["neuron"], replace(place, simulator=farm.simulator)
    Path("mine.lib").write_text(MINE)
    of_circuit(one_domain, Path("mine.lib"), {"vth": 2.2}, "mine.json")
    state = replace(EARLY, choices={"card": "mine.json"})
    values = value_of(page.knobs(state, place), state)
    assert {name: values[f"deck.{name}"] for name in ("vth", "cextra")} == {"vth": 2.2, "cextra": 1e-15}
    assert "deck.cpar" not in values  # which the project's circuit has
    found = page.spice(state, place, silent)
    assert found.lines["membrane", "spice"][1].max() == pytest.approx(2.2, abs=0.05)
    assert any("mine.lib at vth=2.2" in text for text in found.said)
    project = replace(EARLY, values={**EARLY.values, "deck.vth": 2.2})
    assert spice_key(page, state, place) != spice_key(page, EARLY, place)
    assert page.spice(EARLY, place, silent).said == ()
    assert page.spice(project, place, silent).lines["membrane", "spice"][1].max() == pytest.approx(2.2, abs=0.05)


def test_an_edited_circuit_is_simulated_anew_and_its_sliders_start_there(place, one_domain):
    """Whichever file of it was edited."""
    page = PAGES["neuron"]
    Path("inner.lib").write_text(MINE)
    Path("mine.lib").write_text(
        "* outer\n.include inner.lib\n.subckt outer inj vm spk pl pn vdd vth=2.5\n"
        "Xmine inj vm spk pl pn vdd mine vth={vth}\n.ends\n"
    )
    of_circuit(one_domain, Path("mine.lib"), {"vth": 2.2}, "mine.json")
    state = replace(EARLY, choices={"card": "mine.json"})
    before = spice_key(page, state, place)
    assert spice_key(page, state, place) == before
    Path("inner.lib").write_text(MINE.replace("cextra=1f", "cextra=2f"))
    assert spice_key(page, state, place) != before
    Path("mine.lib").write_text(Path("mine.lib").read_text().replace("vth=2.5", "vth=2.5 cmore=3f"))
    assert value_of(page.knobs(state, place), state)["deck.cmore"] == 3e-15


def test_a_card_whose_circuit_is_not_here_says_so_and_the_circuit_can_be_named(place, one_domain, farm, tmp_path):
    page, place = PAGES["neuron"], replace(place, simulator=farm.simulator)
    (tmp_path / "elsewhere.lib").write_text(MINE)
    Path("circuits").mkdir()
    Path("circuits", "mine.lib").write_text(MINE)
    of_circuit(one_domain, tmp_path / "elsewhere.lib", {"vth": 2.2}, "elsewhere.json")
    of_circuit(one_domain, Path("circuits/mine.lib"), {"vth": 2.2}, "gone.json")
    Path("gone.json").write_text(Path("gone.json").read_text().replace("circuits/mine.lib", "mine.lib"))
    for card, said in (("elsewhere.json", "lies elsewhere"), ("gone.json", "not found")):
        state = replace(EARLY, choices={"card": card})
        assert value_of(page.knobs(state, place), state)["deck.vth"] == 2.5
        (text,) = page.spice(state, place, silent).said
        assert said in text
        assert "the project's neuron.cir" in text
        named = state.with_choice("netlist", "circuits/mine.lib")
        assert value_of(page.knobs(named, place), named)["deck.vth"] == 2.2
    with pytest.raises(InputError, match="outside"):
        page.knobs(EARLY.with_choice("netlist", str(tmp_path / "elsewhere.lib")), place)


def ran(line, *more):
    """`bruno`'s answer to a line that a page shows."""
    said = CliRunner().invoke(app, [*shlex.split(line)[1:], *more])
    assert said.exit_code == 0, said.output


def test_a_tuned_circuit_is_saved_as_the_line_that_simulates_it(place, farm):
    page, place = PAGES["neuron"], replace(place, simulator=farm.simulator)
    state = replace(EARLY, values={**EARLY.values, "deck.vth": 2.2, "alpha": 4.0})
    saved = page.save(state, place, None)
    card, line = saved.command.splitlines()
    assert "felif.json" in card
    assert Path("workbench/neuron/neuron.set").read_text().splitlines()[1] == line
    ran(line, "--out", "spice.csv")
    _, membrane = page.spice(state, place, silent).lines["membrane", "spice"]
    trace = Waveform.from_csv("spice.csv")
    assert trace["v_mem_v"] == pytest.approx(membrane, abs=1e-8)
    assert sets(line) == {"vth": 2.2}
    circuit = page.save(replace(state, values={**EARLY.values, "deck.vth": 2.2}), place, None)
    assert shlex.split(circuit.then)[:5] == ["bruno", "calibrate", "neuron", "--set", "vth=2.2"]


def test_where_nothing_was_moved_no_card_is_written(place):
    saved = PAGES["neuron"].save(EARLY, place, None)
    assert [path.name for path in saved.paths] == ["neuron.set"]
    assert saved.command == Path("workbench/neuron/neuron.set").read_text().strip()
    assert "--card" not in saved.then


def test_a_region_is_all_that_counts_for_the_distance_to_spice(place, farm):
    page, place = PAGES["neuron"], replace(place, simulator=farm.simulator)
    spice = page.spice(EARLY, place, silent)
    region = (0.2e-3, 0.6e-3)
    within = page.model(replace(EARLY, region=region), place, spice)
    time_ms, left_mv = within.lines["left", "left"]
    inside = (time_ms >= 1e3 * region[0]) & (time_ms <= 1e3 * region[1])
    rms_v = 1e-3 * np.sqrt(np.mean(left_mv[inside] ** 2))
    assert within.rms == pytest.approx(rms_v / np.ptp(spice.lines["membrane", "spice"][1]), rel=1e-6)
    assert within.rms < 0.9 * page.model(EARLY, place, spice).rms


def test_a_fit_of_a_neuron_tells_its_evaluations(place, one_domain, monkeypatch):
    monkeypatch.setattr("bruno_spice.calibration.workbench.page.SAID_EVERY_S", 0.0)
    page, heard = PAGES["neuron"], []
    simulate(NeuronParameters.from_card(one_domain), Stimulus.dc(3e-9), 6e-3, dt_s=2e-6).to_csv("trace.csv")
    one_domain.with_values(alpha=1.05 * one_domain["alpha"]).save(Path("moved.json"))
    state = page.file_chosen(State(choices={"card": "moved.json"}), "trace.csv")
    page.fit(replace(state, free=("alpha",)), place, place.root, heard.append)
    counts = [int(text.split(": ")[1].split()[0]) for text in heard if "evaluations" in text]
    assert counts == list(range(1, len(counts) + 1))
    assert float(heard[-1].split(", ")[-1].split()[0]) < 50


def of_cell(card, netlist, overrides, path, variant="var"):
    """`card` as one that was calibrated on the cell `netlist` at `overrides`, saved."""
    origin = provenance(rram_deck(netlist), overrides, "").model_copy(update={"netlist": str(netlist)})
    fit = {**card.fit, "rth_variant": variant}
    card.model_copy(update={"provenance": origin, "fit": fit}).save(Path(path))


def test_a_cell_in_spice_is_the_one_that_the_chosen_card_was_calibrated_on(place, rram_card, farm):
    page, place = PAGES["rram"], replace(place, simulator=farm.simulator)
    of_cell(rram_card, RRAM_NETLIST, {"ninit": 0.02}, "mine.json")
    of_cell(rram_card, RRAM_NETLIST, {}, "det.json", "det")
    of_cell(rram_card, RRAM_NETLIST, {}, "gone.json")
    Path("gone.json").write_text(Path("gone.json").read_text().replace(str(RRAM_NETLIST), "gone.cir"))
    heard, g_us, said = [], {}, {}
    for name in ("", "mine.json", "det.json", "gone.json"):
        state = State(choices={"card": name} if name else {})
        found = page.spice(state, place, heard.append)
        g_us[name], said[name] = found.lines["set", "spice"][1], " ".join(found.said)
        starts = value_of(page.knobs(state, place), state)
        assert starts["deck.ninit"] == pytest.approx(
            0.02 if name == "mine.json" else rram_deck(RRAM_NETLIST).params["ninit"].value
        )
    card = rram_card["length_mean"], rram_card["radius_mean"]
    at = np.geomspace(*current_range(rram_card), 7)
    runs = [RRAMRun(float(current), *card, "var", overrides={"ninit": 0.02}) for current in at]
    assert g_us["mine.json"] == pytest.approx(1e6 * program_rrams(runs, farm=farm))
    assert "ninit=0.02" in said["mine.json"]
    assert "not found" in said["gone.json"]
    assert said[""] == ""
    assert g_us["gone.json"] == pytest.approx(g_us[""])
    runs = [RRAMRun(float(current), *card, "det") for current in at]
    assert g_us["det.json"] == pytest.approx(1e6 * program_rrams(runs, farm=farm))
    told = {int(text.split()[2]) for text in heard if " of 7 done" in text}
    assert max(told) == 7
    assert len(told) > 3  # point by point, two of which may come at once


def test_a_tuned_cell_is_saved_as_the_line_that_programs_it(place, farm):
    page, place = PAGES["rram"], replace(place, simulator=farm.simulator)
    saved = page.save(State(values={"deck.ninit": 0.02, "r_series": 900.0}), place, None)
    card, line = saved.command.splitlines()
    assert "rram.json" in card
    assert Path("workbench/rram/rram.set").read_text().splitlines()[1] == line
    said = CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"])
    run = RRAMRun(1e-4, 0.4e-9, 45e-9, "var", overrides={"ninit": 0.02})
    assert json.loads(said.stdout)["g_s"] == pytest.approx(program_rrams([run], farm=farm)[0], rel=1e-6)
    cell = page.save(State(values={"deck.ninit": 0.02}), place, None)
    assert [path.name for path in cell.paths] == ["rram.set"]
    assert shlex.split(cell.then)[:3] == ["bruno", "calibrate", "rram"]
    plain = page.save(State(), place, None)
    assert [path.name for path in plain.paths] == ["rram.set"]
    assert plain.command == Path("workbench/rram/rram.set").read_text().strip()


def test_a_region_is_all_that_counts_for_a_cells_distance_to_spice(place, rram_card):
    page, at_ua = PAGES["rram"], np.geomspace(20.0, 300.0, 7)
    g_us = np.interp(at_ua, *page.model(State(), place, None).lines["set", "model"])
    spice = Drawing({("set", "spice"): (at_ua, g_us * np.where(at_ua > 100, 0.8, 1.0))})
    assert page.model(State(), place, spice).rms > 0.1
    assert page.model(State(region=(0.0, 90e-6)), place, spice).rms < 0.01
    assert page.model(State(region=(1.0, 2.0)), place, spice).rms is None


def test_a_fit_of_a_cell_tells_its_evaluations(place, farm, monkeypatch):
    monkeypatch.setattr("bruno_spice.calibration.workbench.page.SAID_EVERY_S", 0.0)
    heard, place = [], replace(place, simulator=farm.simulator)
    PAGES["rram"].fit(State(values={"r_series": 900.0}, free=("r_series",)), place, place.root, heard.append)
    counts = [int(text.split(": ")[1].split()[0]) for text in heard if "evaluations" in text]
    assert counts == list(range(1, len(counts) + 1)) != []


def test_a_parameter_of_a_filament_says_what_it_is_and_levels_in_spice_are_the_cards_own(place, rram_card):
    page = PAGES["rram"]
    for knob in page.knobs(State(), place):
        assert knob.meaning not in ("fit", "netlist")
        assert not knob.meaning.startswith("design")
    assert set(rram_card.MEANINGS) == {*rram_card.UNITS, *rram_card.OPTIONAL_UNITS}
    levels = State(choices={"view": "levels"})
    assert page.model(levels, place, None).numbers["level 1"].keys() == {"model", "spice"}
    tuned = page.model(replace(levels, values={"r_series": 900.0}), place, None)
    assert tuned.numbers["level 1"].keys() == {"model"}


def test_a_folder_stands_for_its_card_where_the_page_takes_two(place, one_domain):
    """As the window asks for it."""
    quiet = lambda *_: None  # noqa: E731
    one_domain.save(Path("before/felif.json"))
    one_domain.with_values(alpha=1.05 * one_domain["alpha"]).save(Path("after/felif.json"))
    session = Session(PAGES["cards"], place, Memory(), quiet, quiet, quiet, quiet)
    for name, value in (("of", "card"), ("a", "before"), ("b", "after")):
        session.ask(json.dumps({"do": "choose", "name": name, "value": value}))
    assert (session.notice, session.problem) == ("", "")
    assert ("latency", "b") in session.model.lines
    uploaded = one_domain.to_json().encode()
    session.ask(json.dumps({"do": "upload", "name": "mine.json", "content": base64.b64encode(uploaded).decode()}))
    assert session.state.choices["b"] == "workbench/uploads/mine.json"
    session.ask(json.dumps({"do": "choose", "name": "b", "value": ""}))
    assert (session.notice, session.problem) == ("", "")
    assert ("latency", "b") not in session.model.lines
