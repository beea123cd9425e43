"""Every declared card parameter of every neuron model, nudged, moves every solver alike: none is lost on the way into a
kernel. What stands for the truth in a model's right-hand side is in `EQUATIONS`.
"""

import numpy as np
import pytest
import torch

from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.rosenbrock import rates
from bruno_spice.devices.models import MODELS
from bruno_spice.training.dynamics import SOLVERS, step_back
from bruno_spice.training.dynamics.laws import at_membrane, field, polarization, rows_of, switching, torch_laws
from bruno_spice.training.dynamics.unrolled import euler_step
from bruno_spice.training.neurons.felif import FeLIF
from tests.devices.nudges import SHOWN
from tests.support import felif_equations, heracles_equations

FINE = {"logistic": 96, "rosenbrock": 1e-8, "euler": 8000}
EQUATIONS = {"felif": felif_equations.derivatives, "heracles": heracles_equations.derivatives}
FILM_V = {"felif": (-0.4, 2.4), "heracles": (-1.0, 1.6)}
EACH = pytest.mark.parametrize(("model", "name"), [(model, name) for model in SHOWN for name in SHOWN[model].names])


def test_every_model_is_here():
    assert set(SHOWN) == set(EQUATIONS) == set(FILM_V) == set(MODELS)


def layer(model: str, solver: str, dtype: torch.dtype) -> FeLIF:
    """A neuron of the card, and one for each parameter in which that one is nudged."""
    shown = SHOWN[model]
    neuron = FeLIF(shown.card, "tangent", solver, reset="event", accuracy=FINE[solver]).to(dtype)
    width = 1 + len(shown.names)
    columns = {name: torch.full((width,), shown.card[name], dtype=torch.float64) for name in shown.names}
    for n, name in enumerate(shown.names, 1):
        columns[name][n] = shown.nudged(name)
    neuron.set_devices(columns)
    return neuron


