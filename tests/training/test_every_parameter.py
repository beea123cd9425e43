"""Every declared card parameter, nudged, moves every solver alike: none is lost on the way into a kernel."""

import numpy as np
import pytest
import torch

from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.rosenbrock import rates
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.training.dynamics import SOLVERS, adjoint
from bruno_spice.training.dynamics.laws import rows_of, torch_laws
from bruno_spice.training.dynamics.unrolled import euler_step
from bruno_spice.training.neurons.felif import FeLIF
from tests.devices.nudges import CARD, LEVELS_A, NAMES, nudged
from tests.support.felif_equations import derivatives

FINE = {"logistic": 96, "rosenbrock": 1e-8, "euler": 8000}


def layer(solver: str, dtype: torch.dtype) -> FeLIF:
    """A neuron of the card, and one for each parameter in which that one is nudged."""
    neuron = FeLIF(CARD, "tangent", solver, reset="event", accuracy=FINE[solver]).to(dtype)
    columns = {name: torch.full((1 + len(NAMES),), CARD[name], dtype=torch.float64) for name in NAMES}
    for n, name in enumerate(NAMES, 1):
        columns[name][n] = nudged(name)
    neuron.set_devices(columns)
    return neuron


def responses(solver: str, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """What each nudge does to V and p at the end of every millisecond, (3 x steps, parameters); and all spikes."""
    neuron, width = layer(solver, dtype), 1 + len(NAMES)
    state, shown, spikes = neuron.initial_state(1, width), [], []
    for level in LEVELS_A:
        out, state = neuron(torch.full((1, 1, width), level, dtype=dtype), state)
        shown.append(torch.cat([state.voltage_v, 5.0 * state.domains[:, 0]]).double())
        spikes.append(out.spikes[0, 0])
    whole = torch.cat(shown).numpy()
    return whole[:, 1:] - whole[:, :1], torch.stack(spikes).double().numpy()


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray]:
    return responses("rosenbrock", torch.float64)


def test_the_stimulus_shows_every_parameter(truth):
    moved, spikes = truth
    sizes = np.sqrt(np.mean(moved**2, axis=0))
    assert sizes.min() > 2e-3, NAMES[int(sizes.argmin())]
    assert spikes[:, 0].sum() == 3


@pytest.mark.parametrize(
    ("solver", "dtype"),
    [(name, torch.float64) for name in SOLVERS if name != "rosenbrock"] + [("logistic", torch.float32)],
    ids=str,
)
def test_a_nudge_moves_every_solver_alike(truth, solver, dtype):
    """In float32 `logistic` is the SIMD kernel, in float64 plain torch."""
    moved, spikes = responses(solver, dtype)
    np.testing.assert_array_equal(spikes, truth[1])
    error = np.sqrt(np.mean((moved - truth[0]) ** 2, axis=0)) / np.sqrt(np.mean(truth[0] ** 2, axis=0))
    assert error.max() < 0.06, f"{NAMES[int(error.argmax())]}: {error.max():.3f}"


def states(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V (n,), p (n, 2) and currents (n,) from the floor to the threshold, saturated domains among them."""
    rng = np.random.default_rng(0)
    p = rng.uniform(-1, 1, (count, 2))
    p[::5] = np.sign(p[::5])
    return rng.uniform(-0.4, 2.4, count), p, rng.uniform(-5e-9, 12e-9, count)


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_right_hand_side_is_the_reference_for_any_value(name):
    parameters = FeLIFParameters.from_card(CARD.with_values(**{name: nudged(name)}))
    v, p, i_a = states(200)
    dv, dp = derivatives(v, p, i_a, parameters)
    flow, spare = np.empty(2), np.empty((2, 2))
    right_hand_side = compiled(rates, FeLIFModel)
    for n in range(v.size):
        ours, _, _ = right_hand_side(v[n], p[n], i_a[n], parameters.constants(), flow, spare[0], spare[1])
        assert ours == pytest.approx(dv[n] * 1e-3, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(flow, dp[n] * 1e-3, rtol=1e-9, atol=4e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_coarse_step_is_the_reference_for_any_value(name):
    """A short Euler step is the right-hand side; BRUNO's Jacobian is that of one step up to the crossing."""
    card = CARD.with_values(**{name: nudged(name)})
    v, p, i_a = (torch.tensor(x) for x in states(200))
    dv, dp = derivatives(v, p, i_a, FeLIFParameters.from_card(card))
    law = torch_laws(FeLIFModel)
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
    by_v = torch.autograd.grad(v_end.sum(), v)[0]
    ours_v, kept, _ = adjoint.coarse_jacobian(law, rows, v.detach(), p.detach(), i_a, lead_ms)
    free = (i_a >= 0.0) & (by_v > 0.0) & (ours_v > 0.0)
    assert free.sum() > 50
    torch.testing.assert_close(ours_v[free], by_v[free], rtol=1e-9, atol=1e-9)
    for k in range(2):
        by_p = torch.autograd.grad(p_end[k].sum(), p, retain_graph=True)[0][k]
        turning = (p.detach()[k].abs() < 1.0) & (rows[k].weight > 0)
        torch.testing.assert_close(kept[k][turning], by_p[turning], rtol=1e-9, atol=1e-9)
