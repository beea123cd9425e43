"""Macro-step kernels: the adaptive one against the transient, the fixed-step ones against the adaptive one."""

from types import SimpleNamespace

import numpy as np
import pytest

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.ferroelectric.scalar.windows import euler_windows, rosenbrock_windows
from bruno_spice.devices.ferroelectric.simd.macro_step import logistic_windows
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.stimulus import Stimulus
from tests.devices.test_felif import three_domains

FLOORED = FeLIFParameters.from_card(FeLIFCard.published().with_values(v_floor=0.0, v_reset=0.0, t_refractory=248e-6))

SPREAD = FeLIFParameters(
    **{name: getattr(FLOORED, name) for name in FeLIFCard.UNITS},
    activation_field=np.array([11.25e8, 12.5e8, 13.75e8]),
    offset_field=np.zeros(3),
    domain_weight=np.array([0.3, 0.5, 0.2]),
)


def windows(parameters, v, p, i_a, solver="rosenbrock", accuracy=1e-10, event=False, tangents=False):
    """One macro step of neurons v (n,), p (K, n) at currents i_a (n,)."""
    domains, n = p.shape
    dtype = np.float32 if solver == "logistic" else np.float64
    v, p, i_a = (np.array(x, dtype=dtype) for x in (v, p, i_a))
    hold, spikes, lead, free = (np.zeros(n, dtype) for _ in range(4))
    seen = np.zeros((1 + domains, n), dtype)
    wide = n if tangents else 0
    matrix, late = np.zeros((1 + domains, 2 + domains, wide), dtype), np.zeros((2 + domains, wide), dtype)
    constants = parameters.constants().astype(dtype)
    rest = (spikes, accuracy, event, seen, lead, free, matrix, late)
    if solver == "rosenbrock":
        compiled(rosenbrock_windows, FeLIFModel)(0, n, constants[None], v, p, hold, np.full(n, 1e-2), i_a, *rest)
    elif solver == "euler":
        compiled(euler_windows, FeLIFModel)(0, n, constants[None], v, p, hold, i_a, *rest)
    else:
        compiled(logistic_windows, FeLIFModel)(0, n, constants[:, None], v, p, hold, i_a, *rest)
    return SimpleNamespace(
        v=v, p=p, hold=hold, spikes=spikes, seen=seen, lead=lead, free=free, tangents=matrix, late=late
    )


def states(parameters, n, seed=0):
    """States that a layer meets under random input (-0.5...5 nA), and the next currents."""
    rng = np.random.default_rng(seed)
    v, p = np.zeros(n), np.full((parameters.domains, n), -1.0)
    for _ in range(30):
        i_a = rng.uniform(-0.5e-9, 5e-9, n) * np.where(rng.random(n) < 0.5, 1.0, rng.random(n))
        out = windows(parameters, v, p, i_a, "logistic", 32)
        v, p = out.v.astype(float), out.p.astype(float)
    return v, p, rng.uniform(-0.5e-9, 5e-9, n)


@pytest.mark.parametrize("parameters", [FLOORED, three_domains()], ids=["K=1", "K=3"])
def test_adaptive_windows_in_a_row_are_the_transient(parameters):
    levels = [3e-9, -1e-9, 2e-9, 4e-9, 0.5e-9, 5e-9]
    wave = simulate(parameters, Stimulus.steps(levels, rise_s=1e-9), 6e-3, dt_s=1e-3, rtol=1e-9)
    v, p = np.zeros(1), np.full((parameters.domains, 1), -1.0)
    hold, step, spikes, lead, free = (np.zeros(1) for _ in range(5))
    seen, empty = np.zeros((1 + parameters.domains, 1)), np.zeros((1, 1, 0))
    fired = []
    for k, level in enumerate(levels):
        i_a = np.array([level])
        constants = parameters.constants()[None]
        rest = (spikes, 1e-9, True, seen, lead, free, empty, empty[0])
        compiled(rosenbrock_windows, FeLIFModel)(0, 1, constants, v, p, hold, step, i_a, *rest)
        fired.append(spikes[0])
        assert v[0] == pytest.approx(wave["v_mem_v"][k + 1], abs=2e-4)
    assert np.array_equal(fired, np.histogram(wave.spike_times_s, np.arange(7) * 1e-3)[0])


def test_a_microsecond_euler_step_is_as_accurate_as_the_bar_says():
    v, p, i_a = states(FLOORED, 1000)
    truth, euler = windows(FLOORED, v, p, i_a), windows(FLOORED, v, p, i_a, "euler", 1000)
    quiet = (truth.spikes == 0) & (euler.spikes == 0)
    assert np.sqrt(np.mean((euler.v - truth.v)[quiet] ** 2)) < 3e-4
    assert np.sum(euler.spikes != truth.spikes) <= 1


