"""An exported card in ngspice is the Python model: same spikes, same conductance."""

import json

import numpy as np
import pytest

from bruno_spice.calibration.cards.export import export_card
from bruno_spice.calibration.circuits.deck import NEURON_PINS, neuron_deck
from bruno_spice.calibration.circuits.experiments import NeuronRun, pwl, simulate_neurons
from bruno_spice.calibration.circuits.stimuli import network_like
from bruno_spice.calibration.spice.farm import run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.devices.cards.base import FeLIFCard, HeraclesCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.rram.filament import RRAMParameters, conductance
from bruno_spice.devices.stimulus import Stimulus
from tests.devices.nudges import SHOWN

INHIBITED = Stimulus.steps(np.array([4, 4, -1, 4, -5, -5, 4, 4, 4, -2, 8, 8]) * 1e-9, name="inhibition")
STIMULI = {
    "60 pA": (Stimulus.dc(60e-12), 0.36),
    "300 pA": (Stimulus.dc(300e-12), 95e-3),
    "1 nA": (Stimulus.dc(1e-9), 33e-3),
    "5 nA": (Stimulus.dc(5e-9), 8e-3),
    "20 nA": (Stimulus.dc(20e-9), 3e-3),
    "network-like": network_like(1),
    "inhibition": (INHIBITED, 12e-3),
}


def four_domains(card):
    """A polycrystalline relative of `card`: four domains with offsets, reset to less than -1 and below 0 V."""
    values = {name: card[name] for name in card.UNITS}
    shape = [(0.8, -1e7, 0.2), (0.95, 2e7, 0.3), (1.1, 0.0, 0.3), (1.3, 1e7, 0.2)]
    for k, (ratio, offset, weight) in enumerate(shape, 1):
        values |= {
            f"activation_field_{k}": ratio * card["activation_field_1"],
            f"offset_field_{k}": offset,
            f"domain_weight_{k}": weight,
        }
    values |= {"polarization_reset": -0.9, "v_reset": -0.1, "v_floor": -0.3}
    return FeLIFCard.from_values(values, source="by hand", domains=4)


@pytest.fixture(scope="module", params=["calibrated", "four domains", "published", "heracles"])
def both(request, felif_card, ngspice, tmp_path_factory):
    """SPICE and model waveforms of one card by stimulus."""
    cards = {
        "calibrated": felif_card,
        "four domains": four_domains(felif_card),
        "published": FeLIFCard.published(),
        "heracles": HeraclesCard.published(),
    }
    card = cards[request.param]
    library = export_card(card, tmp_path_factory.mktemp("exported"))[0]
    runs = [NeuronRun(stimulus, stop) for stimulus, stop in STIMULI.values()]
    waves = simulate_neurons(runs, library, ngspice)
    return {
        name: (wave, simulate(card, stimulus, stop))
        for (name, (stimulus, stop)), wave in zip(STIMULI.items(), waves, strict=True)
    }


@pytest.mark.parametrize("stimulus", STIMULI)
def test_spike_times_agree_to_a_thousandth(both, stimulus):
    spice, model = both[stimulus]
    assert model.spike_times_s.size >= 1
    np.testing.assert_allclose(spice.spike_times_s, model.spike_times_s, rtol=1e-3)


def test_voltage_and_polarization_agree_between_the_spikes(both):
    spice, model = both["inhibition"]
    times = model.time_s[model.time_s < 0.95 * model.spike_times_s[0]]
    for signal, tolerance in (("v_mem_v", 0.01), ("polarization", 1e-3)):
        wanted = model.resampled(times)[signal]
        np.testing.assert_allclose(spice.resampled(times)[signal], wanted, rtol=0, atol=tolerance)


