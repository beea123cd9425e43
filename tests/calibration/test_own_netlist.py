"""``bruno calibrate --netlist``: any neuron circuit with the documented pins, and a clear word about any other.

A testbench with a changed parameter is calibrated in the tutorial (tests/docs/test_commands.py).
"""

import json

import pytest

from calibration.experiments import NETLISTS, NEURON_NETLIST
from calibration.export import export_card
from calibration.store import Store
from devices import FeLIFCard


@pytest.fixture(scope="module")
def own_card():
    """A neuron of one's own: the published FeLIF with other values, so that its truth is known."""
    return FeLIFCard.published().with_values(
        v_threshold=2.3, v_floor=0.0, t_refractory=0.4e-3, thickness_int=0.8e-9, eps_hzo=32.0, leak_discharge=15e-12
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The command's store, empty."""
    monkeypatch.setattr(Store, "default", classmethod(lambda cls: cls(tmp_path / "store")))


def test_a_circuit_of_ones_own_is_calibrated_to_its_known_truth(bruno, own_card, store, tmp_path):
    library = export_card(own_card, tmp_path, "mine")[0]
    args = ["--netlist", library, "--out", tmp_path / "cards", "--domains", "1", "--json"]
    code, text, err = bruno("calibrate", "neuron", *args)
    assert code == 0, err
    assert json.loads(text)["neuron"] == json.loads((tmp_path / "cards" / "felif.json").read_text())
    card = FeLIFCard.load(tmp_path / "cards" / "felif.json")
    assert card.provenance.netlist == "mine.lib"
    for name, tolerance in (("v_threshold", 1e-3), ("t_refractory", 5e-3), ("thickness_int", 0.02), ("eps_hzo", 0.02)):
        assert card[name] == pytest.approx(own_card[name], rel=tolerance), name
    assert card["leak_discharge"] == pytest.approx(own_card["leak_discharge"], rel=0.02)
    worst = max(abs(row["first_spike_error"] or 0.0) for row in card.validation["stimuli"])
    assert worst < 2e-3


def test_wrong_pins_are_named_before_anything_runs(bruno, tmp_path):
    circuit = tmp_path / "mine.lib"
    circuit.write_text("* mine\n.subckt mine inj vm out pl pn vdd\nR1 vm 0 1k\n.ends\n")
    code, _, err = bruno("calibrate", "neuron", "--netlist", circuit, "--out", tmp_path)
    assert code == 2
    assert "no subcircuit has the pins of a neuron, inj vm spk pl pn vdd" in err
    assert "mine.lib:2 mine: inj vm out pl pn vdd" in err
    assert not (tmp_path / "felif.json").exists()


def test_a_testbench_without_the_stimulus_source_is_refused_by_its_name(bruno, tmp_path):
    text = NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/")
    mine = tmp_path / "mine.cir"
    mine.write_text(text.replace("Istim inj", "Iin inj"))
    code, _, err = bruno("calibrate", "neuron", "--netlist", mine, "--json")
    assert code == 2
    assert "has no element Istim" in err


def test_a_circuit_that_never_spikes_is_a_failed_calibration(bruno, store, tmp_path):
    circuit = tmp_path / "mine.lib"
    circuit.write_text(
        "* a capacitor with the right pins\n.subckt mine inj vm spk pl pn vdd\nVi vdd inj 0.3\n"
        "C1 vm 0 1p\nR1 vm 0 1meg\nR2 spk 0 1k\nR3 pl 0 1k\nR4 pn 0 1k\n.ends\n"
    )
    code, _, err = bruno("calibrate", "neuron", "--netlist", circuit, "--out", tmp_path)
    assert code == 1
    assert "no spike in SPICE" in err
