import os
import time

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import NETLISTS, NEURON_NETLIST, RRAM_NETLIST
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice import reading
from bruno_spice.calibration.spice.lines import split_comment
from bruno_spice.calibration.spice.netlist import Netlist

DECKS = sorted((NETLISTS / "testbenches").glob("*.cir"))


@pytest.fixture
def deck(tmp_path):
    (tmp_path / "sub.lib").write_text(
        "* lib\n.param inner=2u ; [A] from the include\n.subckt cell a b gain=3\nR1 a b {gain}\n.ends\n"
    )
    path = tmp_path / "deck.cir"
    path.write_text(
        "title .param ghost=1\n.include sub.lib\n.param vth=2.5 ; [V] threshold\n"
        ".param a=1k, b={2*vth}\n+ c = 10meg  $ three of them\n"
        "X1 n 0 cell gain={a}\nV1 n 0 PWL(0 0 1u 1)\n.tran 1u\n+ 10u\n"
        ".control\n.param notme=1\nrun\n.endc\n.end\n"
    )
    return path


def test_params_have_values_units_comments_and_places(deck):
    params = Netlist.load(deck).params
    assert {name: p.value for name, p in params.items()} == {
        "inner": 2e-6, "vth": 2.5, "a": 1e3, "b": 5.0, "c": 1e7,
    }  # fmt: skip
    assert (params["vth"].unit, params["vth"].comment) == ("V", "threshold")
    assert params["vth"].where == f"{deck}:3"
    assert params["inner"].where == f"{deck.parent / 'sub.lib'}:2"
    assert params["c"].where == f"{deck}:5"


def test_a_process_that_was_begun_before_answers_for_the_parameters(deck):
    reading._worker.cache_clear()
    reading.begin()
    worker = reading._worker(os.getpid())
    limit_s = time.monotonic() + 60
    while not (worker.process and worker._ngspice.version):
        assert time.monotonic() < limit_s
        time.sleep(0.01)
    begun = worker.process
    assert Netlist.load(deck).params["b"].value == 5.0
    assert worker.process is begun


def test_an_override_changes_the_rendered_text_and_never_the_file(deck):
    before = deck.read_text()
    netlist = Netlist.load(deck)
    changed = netlist.with_params({"VTH": 2.4, "c": 3.0, "inner": 1.0}).params
    assert (changed["vth"].value, changed["c"].value, changed["inner"].value, changed["a"].value) == (2.4, 3, 1, 1e3)
    assert ".param vth=2.4\n" in netlist.render({"vth": 2.4})
    assert netlist.with_params({"vth": 2.4}).params["vth"].unit == "V"
    assert deck.read_text() == before


def test_an_unknown_parameter_is_refused_with_the_nearest_known_one(deck):
    with pytest.raises(NetlistError, match=r"no .param 'vht'; did you mean 'vth'"):
        Netlist.load(deck).render({"vht": 1})


def test_the_hash_sees_values_and_includes_but_not_comments(deck):
    before = Netlist.load(deck).sha256()
    deck.write_text(deck.read_text().replace("threshold", "Schwelle"))
    assert Netlist.load(deck).sha256() == before
    assert Netlist.load(deck).sha256({"vth": 2.4}) != before
    lib = deck.parent / "sub.lib"
    lib.write_text(lib.read_text().replace("gain=3", "gain=4"))
    assert Netlist.load(deck).sha256() != before


def test_line_numbers_lead_back_to_the_files(deck):
    netlist = Netlist.load(deck)
    line = next(line for line in netlist.lines if line.text.startswith("R1"))
    assert line.where == f"{deck.parent / 'sub.lib'}:4"
    assert len(netlist.text.splitlines()) == len(netlist.rendered)
    assert [line.where for line in netlist.rendered if line.text.startswith("R1")] == [line.where]


def test_missing_and_circular_includes_name_the_line_that_asks(tmp_path):
    path = tmp_path / "deck.cir"
    path.write_text("* t\n\n.include nothere.lib\n")
    with pytest.raises(NetlistError, match=r"deck.cir:3: no such netlist file: .*nothere.lib"):
        Netlist.load(path)
    path.write_text("* t\n.include deck.cir\n")
    with pytest.raises(NetlistError, match=r"deck.cir:2: .*includes itself"):
        Netlist.load(path)
    with pytest.raises(NetlistError, match="no such netlist file"):
        Netlist.load(tmp_path / "absent.cir")


