"""Real ngspice runs shared by the tests: each simulated once a session, in a store of its own."""

import pytest

from calibration.experiments import NeuronRun, simulate_neurons
from calibration.farm import Farm
from calibration.store import Store
from devices.stimulus import Stimulus

FIRST_SPIKE_S = {60e-12: 273.8e-3, 120e-12: 121.8e-3, 308e-12: 44.6e-3, 800e-12: 16.8e-3, 2e-9: 6.67e-3, 5e-9: 2.66e-3}


@pytest.fixture(scope="session")
def farm(tmp_path_factory):
    return Farm(store=Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def neuron_dc(farm):
    """Level-A waveforms by DC current: up to just past the first spike, three spikes at 308 pA."""
    stops = {i: 3.1 * t if i == 308e-12 else 1.02 * t for i, t in FIRST_SPIKE_S.items()}
    runs = [NeuronRun(Stimulus.dc(current), stop) for current, stop in stops.items()]
    return dict(zip(stops, simulate_neurons(runs, farm=farm), strict=True))
