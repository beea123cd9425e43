import numpy as np
import pytest

from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fitting.least_squares import Free, best_fit, fit

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


def test_a_parameter_on_its_bound_is_held_there_and_the_others_are_fitted():
    data = noisy(0) + 0.5
    free = [Free("c", 3e-12, 2e-12, 1e-11), Free("offset", 0.1, -2.0, 2.0, scale=1.0)]
    result = best_fit(lambda v: charging(v | {"r": R_OHM}) + v["offset"] - data, free, what="RC")
    assert [f.name for f in result.held] == ["c"]
    assert result.values["c"] == 2e-12
    best_offset = float(np.mean(data - charging({"r": R_OHM, "c": 2e-12})))
    assert result.values["offset"] == pytest.approx(best_offset, rel=1e-4)
    assert not result.doubt
    assert result.parameters({"c": "F", "offset": "1"})["c"].source == "fit: held on the bound where it ended"


def test_a_search_that_does_not_converge_leaves_the_best_point_it_saw_with_the_reason():
    data, seen = noisy(0), []

    def residual(values):
        out = charging(values | {"r": R_OHM}) - data
        seen.append((float(out @ out), values["c"]))
        return out

    result = best_fit(residual, [Free("c", 5e-11, 1e-14, 1e-10)], what="RC", max_evaluations=5)
    assert "did not converge" in result.doubt
    assert result.values["c"] == min(seen[: result.evaluations])[1]


def test_a_model_that_breaks_down_on_the_way_leaves_the_best_point_before_it():
    def residual(values):
        return charging(values | {"r": R_OHM}) - noisy(0) if values["c"] > 2e-12 else np.full(TIME_S.size, np.nan)

    result = best_fit(residual, [Free("c", 3e-12, 1e-14, 1e-10)], what="RC")
    assert "non-finite residual" in result.doubt
    assert result.values["c"] > 2e-12


GROUPS = np.repeat(np.arange(20), 10)


def misfit(rng):
    """Alike within a group, of random size and sign between groups."""
    return np.repeat(rng.normal(0, 0.02, 20), 10) * (1 + np.sin(np.arange(200) / 7))


def test_the_clustered_error_covers_the_truth_under_misfit_where_the_curvature_does_not():
    """One standard error, 100 fits with deviations that are alike within each of twenty groups of residuals."""
    rng = np.random.default_rng(3)
    inside = np.zeros(2)
    for _ in range(100):
        data = np.exp(-TIME_S / 2e-6) * 0.7 + misfit(rng)
        free = [Free("a", 0.6, 0.1, 10.0), Free("tau", 1.5e-6, 1e-8, 1e-4)]
        result = fit(lambda v, d=data: v["a"] * np.exp(-TIME_S / v["tau"]) - d, free, what="decay", groups=GROUPS)
        for name, truth in (("a", 0.7), ("tau", 2e-6)):
            off = abs(result.values[name] - truth)
            inside += off < result.stderr[name], off < result.stderr_curvature[name]
    clustered, curvature = inside / 200
    assert 0.60 <= clustered <= 0.76
    assert curvature < 0.45


def test_with_as_many_groups_as_residuals_and_white_noise_both_errors_agree():
    result = fit(
        lambda v: charging(v | {"r": R_OHM}) - noisy(1),
        [Free("c", 2e-12, 1e-14, 1e-10)],
        what="RC",
        groups=np.arange(TIME_S.size),
    )
    assert result.stderr["c"] == pytest.approx(result.stderr_curvature["c"], rel=0.15)


def test_what_one_group_alone_determines_is_named():
    data = noisy(0)
    only_first = np.where(GROUPS == 0, 1.0, 0.0)
    free = [Free("c", 2e-12, 1e-14, 1e-10), Free("offset", 0.1, -2.0, 2.0, scale=1.0)]
    with pytest.raises(FitError, match="one group of data alone determines 'offset'"):
        fit(lambda v: charging(v | {"r": R_OHM}) + v["offset"] * only_first - data, free, what="RC", groups=GROUPS)