def random_card(rng):
    """A card within what films and circuits may be, 1 to 4 domains."""
    ranges = {
        "thickness_int": (0.2e-9, 1.5e-9), "eps_hzo": (20, 45), "alpha": (1.1, 1.6), "v_threshold": (1.8, 2.8),
        "t_refractory": (0.05e-3, 1e-3), "leak_density": (1e-5, 6e-4), "v_reset": (-0.3, 0.1),
        "polarization_reset": (-1.0, -0.8), "v_floor": (-1.0, -0.4),
    }  # fmt: skip
    domains = int(rng.integers(1, 5))
    values = {name: FeLIFCard.published()[name] for name in FeLIFCard.UNITS}
    values |= {name: rng.uniform(*span) for name, span in ranges.items()}
    for k, weight in enumerate(rng.dirichlet(np.full(domains, 3.0)), 1):
        values |= {
            f"activation_field_{k}": rng.uniform(9e8, 15e8),
            f"offset_field_{k}": rng.uniform(-2e7, 2e7),
            f"domain_weight_{k}": weight,
        }
    return FeLIFCard.from_values(values, source="drawn at random", domains=domains)


@pytest.mark.parametrize("seed", range(5))
def test_any_card_runs_in_ngspice_and_spikes_when_the_model_does(seed, ngspice, tmp_path):
    rng = np.random.default_rng(seed)
    card = random_card(rng)
    stimulus, stop = network_like(seed, 30)
    runs = [NeuronRun(stimulus, stop), NeuronRun(Stimulus.dc(10 ** rng.uniform(-9, -7.6)), 20e-3)]
    waves = simulate_neurons(runs, export_card(card, tmp_path)[0], ngspice)
    for run, spice in zip(runs, waves, strict=True):
        model = simulate(card, run.stimulus, run.t_stop_s)
        np.testing.assert_allclose(spice.spike_times_s, model.spike_times_s, rtol=1e-3)


def test_the_reset_state_is_held_for_the_dead_time(felif_card, ngspice, tmp_path):
    card = four_domains(felif_card).with_values(t_refractory=0.4e-3)
    library = export_card(card, tmp_path)[0]
    wave = simulate_neurons([NeuronRun(Stimulus.dc(5e-9), 4e-3)], library, ngspice)[0]
    spike = wave.spike_times_s[0]
    held = wave.resampled(spike + np.array([0.05e-3, 0.2e-3, 0.39e-3]))
    np.testing.assert_allclose(held["v_mem_v"], -0.1, atol=1e-4)
    np.testing.assert_allclose(held["polarization"], -0.9, atol=1e-4)
    free = wave.time_s[(wave.time_s > spike + 0.1e-3) & (wave["v_mem_v"] > -0.099)]
    assert free[0] - spike == pytest.approx(0.4e-3, rel=0.01)


def test_result_does_not_hang_on_the_time_step(felif_card, ngspice, tmp_path):
    library = export_card(felif_card, tmp_path)[0]
    stimulus = Stimulus.dc(20e-9)
    deck = neuron_deck(library).with_source("Istim", *pwl(stimulus, 1e-3))
    decks = [deck.with_tran(None, step) for step in (20e-6, 1e-6)]
    waves = run_jobs([transient_job(d, ("v(spk)",), 1e-3) for d in decks], ngspice)
    coarse, fine = (wave.crossings("v(spk)", 1.65)[0] for wave in waves)
    assert coarse == pytest.approx(fine, rel=1e-4)


def test_parameters_of_the_export_can_be_overridden_by_the_cards_names(felif_card, ngspice, tmp_path):
    library = export_card(felif_card, tmp_path)[0]
    run = NeuronRun(Stimulus.dc(5e-9), 4e-3, {"v_threshold": 2.2, "area": 20e-12})
    spice = simulate_neurons([run], library, ngspice)[0]
    model = simulate(felif_card.with_values(v_threshold=2.2, area=20e-12), run.stimulus, run.t_stop_s)
    np.testing.assert_allclose(spice.spike_times_s, model.spike_times_s, rtol=1e-3)


def test_the_param_file_holds_every_number_with_its_unit(felif_card, tmp_path):
    library, params = export_card(felif_card, tmp_path, "mine")
    assert Netlist.load(library).subcircuits["mine"].pins == NEURON_PINS
    found = Netlist.load(params).params
    assert set(found) == set(felif_card.parameters)
    for name, p in felif_card.parameters.items():
        assert found[name].value == pytest.approx(p.value, rel=1e-11)
        assert found[name].unit == p.unit


