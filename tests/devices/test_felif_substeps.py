"""How many substeps a neuron takes: enough at every current, and by its own current alone."""

import numpy as np
import pytest
import torch

from bruno_spice.devices.ferroelectric.paces import FULL_RISE_V, INHIBITED, PACES, pace, substep_count, substep_ms
from bruno_spice.training.dynamics.logistic import paces_of
from tests.devices.test_felif_windows import FLOORED, states, windows


@pytest.mark.parametrize("substeps", [1, 3, 4, 8, 12, 16, 40])
def test_substeps_fill_the_macro_step(substeps):
    assert sum(substep_ms(step, substeps) for step in range(substeps)) == pytest.approx(1.0)


def test_a_stronger_current_never_takes_fewer_substeps():
    rises = np.linspace(0, 12 * FULL_RISE_V, 500)
    counts = [substep_count(8, pace(rise)) for rise in rises]
    assert np.all(np.diff(counts) >= 0)
    assert counts[0] == 8
    assert counts[-1] == 8 * max(PACES)
    assert pace(-1e-9) == INHIBITED
    within = rises <= PACES[-2] * FULL_RISE_V
    assert np.all(rises[within] / np.array(counts)[within] <= FULL_RISE_V / 8)


def test_torch_and_the_kernels_choose_the_same_pace():
    edges = [x * FULL_RISE_V for x in PACES]
    rises = np.array([-40.0, -1e-30, 0.0, *edges, *np.nextafter(edges, 1e9), *np.linspace(-20, 90, 999)])
    assert np.array_equal(paces_of(torch.tensor(rises)).numpy(), [pace(rise) for rise in rises])


NA = 1e-9


@pytest.mark.parametrize(
    ("low_a", "high_a"),
    [(-5 * NA, -0.3 * NA), (-0.3 * NA, 0.3 * NA), (0.3 * NA, 2 * NA), (2 * NA, 5 * NA), (5 * NA, 10 * NA),
     (10 * NA, 20 * NA), (20 * NA, 30 * NA)],
)  # fmt: skip
def test_the_default_is_accurate_at_every_current(low_a, high_a):
    """Events as in the circuit; with 12 substeps for all, one count in five would be wrong at 25 nA."""
    n = 8000
    v, p, _ = states(FLOORED, n)
    i_a = np.random.default_rng(3).uniform(low_a, high_a, n)
    truth = windows(FLOORED, v, p, i_a, "rosenbrock", 1e-8, event=True)
    ours = windows(FLOORED, v, p, i_a, "logistic", 8, event=True)
    wrong = truth.spikes != ours.spikes
    assert np.sum(wrong) <= (2 if high_a < 10 * NA else 0.003 * n)
    quiet = (truth.spikes == 0) & (ours.spikes == 0)
    if quiet.sum() > 100:
        assert np.sqrt(np.mean((truth.v - ours.v)[quiet] ** 2)) < 1e-3


def test_neighbours_of_other_paces_change_nothing():
    v, p, i_a = states(FLOORED, 900)
    i_a = i_a * np.random.default_rng(4).choice([-1.0, 0.1, 1.0, 3.0, 6.0], i_a.size)
    whole = windows(FLOORED, v, p, i_a, "logistic", 8, event=True, tangents=True)
    alone = windows(FLOORED, v[300:371], p[:, 300:371], i_a[300:371], "logistic", 8, event=True, tangents=True)
    for name in ("v", "p", "hold", "spikes", "seen", "free", "tangents", "late"):
        np.testing.assert_array_equal(getattr(whole, name)[..., 300:371], getattr(alone, name), err_msg=name)
