"""A neuron model of one's own is one file outside the package, and a parameter of its card one line more in it."""

import json
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from bruno_spice.calibration.cards.catalogue import load_any_card
from bruno_spice.devices.cards.base import card_class
from bruno_spice.devices.cards.schema import card_schema
from bruno_spice.devices.errors import CardError
from bruno_spice.devices.ferroelectric.bound import tag
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters, derivatives
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models import MODELS
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.dynamics import SOLVERS
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.runs.evaluation import evaluate

MINE = '''
"""A film that creeps (Vogel-Fulcher):  ln(1/tau) = ln(1/tau_0) - E_a/(|E| + E_f), in a linear capacitor."""
from bruno_spice.devices.models.model import SLOWEST_LN_RATE, Declared, NeuronModel, circuit, circuit_rows
from bruno_spice.devices.physics import EPS_0


class MyModel(NeuronModel):
    name = "creep"
    label = "Creep"
    source = "made up"
    parameters = {
        "area": Declared("m^2", "A: of the capacitor", "positive", published=25e-12, param="area"),
        "thickness": Declared("m", "t: of the film", "positive", published=10e-9, param="tfe"),
        "eps": Declared("1", "relative permittivity", "positive", published=25.0, fit=(3.0, 300.0)),
        "saturation": Declared("C/m^2", "Ps", "positive", published=0.2, fit=(0.01, 2.0)),
        "tau_0": Declared("s", "switching time at an infinite field", "positive", published=1e-10),
        "activation": Declared("V/m", "E_a", "positive", published=2.5e9, fit=(1e8, 1e11)),
        "freezing": Declared("V/m", "E_f: keeps tau finite at no field", "positive", published=3e7),
    } | circuit(
        leak_density=1e-4, leak_v_scale=0.32, leak_discharge=10e-12, leak_v_smooth=0.1, c_parallel=15e-15,
        v_threshold=2.5, v_reset=-0.2, polarization_reset=-1.0, t_refractory=3e-4, v_floor=-0.5, v_compliance=0.1,
    )
    domain_parameters = {}
    fitted = ("eps", "saturation", "activation", "leak_discharge")
    own = ("freezing",)
    own_domain = "activation"

    @staticmethod
    def softened(size, x):
        return size + x.freezing

    @staticmethod
    def ln_rate(size, x):
        return x.ln_rate - x.activation / size

    @staticmethod
    def steepness(size, x):
        return x.activation / (size * size)

    @staticmethod
    def steepness_slope(size, x):
        return -2.0 * x.activation / (size * size * size)

    @staticmethod
    def chord(size, ahead, x):
        return size / ahead

    @classmethod
    def rows(cls, x, domains, log, leak):
        c_total = EPS_0 * x["eps"] * x["area"] / x["thickness"] + x["c_parallel"]
        ln_rate, zero = log(1e-3 / x["tau_0"]), 0.0 * x["area"]
        return circuit_rows(x, leak) | {
            "drive": 1e-3 / c_total,
            "k_cap": 1e-9 / x["thickness"],
            "k_pol": zero,
            "v_per_p": x["area"] * x["saturation"] / c_total,
            "ln_rate": ln_rate,
            "freezing": 1e-9 * x["freezing"],
            "offset": [zero],
            "weight": [1.0 + zero],
            "smallest": [1e-9 * x["activation"] / (ln_rate - SLOWEST_LN_RATE)],
            "activation": [1e-9 * x["activation"]],
        }


class Offset(MyModel):
    name = "creep-offset"
    label = "CreepOffset"
    parameters = MyModel.parameters | {"imprint": Declared("V/m", "E_off", "not negative", published=1e7)}

    @classmethod
    def rows(cls, x, domains, log, leak):
        return super().rows(x, domains, log, leak) | {"offset": [1e-9 * x["imprint"]]}
'''
SETTINGS = ("network.hidden=[6]", "network.unit_current_a=2n", "synapse.bits=3", "task_options={trials: 40, steps: 4}")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with the user's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def mine(here) -> type[NeuronModel]:
    return MODELS.find("my_model.py:MyModel")


@pytest.fixture
def with_offset(here) -> type[NeuronModel]:
    return MODELS.find("my_model.py:Offset")


def test_the_oracle_computes_what_the_file_says(mine):
    parameters = NeuronParameters.from_card(card_class(mine).published())
    v, p, i_a = 1.3, 0.4, 2e-9
    dv, dp = derivatives(v, np.array([p]), i_a, parameters)
    rate = np.exp(-2.5e9 / (v / 10e-9 + 3e7)) / 1e-10
    assert dp[0] == pytest.approx((1 - p) * rate, rel=1e-9)
    c_total = 8.8541878e-12 * 25 * 25e-12 / 10e-9 + 15e-15
    leak = 1e-4 * 25e-12 * np.expm1(v / 0.32) + 10e-12 * np.tanh(v / 0.1)
    assert dv == pytest.approx((i_a - leak - 25e-12 * 0.2 * dp[0]) / c_total, rel=1e-7)


def test_the_neuron_spikes_after_its_charge(mine):
    card = card_class(mine).published()
    found = simulate(card, Stimulus.dc(2e-9), 15e-3)
    assert found.spike_times_s.size >= 1
    switched = 2 * 25e-12 * 0.2 + NeuronParameters.from_card(card).c_total * 2.5
    assert found.spike_times_s[0] == pytest.approx(switched / 2e-9, rel=0.05)
    assert found["polarization"].max() > 0.9


LEVELS_A = [4e-9, 6e-9, -3e-9, 0.1e-9, 5e-9, 9e-9, 4e-9, -5e-9, 9e-9, 9e-9]
FINE = {"rosenbrock": 1e-8, "logistic": 96, "euler": 8000}


