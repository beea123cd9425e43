"""``bruno calibrate --netlist``: any neuron circuit with the documented pins, and a clear word about any other.

A testbench with a changed parameter is calibrated in the tutorial (tests/docs/test_commands.py).
"""

import json

import pytest

from bruno_spice.calibration.benches.neuron import parameter_effects
from bruno_spice.calibration.cards.export import export_card
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NETLISTS, NEURON_NETLIST
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.neuron.variability import sampled_recordings
from bruno_spice.devices.cards.base import FeLIFCard


@pytest.fixture(scope="module")
def own_card():
    """A neuron of one's own: the published FeLIF with other values, so that its truth is known."""
    return FeLIFCard.published().with_values(
        v_threshold=2.3,
        v_floor=-0.4,
        v_compliance=40e-3,
        t_refractory=0.4e-3,
        thickness_int=0.8e-9,
        eps_hzo=32.0,
        leak_discharge=15e-12,
        area=30e-12,
        v_reset=0.2,
    )


def test_a_circuit_of_ones_own_is_calibrated_to_its_known_truth(bruno, own_card, tmp_path):
    library = export_card(own_card, tmp_path, "mine")[0]
    args = ["--netlist", library, "--out", tmp_path / "cards", "--domains", "1", "--network-traces", "2", "--json"]
    code, text, err = bruno("calibrate", "neuron", *args)
    assert code == 0, err
    assert json.loads(text)["neuron"] == json.loads((tmp_path / "cards" / "felif.json").read_text())
    card = FeLIFCard.load(tmp_path / "cards" / "felif.json")
    assert card.provenance.netlist == "mine.lib"
    for name, tolerance in (("v_threshold", 1e-3), ("t_refractory", 5e-3), ("thickness_int", 0.02), ("eps_hzo", 0.02)):
        assert card[name] == pytest.approx(own_card[name], rel=tolerance), name
    assert card["v_reset"] == 0.2
    assert card.parameters["v_reset"].source == "measured after the spikes, to the millivolt"
    assert card["v_floor"] == pytest.approx(-0.4, abs=2e-3)
    assert card["v_compliance"] == pytest.approx(40e-3, rel=0.1)
    assert (card["area"], card.parameters["area"].source) == (30e-12, "netlist")
    assert card.parameters["c_parallel"].source == "assumed: Fehlings et al., arXiv 2505.17791"
    assert card["leak_discharge"] == pytest.approx(own_card["leak_discharge"], rel=0.02)
    worst = max(abs(row["first_spike_error"] or 0.0) for row in card.validation["stimuli"])
    assert worst < 3e-3


def test_wrong_pins_are_named_before_anything_runs(bruno, tmp_path):
    circuit = tmp_path / "mine.lib"
    circuit.write_text("* mine\n.subckt mine inj vm out pl pn vdd\nR1 vm 0 1k\n.ends\n")
    code, _, err = bruno("calibrate", "neuron", "--netlist", circuit, "--out", tmp_path)
    assert code == 2
    assert "mine.lib:2: subcircuit mine has the pins inj vm out pl pn vdd, but must have inj vm spk pl pn vdd" in err
    assert not (tmp_path / "felif.json").exists()


def test_a_testbench_without_the_stimulus_source_is_refused_by_its_name(bruno, tmp_path):
    text = NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/")
    mine = tmp_path / "mine.cir"
    mine.write_text(text.replace("Istim inj", "Iin inj"))
    code, _, err = bruno("calibrate", "neuron", "--netlist", mine, "--json")
    assert code == 2
    assert "has no element Istim" in err


def test_a_circuit_that_never_spikes_is_a_failed_calibration(bruno, tmp_path):
    circuit = tmp_path / "mine.lib"
    circuit.write_text(
        "* a capacitor with the right pins\n.subckt mine inj vm spk pl pn vdd\nVi vdd inj 0.3\n"
        "C1 vm 0 1p\nR1 vm 0 1meg\nR2 spk 0 1k\nR3 pl 0 1k\nR4 pn 0 1k\n.ends\n"
    )
    code, _, err = bruno("calibrate", "neuron", "--netlist", circuit, "--out", tmp_path)
    assert code == 1
    assert "no spike in SPICE" in err


