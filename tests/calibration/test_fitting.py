import numpy as np
import pytest

from calibration.errors import FitError
from calibration.fitting import Free, fit

TIME_S = np.linspace(0, 5e-6, 200)
R_OHM, C_F = 1e6, 1e-12


def charging(values):
    return 1 - np.exp(-TIME_S / (values["r"] * values["c"]))


def noisy(seed, sigma=0.01):
    return charging({"r": R_OHM, "c": C_F}) + np.random.default_rng(seed).normal(0, sigma, TIME_S.size)


def test_a_picofarad_comes_back_to_six_digits():
    truth = charging({"r": R_OHM, "c": C_F})
    result = fit(
        lambda v: charging(v | {"r": R_OHM}) - truth, [Free("c", 3e-12, 1e-14, 1e-10)], what="RC", tolerance=1e-12
    )
    assert result.values["c"] == pytest.approx(C_F, rel=1e-6)


def test_the_standard_error_covers_the_truth_in_about_two_thirds_of_the_cases():
    inside = 0
    for seed in range(100):
        data = noisy(seed)
        result = fit(lambda v, d=data: charging(v | {"r": R_OHM}) - d, [Free("c", 2e-12, 1e-14, 1e-10)], what="RC")
        inside += abs(result.values["c"] - C_F) < result.stderr["c"]
    assert 55 <= inside <= 80


def test_linear_and_logarithmic_scales_give_the_same_standard_error():
    data = noisy(0)
    errors = [
        fit(
            lambda v: charging(v | {"r": R_OHM}) - data, [Free("c", 2e-12, 1e-14, 1e-11, scale=scale)], what="RC"
        ).stderr["c"]
        for scale in ("log10", 1e-12)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


def test_parameters_that_cannot_be_told_apart_are_named():
    data = noisy(0)
    with pytest.raises(FitError, match=r"'r'.*'c'|'r'|no standard error"):
        fit(lambda v: charging(v) - data, [Free("r", 2e6, 1e4, 1e8), Free("c", 2e-12, 1e-14, 1e-10)], what="RC")


def test_a_parameter_on_its_bound_is_named_with_the_bound():
    data = noisy(0)
    with pytest.raises(FitError, match="'c' ended on its bound"):
        fit(lambda v: charging(v | {"r": R_OHM}) - data, [Free("c", 3e-12, 2e-12, 1e-11)], what="RC")


def test_a_parameter_without_influence_is_named():
    data = noisy(0)
    free = [Free("c", 2e-12, 1e-14, 1e-10), Free("idle", 1.0, 0.1, 10.0)]
    with pytest.raises(FitError, match="'idle'"):
        fit(lambda v: charging({"r": R_OHM, "c": v["c"]}) - data, free, what="RC")


def test_a_non_finite_residual_says_where():
    with pytest.raises(FitError, match=r"non-finite residual at c=3e-12"):
        fit(lambda v: np.full(3, np.nan), [Free("c", 3e-12, 1e-14, 1e-10)], what="RC")


def test_a_start_outside_the_bounds_is_refused():
    with pytest.raises(FitError, match="not inside its bounds"):
        fit(lambda v: np.zeros(3), [Free("c", 1.0, 2.0, 3.0)], what="RC")
