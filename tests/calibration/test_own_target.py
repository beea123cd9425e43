"""A target of calibration of one's own is one file outside the package."""

import json

from tests.calibration.test_cli import one_sentence

TOY = '''
"""The neuron's deck, whose card is made up."""
from types import SimpleNamespace
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.targets.target import Target, common
from bruno_spice.devices.cards.base import FeLIFCard

TOY = Target(
    model="toy",
    calibrate=lambda **options: SimpleNamespace(card=FeLIFCard.published()),
    netlist=NEURON_NETLIST,
    deck=neuron_deck,
    accepts=frozenset(),
    options=common,
    summary=lambda card: f"threshold {card['v_threshold']:g} V",
    figures=lambda folder, done: {},
    sections=lambda done, figures: [],
)
'''


def test_a_target_of_ones_own_is_calibrated_from_its_file(bruno, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(TOY)
    code, out, err = bruno("calibrate", "toy.py:TOY", "--out", "cards")
    assert code == 0, err
    assert out == "cards/felif.json: threshold 2.5 V\n"
    assert json.loads((tmp_path / "cards" / "felif.json").read_text())["model"] == "felif"
    code, _, err = bruno("calibrate", "toy.py:TOY", "--domains", "4", "--out", "cards")
    assert code == 2
    assert one_sentence(err, "--domains goes with neuron; a toy knows nothing of it")
    code, _, err = bruno("vary", "toy.py:TOY")
    assert code == 2
    assert one_sentence(err, "nothing is known of how a toy varies")