def responses(model: str, solver: str, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """What each nudge does to V, of the film and of the membrane, and p at the end of every millisecond, (rows,
    parameters); and all spikes."""
    neuron, width = layer(model, solver, dtype), 1 + len(SHOWN[model].names)
    state, shown, spikes = neuron.initial_state(1, width), [], []
    for level in SHOWN[model].levels_a:
        out, state = neuron(torch.full((1, 1, width), level, dtype=dtype), state)
        seen = [out.voltage_v[0]] if neuron.model.TERMINAL else []
        shown.append(torch.cat([state.voltage_v, 5.0 * state.domains[:, 0], *seen]).double())
        spikes.append(out.spikes[0, 0])
    whole = torch.cat(shown).numpy()
    return whole[:, 1:] - whole[:, :1], torch.stack(spikes).double().numpy()


@pytest.fixture(scope="module")
def truth() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {model: responses(model, "rosenbrock", torch.float64) for model in SHOWN}


@pytest.mark.parametrize("model", SHOWN)
def test_the_stimulus_shows_every_parameter(truth, model):
    moved, spikes = truth[model]
    sizes = np.sqrt(np.mean(moved**2, axis=0))
    assert sizes.min() > 2e-3, SHOWN[model].names[int(sizes.argmin())]
    assert spikes[:, 0].sum() == SHOWN[model].spikes


@pytest.mark.parametrize("model", SHOWN)
@pytest.mark.parametrize(
    ("solver", "dtype"),
    [(name, torch.float64) for name in SOLVERS if name != "rosenbrock"] + [("logistic", torch.float32)],
    ids=str,
)
def test_a_nudge_moves_every_solver_alike(truth, model, solver, dtype):
    """In float32 `logistic` is the SIMD kernel, in float64 plain torch."""
    expected, spikes_expected = truth[model]
    moved, spikes = responses(model, solver, dtype)
    np.testing.assert_array_equal(spikes, spikes_expected)
    error = np.sqrt(np.mean((moved - expected) ** 2, axis=0)) / np.sqrt(np.mean(expected**2, axis=0))
    assert error.max() < 0.06, f"{SHOWN[model].names[int(error.argmax())]}: {error.max():.3f}"


def states(model: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V (n,), p (n, K) and currents (n,) from the floor to the threshold, saturated domains among them."""
    rng = np.random.default_rng(0)
    p = rng.uniform(-1, 1, (count, SHOWN[model].card.domains))
    p[::5] = np.sign(p[::5])
    return rng.uniform(*FILM_V[model], count), p, rng.uniform(-5e-9, 12e-9, count)


@EACH
def test_the_compiled_right_hand_side_is_the_reference_for_any_value(model, name):
    shown = SHOWN[model]
    parameters = NeuronParameters.from_card(shown.card.with_values(**{name: shown.nudged(name)}))
    v, p, i_a = states(model, 200)
    dv, dp = EQUATIONS[model](v, p, i_a, parameters)
    domains = shown.card.domains
    flow, spare = np.empty(domains), np.empty((2, domains))
    right_hand_side = compiled(rates, MODELS[model])
    for n in range(v.size):
        ours, _, _ = right_hand_side(v[n], p[n], i_a[n], parameters.constants(), flow, spare[0], spare[1])
        assert ours == pytest.approx(dv[n] * 1e-3, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(flow, dp[n] * 1e-3, rtol=1e-9, atol=4e-12)


@EACH
def test_the_coarse_step_is_the_reference_for_any_value(model, name):
    """A short Euler step is the right-hand side; BRUNO's Jacobian is that of one step up to the crossing."""
    shown = SHOWN[model]
    card = shown.card.with_values(**{name: shown.nudged(name)})
    v, p, i_a = (torch.tensor(x) for x in states(model, 200))
    dv, dp = EQUATIONS[model](v, p, i_a, NeuronParameters.from_card(card))
    law = torch_laws(MODELS[model])
    rows = rows_of(law, FeLIF(card).constants())
    v, p, i_a = v[None].requires_grad_(), p.T[:, None].contiguous().requires_grad_(), i_a[None]
    short = 1e-7
    v_new, p_new = euler_step(law, rows, v, p, i_a, short)
    calm = torch.tensor(np.abs(dp).max(axis=-1) < 1e6)
    torch.testing.assert_close(((v_new - v) / short)[0, calm], torch.tensor(dv * 1e-3)[calm], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        ((p_new - p) / short)[:, 0, calm], torch.tensor(dp.T * 1e-3)[:, calm], rtol=1e-5, atol=1e-6
    )
    lead_ms = torch.linspace(0.01, 1.0, 200, dtype=torch.float64)[None]
    v_end, p_end = euler_step(law, rows, v, p, i_a, lead_ms, detach_tau=True)
    by_v = torch.autograd.grad(v_end.sum(), v, retain_graph=True)[0]
    ours_v, kept, _ = step_back.coarse_jacobian(law, rows, v.detach(), p.detach(), i_a, lead_ms)
    one_way = switching(law, rows[0], field(rows, v, p) - rows[0].offset)[2] < torch.tensor(1e-12)
    here, per_v = at_membrane(law, rows[0], v.detach(), polarization(rows, p.detach()))
    leaks = lead_ms * rows[0].drive * law.leak(here, rows[0]).abs() * per_v < here.abs()
    one_root = torch.as_tensor(per_v) > 0.11
    free = (i_a >= 0.0) & (by_v > 0.0) & (ours_v > 0.0) & one_way & leaks & one_root
    assert free.sum() > 50
    torch.testing.assert_close(ours_v[free], by_v[free], rtol=1e-9, atol=1e-9)
    for k in range(card.domains):
        by_p = torch.autograd.grad(p_end[k].sum(), p, retain_graph=True)[0][k]
        turning = (p.detach()[k].abs() < 1.0) & (rows[k].weight > 0)
        torch.testing.assert_close(kept[k][turning], by_p[turning], rtol=1e-9, atol=1e-9)
