"""Confidence intervals and Sobol indices, against what is known in closed form."""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import f, norm

from bruno_spice.calibration.fitting.least_squares import Free, fit
from bruno_spice.calibration.neuron.confidence import confidence_intervals, profile
from bruno_spice.calibration.neuron.sensitivity import sensitivity_bars, spike_time_sensitivity
from bruno_spice.devices.errors import InputError

TIME_S = np.linspace(0, 5e-6, 200)
NOISE = np.random.default_rng(4).normal(0, 0.02, TIME_S.size)


def decay(values):
    return values["v"] * np.exp(-TIME_S / values["tau"]) - np.exp(-TIME_S / 1e-6) - NOISE


@pytest.fixture(scope="module")
def intervals():
    free = [Free("v", 2.0, 0.1, 10.0, scale=1.0), Free("tau", 5e-7, 1e-8, 1e-4)]
    fitted = fit(decay, free, what="decay")
    return fitted, confidence_intervals(decay, fitted, sigmas=(1, 2))


def test_intervals_of_a_nearly_linear_fit_agree_with_the_standard_error(intervals):
    fitted, found = intervals
    for name, confidence in found.items():
        assert confidence.best == pytest.approx(fitted.values[name], rel=1e-4)
        for n, sigma in enumerate((1, 2)):
            assert confidence.high[n] - confidence.best == pytest.approx(sigma * fitted.stderr[name], rel=0.1)
            assert confidence.best - confidence.low[n] == pytest.approx(sigma * fitted.stderr[name], rel=0.1)


def test_the_profile_is_the_chi_square_of_fits_with_the_parameter_held(intervals):
    """At the end of the interval of one standard deviation, chi^2 has risen by one residual variance."""
    fitted, found = intervals
    held = found["tau"].high[0]
    rest = fit(lambda x: decay(x | {"tau": held}), [Free("v", 2.0, 0.1, 10.0, scale=1.0)], what="held")
    freedom = TIME_S.size - 2
    rise = (np.sum(rest.residual**2) / np.sum(fitted.residual**2) - 1) * freedom
    assert rise == pytest.approx(1.0, rel=0.03)


def test_the_ends_of_an_interval_are_those_of_scipy_with_every_other_parameter_at_its_exact_best(intervals):
    """One nonlinear parameter is left when v is held, so that Brent's searches know no step of a fit."""
    fitted, found = intervals
    best, freedom = np.sum(fitted.residual**2), TIME_S.size - 2

    def missing(v, sigma):
        rest = minimize_scalar(lambda tau: np.sum(decay({"v": v, "tau": tau}) ** 2), (5e-7, 1.5e-6), tol=1e-10).fun
        curvature = fitted.stderr["v"] / fitted.stderr_curvature["v"]
        return f.cdf((rest / best - 1) * freedom / curvature**2, 1, freedom) - (2 * norm.cdf(sigma) - 1)

    for n, sigma in enumerate((1, 2)):
        for end, side in ((found["v"].low[n], -1), (found["v"].high[n], 1)):
            far = fitted.values["v"] + side * 2 * sigma * fitted.stderr["v"]
            exact = brentq(missing, fitted.values["v"], far, (sigma,), xtol=1e-9)
            assert end == pytest.approx(exact, abs=2e-3 * fitted.stderr["v"])


def test_the_profile_is_drawn_with_its_intervals(intervals):
    _, found = intervals
    figure, axes = plt.subplots()
    assert len(profile(axes, found["tau"], "s").lines) == 4
    plt.close(figure)


def test_a_parameter_that_was_not_fitted_is_refused(intervals):
    fitted, _ = intervals
    with pytest.raises(InputError, match="'vv' was not fitted"):
        confidence_intervals(decay, fitted, ["vv"])


def test_the_spike_time_is_the_switched_charge_over_the_current(felif_card):
    """t = 2 A Ps / I to leading order: area and Ps share the variance, half each, and nothing interacts."""
    found = spike_time_sensitivity(felif_card, 1e-9, 0.05, base_samples=64)
    total = dict(zip(found.names, found.total, strict=True))
    assert sorted(total, key=total.get)[-2:] in (
        ["area", "saturation_polarization"],
        ["saturation_polarization", "area"],
    )
    assert total["area"] + total["saturation_polarization"] == pytest.approx(1.0, abs=0.15)
    assert found.first.sum() == pytest.approx(1.0, abs=0.15)
    assert found.log_time_sigma == pytest.approx(0.05 / np.sqrt(3) * np.sqrt(2), rel=0.15)


def test_at_a_low_current_the_leak_counts(felif_card):
    def share(current_a):
        found = spike_time_sensitivity(felif_card, current_a, None, base_samples=32)
        return dict(zip(found.names, found.total, strict=True))["leak_discharge"]

    assert share(60e-12) > 0.3
    assert share(10e-9) < 0.05


def test_the_command_lists_and_draws_the_indices(bruno, tmp_path):
    code, text, _ = bruno("sensitivity", "--samples", 16, "--json", "--figure", tmp_path / "sobol.png")
    assert code == 0
    assert json.loads(text)["indices"][0]["parameter"] in ("area", "saturation_polarization")
    assert (tmp_path / "sobol.png").stat().st_size > 10_000


def test_bars_are_ordered_by_their_share(felif_card):
    figure, axes = plt.subplots()
    found = spike_time_sensitivity(felif_card, 1e-8, None, base_samples=16)
    sensitivity_bars(axes, found)
    assert axes.get_yticklabels()[-1].get_text() == found.names[int(np.argmax(found.total))]
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"base_samples": 12}, "power of 2"),
        ({"relative_width": 1.5}, "between 0 and 1"),
        ({"current_a": 5e-12}, "does not spike"),
    ],
)
def test_what_cannot_be_analysed_is_refused(felif_card, arguments, said):
    with pytest.raises(InputError, match=said):
        spike_time_sensitivity(felif_card, **arguments)


def test_without_salib_the_remedy_is_named(felif_card, monkeypatch):
    monkeypatch.setitem(sys.modules, "SALib.sample", None)
    with pytest.raises(InputError, match=r"bruno-spice\[uncertainty\]"):
        spike_time_sensitivity(felif_card)