@pytest.mark.parametrize(
    ("parameters", "substeps", "rms_v", "n"),
    [(FLOORED, 8, 3e-4, 20_000), (SPREAD, 48, 5e-4, 4_000)],
    ids=["K=1", "K=3"],
)
def test_simd_kernel_at_its_default_substeps_is_accurate(parameters, substeps, rms_v, n):
    v, p, i_a = states(parameters, n)
    truth = windows(parameters, v, p, i_a, accuracy=1e-9)
    ours = windows(parameters, v, p, i_a, "logistic", substeps)
    quiet = (truth.spikes == 0) & (ours.spikes == 0)
    assert truth.spikes.mean() > 0.05
    assert np.sqrt(np.mean((ours.v - truth.v)[quiet] ** 2)) < rms_v
    assert np.sum(ours.spikes != truth.spikes) <= 20e-5 * n + 1


def test_simd_kernel_converges_with_the_substeps():
    v, p, i_a = states(FLOORED, 4000)
    truth = windows(FLOORED, v, p, i_a, accuracy=1e-9)
    errors = []
    for substeps in (4, 8, 16, 32, 64):
        ours = windows(FLOORED, v, p, i_a, "logistic", substeps)
        quiet = (truth.spikes == 0) & (ours.spikes == 0)
        errors.append(np.sqrt(np.mean((ours.v - truth.v)[quiet] ** 2)))
    assert np.all(np.diff(errors) < 0)
    assert errors[-1] < errors[0] / 8


@pytest.mark.parametrize(("parameters", "share"), [(FLOORED, 0.05), (SPREAD, 0.15)], ids=["K=1", "K=3"])
def test_simd_tangents_follow_the_exact_ones(parameters, share):
    v, p, i_a = states(parameters, 1000)
    truth = windows(parameters, v, p, i_a, accuracy=1e-8, tangents=True)
    ours = windows(parameters, v, p, i_a, "logistic", 64, tangents=True)
    quiet = (truth.spikes == 0) & (ours.spikes == 0)
    error = np.sqrt(np.mean((ours.tangents - truth.tangents)[..., quiet] ** 2, axis=-1))
    size = np.sqrt(np.mean(truth.tangents[..., quiet] ** 2, axis=-1))
    assert np.all(error < share * size)


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize("parameters", [FLOORED, three_domains(), FeLIFParameters.from_card(FeLIFCard.published())])
def test_no_extreme_state_makes_the_simd_kernel_fail(parameters, event):
    rng = np.random.default_rng(1)
    n = 200_000
    p = rng.uniform(-1, 1, (parameters.domains, n))
    p[:, ::3] = np.sign(p[:, ::3])
    v, i_a = rng.uniform(-8, 2.5, n), rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-13, -6.5, n)
    out = windows(parameters, v, p, i_a, "logistic", 8, event, tangents=True)
    for array in (out.v, out.p, out.seen, out.tangents, out.late, out.hold):
        assert np.all(np.isfinite(array))
    assert np.abs(out.p).max() < 1.001


def test_a_neuron_does_not_depend_on_its_neighbours():
    v, p, i_a = states(FLOORED, 700)
    whole = windows(FLOORED, v, p, i_a, "logistic", 20, tangents=True)
    alone = windows(FLOORED, v[300:311], p[:, 300:311], i_a[300:311], "logistic", 20, tangents=True)
    np.testing.assert_array_equal(whole.v[300:311], alone.v)
    np.testing.assert_array_equal(whole.tangents[..., 300:311], alone.tangents)


def test_event_reset_agrees_between_kernels():
    rng = np.random.default_rng(2)
    v, p = rng.uniform(0, 2.4, 2000), rng.uniform(-0.2, 0.95, (1, 2000))
    i_a = rng.uniform(1e-9, 20e-9, 2000)
    truth, ours = (
        windows(FLOORED, v, p, i_a, *setting, True, True) for setting in (("rosenbrock", 1e-8), ("logistic", 64))
    )
    same = truth.spikes == ours.spikes
    assert same.mean() > 0.998
    assert (truth.spikes == 1).sum() > 500
    assert np.sqrt(np.mean((truth.v - ours.v)[same] ** 2)) < 0.01
    assert np.abs(truth.free - ours.free)[same].max() < 0.01
    assert np.abs(truth.lead - ours.lead)[same].max() < 0.01
    spiked = same & (truth.spikes > 0)
    late = truth.late[0, spiked]
    assert np.sqrt(np.mean((ours.late[0, spiked] - late) ** 2)) < 0.05 * np.sqrt(np.mean(late**2))