def trace(card, solver: str, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """V, 5 p and spikes at the end of each millisecond."""
    layer = FeLIF(card, "tangent", solver, reset="event", accuracy=FINE[solver]).to(dtype)
    state, seen, spikes = layer.initial_state(1, 3), [], []
    for level in LEVELS_A:
        out, state = layer(torch.full((1, 1, 3), level, dtype=dtype), state)
        seen.append(torch.stack([state.voltage_v[0], 5.0 * state.domains[0, 0]]))
        spikes.append(out.spikes[0, 0, 0])
    return torch.stack(seen).double().numpy(), torch.stack(spikes).numpy()


@pytest.mark.parametrize(
    ("solver", "dtype"),
    [(name, torch.float64) for name in SOLVERS if name != "rosenbrock"] + [("logistic", torch.float32)],
    ids=str,
)
def test_all_solvers_agree_on_it(mine, solver, dtype):
    card = card_class(mine).published()
    truth, spikes = trace(card, "rosenbrock", torch.float64)
    assert spikes.sum() >= 2
    found, found_spikes = trace(card, solver, dtype)
    np.testing.assert_array_equal(found_spikes, spikes)
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.03


def test_one_file_is_all_that_training_takes(here, bruno):
    """neuron model: 1 file."""
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    asked = ("train", "--task", "pulses", "--neuron", "my_model.py:MyModel", "--card", "published", "--epochs", 1)
    code, out, err = bruno(*asked, *words, "--out", "run", "--json")
    assert code == 0, err
    assert set(json.loads(out)["cards"]) == {"creep", "rram"}
    assert json.loads((here / "run" / "cards" / "creep.json").read_text())["model"] == "creep"
    assert [path.name for path in here.iterdir() if path.suffix == ".py"] == ["my_model.py"]
    assert evaluate(here / "run", chips=1, trust_code=True)["test"] == json.loads(out)["test"]
    assert "--trust-code" in bruno("evaluate", "run")[2]
    assert bruno("report", "run")[0] == 0


def test_a_model_s_cards_are_read_and_written_like_those_of_the_package(here, mine):
    card = card_class(mine).published()
    card.save("creep.json")
    assert card_class(mine).load("creep.json") == load_any_card(here / "creep.json") == card
    with pytest.raises(CardError, match=r"'thickness' must be above 0 and at most 0\.001 m, not -1e-09"):
        card.with_values(thickness=-1e-9)


def test_a_parameter_of_a_card_is_one_line(mine, with_offset):
    """Declared once, `imprint` is in the card, its schema and limits, its numbers and what kernels read."""
    cards = card_class(with_offset)
    card = cards.published()
    assert set(card.parameters) - set(card_class(mine).published().parameters) == {"imprint"}
    assert (card["imprint"], card.parameters["imprint"].unit) == (1e7, "V/m")
    assert card_schema(cards)["properties"]["parameters"]["properties"]["imprint"]["properties"] == {
        "unit": {"const": "V/m"},
        "value": {"minimum": 0.0},
    }
    with pytest.raises(CardError, match="'imprint' must be at least 0 V/m, not -1"):
        card.with_values(imprint=-1.0)
    parameters = NeuronParameters.from_card(card)
    assert "imprint" in [each.name for each in fields(parameters)]
    one, other = (NeuronParameters.from_card(card.with_values(imprint=each)).constants() for each in (1e7, 2e7))
    assert (np.flatnonzero(one != other).size, (other - one).max()) == (1, pytest.approx(0.01))
    layer = FeLIF(card, solver="euler", accuracy=FINE["euler"]).double()  # compiled in a quarter of the time
    layer.set_devices({"imprint": torch.tensor([1e7, 5e7])})
    out, _ = layer(torch.full((3, 1, 2), 2e-9, dtype=torch.float64))
    assert out.voltage_v[-1, 0, 1] - out.voltage_v[-1, 0, 0] > 0.1


def test_a_changed_file_is_another_model(here, mine):
    """Compiled code is kept by the content of every file that a model comes from: an edit takes effect."""
    edited = MINE.replace("- x.activation / size", "- 1.2 * x.activation / size")
    before = trace(card_class(mine).published(), "euler", torch.float64)[0]
    (here / "my_model.py").write_text(edited)
    found = MODELS.find("my_model.py:MyModel")
    after = trace(card_class(found).published(), "euler", torch.float64)[0]
    assert np.abs(after - before).max() > 0.01


def test_a_file_that_lies_elsewhere_now_is_compiled_again(here, mine, monkeypatch):
    """As for the next process after a move: nothing knows the module by whose name numba kept the laws."""
    before = trace(card_class(mine).published(), "euler", torch.float64)[0]
    (here / "elsewhere").mkdir()
    (here / "my_model.py").rename(here / "elsewhere" / "my_model.py")
    for name in [name for name in sys.modules if name.endswith("_my_model")]:
        monkeypatch.delitem(sys.modules, name)
    moved = MODELS.find("elsewhere/my_model.py:MyModel")
    after = trace(card_class(moved).published(), "euler", torch.float64)[0]
    np.testing.assert_array_equal(after, before)


def test_compiled_code_of_a_derived_model_is_told_apart_by_its_base_too(here, mine):
    """Those of the package need no more than a name."""
    tags = []
    for text in (MINE, MINE + "# edited\n"):
        (here / "my_model.py").write_text(text)
        base = MODELS.find("my_model.py:MyModel")
        tags += [tag(base), tag(type("Derived", (base,), {"name": "creep", "__module__": __name__}))]
    assert len(set(tags)) == 4
    assert [tag(MODELS[name]) for name in ("felif", "heracles")] == ["felif", "heracles"]