def test_the_filament_in_ngspice_has_the_models_conductance(rram_card, ngspice, tmp_path):
    library = export_card(rram_card, tmp_path)[0]
    points = [(10e-6, 0.4e-9, 45e-9), (50e-6, 0.36e-9, 49e-9), (100e-6, 0.44e-9, 41e-9), (300e-6, 0.4e-9, 45e-9)]
    deck = [f".include {library}", "V1 n1 0 PWL(0 0.2)", ".tran 1n 10n"]
    deck += [
        f"V{k + 2} n1 m{k} 0\nX{k} m{k} 0 rram iprog={i} length={a} radius={b}" for k, (i, a, b) in enumerate(points)
    ]
    netlist = Netlist.from_text("* filaments\n" + "\n".join(deck), tmp_path / "deck.cir")
    wave = run_jobs([transient_job(netlist, [f"i(v{k + 2})" for k in range(len(points))], 10e-9)], ngspice)[0]
    measured = [wave[f"i(v{k + 2})"][-1] / 0.2 for k in range(len(points))]
    parameters = RRAMParameters.from_card(rram_card)
    np.testing.assert_allclose(measured, [conductance(*point, parameters) for point in points], rtol=1e-6)


def test_names_and_dead_times_that_cannot_be_exported_are_refused(felif_card, tmp_path):
    with pytest.raises(InputError, match="'2fast' cannot name a subcircuit"):
        export_card(felif_card, tmp_path, "2fast")
    with pytest.raises(InputError, match="too short for a circuit to reset in"):
        export_card(felif_card.with_values(t_refractory=1e-9), tmp_path)


def test_bruno_exports_and_simulates_the_export(bruno, tmp_path):
    code, text, _ = bruno("card", "export", "data/calibrated/felif.json", "--out", tmp_path, "--json")
    assert code == 0
    library = json.loads(text)["files"][0]
    out = tmp_path / "trace.csv"
    args = ["--dc", "5n", "--t-stop", "8m", "--out", out, "--json"]
    spikes = []
    for engine in (["--engine", "spice", "--netlist", library], ["--engine", "model"]):
        code, text, _ = bruno("simulate", "neuron", *engine, *args)
        assert code == 0
        spikes.append(json.loads(text)["spike_times_s"])
    np.testing.assert_allclose(*spikes, rtol=1e-3)


@pytest.mark.parametrize("model", SHOWN)
def test_a_nudge_of_any_parameter_moves_the_exported_subcircuit_alike(model, ngspice, tmp_path):
    """Compared away from the spikes, within which the subcircuit takes a microsecond and the model none."""
    of_model = SHOWN[model]
    stimulus, stop = Stimulus.steps(of_model.levels_a[:7], rise_s=1e-6), 7e-3
    names = of_model.names
    cards = [of_model.card] + [of_model.card.with_values(**{name: of_model.nudged(name)}) for name in names]
    waves = [
        simulate_neurons([NeuronRun(stimulus, stop)], export_card(card, tmp_path / str(n))[0], ngspice)[0]
        for n, card in enumerate(cards)
    ]
    models = [simulate(card, stimulus, stop) for card in cards]
    times = np.arange(0.3e-3, stop, 0.1e-3)

    def shown(wave):
        at = wave.resampled(times)
        return np.stack([at["v_mem_v"], 5 * at["polarization"]])

    for name, wave, moved in zip(names, waves[1:], models[1:], strict=True):
        spikes = np.concatenate([moved.spike_times_s, models[0].spike_times_s])
        far = np.abs(times[:, None] - spikes).min(axis=1) > 20e-6
        wanted = (shown(moved) - shown(models[0]))[:, far]
        error = np.sqrt(np.mean(((shown(wave) - shown(waves[0]))[:, far] - wanted) ** 2))
        size = np.sqrt(np.mean(wanted**2))
        assert error < 0.1 * size, f"{name}: {error:.2g} of {size:.2g}"