def test_library_sections_are_written_out(tmp_path):
    (tmp_path / "pdk.lib").write_text("* p\n.lib tt\n.param k=1\n.endl\n.lib ff\n.param k=2\n.endl\n")
    path = tmp_path / "deck.cir"
    path.write_text("* t\n.lib 'pdk.lib' FF\n")
    assert Netlist.load(path).params["k"].value == 2
    path.write_text("* t\n.lib pdk.lib sf\n")
    with pytest.raises(NetlistError, match=r"deck.cir:2: .*no library section 'sf'"):
        Netlist.load(path)


def test_stop_time_step_and_source_are_replaced(deck):
    netlist = Netlist.load(deck)
    assert netlist.t_stop_s() == pytest.approx(10e-6)
    changed = netlist.with_tran(2e-3, 1e-6).with_source("v1", np.array([0, 1e-6]), np.array([0.0, 3.0]))
    assert changed.t_stop_s() == pytest.approx(2e-3)
    assert "V1 n 0 PWL( 0 0 1e-06 3 )\n" in changed.text
    with pytest.raises(NetlistError, match="has no element Istim"):
        netlist.with_source("Istim", [0.0], [0.0])


def test_options_are_replaced_not_doubled():
    netlist = Netlist.load(NEURON_NETLIST).with_options(reltol=1e-6)
    settings = [line.code for line in netlist.rendered if "reltol" in line.code]
    assert settings == [".options reltol=1e-06"]
    assert "vntol=1e-6" in netlist.text


def test_control_blocks_are_left_out(deck):
    assert "notme" not in Netlist.load(deck).params
    assert "meas" not in Netlist.load(RRAM_NETLIST).text


def test_subcircuits_have_pins_and_parameters(deck):
    cell = Netlist.load(deck).subcircuits["cell"]
    assert cell.pins == ("a", "b")
    assert dict(cell.params) == {"gain": "3"}


@pytest.mark.parametrize(
    ("text", "code", "comment"),
    [
        ("R1 a 0 1k ; load", "R1 a 0 1k", "load"),
        ("R1 a 0 1k $ load", "R1 a 0 1k", "load"),
        ("* only words", "", "only words"),
        (".param x=1 // old", ".param x=1", "old"),
        (".param cost=3$", ".param cost=3$", ""),
    ],
)
def test_comments_are_split_as_ngspice_splits_them(text, code, comment):
    assert split_comment(text) == (code, comment)


@pytest.mark.parametrize("path", DECKS, ids=lambda p: p.name)
def test_every_deck_parameter_has_a_number_a_unit_and_a_meaning(path):
    for param in Netlist.load(path).params.values():
        assert param.value is not None, param
        assert param.unit, param
        assert param.comment, param


@pytest.mark.parametrize(
    "path",
    sorted(p for p in NETLISTS.glob("*/*.*") if p.suffix not in (".yaml", ".va", ".pyc")),
    ids=lambda p: p.name,
)
def test_expressions_in_b_sources_stand_in_parentheses(path):
    """ngspice pastes {x} without parentheses: a/{2*b} would become a/2*b, without a word."""
    for line in Netlist.load(path).lines:
        code = line.code
        if code[:1] in "bB+" and "func" not in code and "=" in code and ("V(" in code or "I(" in code):
            for at, char in enumerate(code):
                if char == "{":
                    assert code[at - 1] == "(", f"{line.where}: {code}"


def test_the_rendered_text_has_neither_comments_nor_spacing_of_its_own(tmp_path):
    texts = ["* a\nR1  a 0   1k ; x\n\n", "* b\n* c\nR1 a 0\n* d\n+ 1k\n", "* b\nR1 a 0 2k\n"]
    first, same, other = (Netlist.from_text(text, tmp_path / "a.cir").text for text in texts)
    assert first == same == "* bruno\nR1 a 0 1k\n.end\n"
    assert other != first