@pytest.fixture
def my_neuron(own_card, tmp_path):
    """The library of docs/howto/circuit.md, around a film of one domain instead of 24 groups; its spread beside it."""
    circuit, (core, _) = tmp_path / "my_neuron.lib", export_card(own_card, tmp_path, "mine_core")
    circuit.write_text(
        f"* my neuron\n.include {core}\n"
        ".subckt my_neuron inj vm spk pl pn vdd  cextra=500f\n"
        "Xcore inj vm spk pl pn vdd mine_core\nCextra vm 0 {cextra}\n.ends\n"
    )
    spread = "parameters: {cextra: {distribution: normal, relative_sigma: 0.1}}"
    circuit.with_suffix(".variation.yaml").write_text(spread)
    return circuit


@pytest.mark.parametrize("pins", ["inj vm spk pl vdd", "vm inj spk pl pn vdd"])
def test_a_library_with_wrong_pins_is_not_replaced_by_what_it_includes(my_neuron, pins):
    right = ".subckt my_neuron inj vm spk pl pn vdd"
    my_neuron.write_text(my_neuron.read_text().replace(right, f".subckt my_neuron {pins}"))
    with pytest.raises(NetlistError, match=f"my_neuron.lib:3: subcircuit my_neuron has the pins {pins}, but must have"):
        neuron_deck(my_neuron)


def test_a_library_that_only_includes_a_circuit_is_that_circuit(my_neuron):
    copy = my_neuron.with_name("copy.lib")
    copy.write_text(f"* nothing of its own\n.include {my_neuron}\n")
    assert any("my_neuron" in line for line in neuron_deck(copy).top_level())


def test_a_library_s_parameter_is_set_and_enters_the_card_s_provenance(bruno, my_neuron, tmp_path):
    """The line that docs/howto/circuit.md gives, and what goes on from its card."""
    args = ["--netlist", my_neuron, "--set", "cextra=1p", "--domains", 1, "--out", tmp_path / "my_cards"]
    code, out, err = bruno("calibrate", "neuron", *args, "--network-traces", 0, "--monte-carlo", 0)
    assert code == 0, err
    assert "fitted to 8 transients" in out
    assert "network-like" not in out
    card = FeLIFCard.load(tmp_path / "my_cards" / "felif.json")
    assert card.provenance.netlist == "my_neuron.lib"
    assert card.provenance.overrides == {"cextra": 1e-12}
    assert card.provenance.sha256 == neuron_deck(my_neuron).sha256({"cextra": 1e-12})
    confidence = ["--card", tmp_path / "my_cards" / "felif.json", "--netlist", my_neuron]
    _, _, err = bruno("confidence", "area", *confidence)
    assert "'area' was not fitted" in err, "its recordings are the card's"


def test_the_devices_of_a_library_are_sampled(my_neuron, felif_card, ngspice, tmp_path, bruno):
    devices = sampled_recordings(felif_card, my_neuron, 8, ngspice, {}, 0)
    assert [len(recordings) for recordings in devices] == [3] * 8
    out = tmp_path / "table.csv"
    code, _, err = bruno("vary", "neuron", "--netlist", my_neuron, "--samples", 2, "--currents", "10n", "--out", out)
    assert code == 0, err
    assert len(out.read_text().splitlines()) == 3


def test_effects_of_a_parameter_that_a_circuit_lacks_name_one_that_it_has(my_neuron, ngspice):
    with pytest.raises(NetlistError, match=r"my_neuron.lib: no .param 'vth'; did you mean"):
        parameter_effects(netlist=my_neuron)
    numbers = parameter_effects((0.5, 2.0), ("cextra",), current_a=20e-9, netlist=my_neuron, farm=ngspice).numbers
    assert numbers["first_spike_s"][0] < numbers["first_spike_s"][1]
    mine = my_neuron.with_name("mine.cir")
    mine.write_text(NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/").replace("vth=2.5", "vth={5/2}"))
    assert neuron_deck(mine).params["vth"].value == 2.5, "an expression is the number that ngspice makes of it"
