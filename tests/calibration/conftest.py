"""Real ngspice runs shared by the tests: each simulated once a session."""

from dataclasses import replace

import pytest
from spice_references import FIRST_SPIKE_S

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.calibration.rram.calibrate import calibrate_rram
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.verilog_a.choice import settled
from bruno_spice.devices.stimulus import Stimulus


@pytest.fixture(scope="session")
def ngspice(store):
    """A farm of ngspice with the session's store, which its pytest workers share."""
    return Farm(store=store)


@pytest.fixture(scope="session")
def farm(ngspice):
    """The same of the fastest simulator that is installed: for claims about the circuits, whoever simulates them.

    `test_vacask` holds the simulators against each other.
    """
    return settled(replace(ngspice, simulator="auto"), [neuron_deck(NEURON_NETLIST)], print)


@pytest.fixture(scope="session")
def neuron_dc(farm):
    """Level-A waveforms by DC current: up to just past the first spike, three spikes at 308 pA."""
    stops = {i: 3.1 * t if i == 308e-12 else 1.02 * t for i, t in FIRST_SPIKE_S.items()}
    runs = [NeuronRun(Stimulus.dc(current), stop) for current, stop in stops.items()]
    return dict(zip(stops, simulate_neurons(runs, farm=farm), strict=True))


@pytest.fixture(scope="session")
def rram(farm):
    """The calibrated RRAM cell, with fewer sampled devices than the committed card."""
    return calibrate_rram(farm=farm, devices=8)
