"""Variation: what a YAML may declare, what the samples are distributed like, and what comes out of ngspice."""

import csv

import numpy as np
import pytest
from scipy import stats

from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, RRAM_NETLIST
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.variation import Variation
from bruno_spice.devices.errors import InputError

NEURON = Netlist.load(NEURON_NETLIST)


def declared(tmp_path, text):
    path = tmp_path / "mine.variation.yaml"
    path.write_text(text)
    return Variation.load(path)


@pytest.mark.parametrize("netlist", [NEURON_NETLIST, RRAM_NETLIST])
def test_the_project_s_netlists_declare_their_variation(netlist):
    variation = Variation.beside(netlist)
    samples = variation.sample(Netlist.load(netlist), 16)
    assert samples.values.shape == (16, len(variation.parameters))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distribution: normal, sigma: 0.05", stats.norm(2.5, 0.05)),
        ("distribution: normal, mean: 2.0, relative_sigma: 0.1", stats.norm(2.0, 0.2)),
        ("distribution: lognormal, relative_sigma: 0.3", stats.lognorm(0.3, scale=2.5)),
        ("distribution: uniform, min: 2.4, max: 2.7", stats.uniform(2.4, 0.3)),
        ("distribution: loguniform, min: 500m, max: 2", stats.loguniform(0.5, 2.0)),
        ("distribution: truncated_normal, sigma: 100m, min: 2.4, max: 2.55", stats.truncnorm(-1, 0.5, 2.5, 0.1)),
    ],
)
def test_samples_follow_their_distribution(tmp_path, text, expected):
    samples = declared(tmp_path, f"parameters: {{vth: {{{text}}}}}").sample(NEURON, 500)
    # A Latin hypercube has one sample in each of its 500 strata, so it is closer than chance would have it.
    assert stats.kstest(samples["vth"], expected.cdf).statistic < 2.5 / 500


def test_parameters_vary_independently_and_by_the_seed():
    variation = Variation.beside(NEURON_NETLIST)
    samples = variation.sample(NEURON, 400, seed=3)
    correlation = np.corrcoef(samples.values.T) - np.eye(len(samples.names))
    assert np.abs(correlation).max() < 0.15
    np.testing.assert_array_equal(samples.values, variation.sample(NEURON, 400, seed=3).values)
    assert not np.array_equal(samples.values, variation.sample(NEURON, 400, seed=4).values)


def test_an_override_moves_the_mean_of_what_varies_around_it():
    samples = Variation.beside(NEURON_NETLIST).sample(NEURON.with_params({"vth": 2.0}), 100)
    assert samples["vth"].mean() == pytest.approx(2.0, abs=1e-3)


def test_corners_stay_inside_a_truncated_distribution():
    corners = Variation.beside(RRAM_NETLIST).corner_points(Netlist.load(RRAM_NETLIST))
    assert corners.values[corners.labels.index("nominal")].tolist() == pytest.approx([0.4, 45.0])
    assert corners.values[corners.labels.index("short and wide")].tolist() == pytest.approx([0.36, 49.0])
    assert corners["ldisc"].min() >= 0.36


def test_all_corners_are_every_combination_of_both_ends(tmp_path):
    text = "parameters: {vth: {distribution: normal, sigma: 0.1}, vdd: {distribution: normal, sigma: 0.2}}"
    corners = declared(tmp_path, text).all_corners(NEURON, 3.0)
    assert sorted(map(tuple, np.round(corners.values, 6).tolist())) == [(2.2, 2.7), (2.2, 3.9), (2.8, 2.7), (2.8, 3.9)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters: {vht: {distribution: normal, sigma: 1}}", "did you mean 'vth'"),
        ("parameters: {imprint: {distribution: normal, relative_sigma: 0.1}}", "give sigma instead"),
    ],
)
def test_a_declaration_that_the_netlist_cannot_follow_says_what_would_do(tmp_path, text, said):
    with pytest.raises(NetlistError, match=said):
        declared(tmp_path, text).sample(NEURON, 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters: {vth: {distribution: normal}}", "either sigma or relative_sigma"),
        ("parameters: {vth: {distribution: normal, sigma: 1, min: 2}}", "use truncated_normal"),
        ("parameters: {vth: {distribution: truncated_normal, sigma: 1, min: 2}}", "needs min and max"),
        ("parameters: {vth: {distribution: normal, sgima: 1}}", "parameters.vth.sgima: unknown key"),
        ("parameters: {vth: {distribution: normal, sigma: 10x}}", "10x"),
        ("parameters: {vth: {distribution: cauchy, sigma: 1}}", "parameters.vth.distribution"),
        ("parameters: {vth: {distribution: normal, sigma: 1}}\ncorners: {hot: {vthh: 3}}", "did you mean 'vth'"),
        ("parameters: [", "not valid YAML"),
        ("{}", "parameters"),
    ],
)
def test_a_declaration_at_fault_is_refused_with_its_key(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        declared(tmp_path, text)


def test_the_command_writes_a_row_a_device_and_current(bruno, tmp_path):
    out = tmp_path / "table.csv"
    code, text, _ = bruno("vary", "rram", "--samples", 4, "--currents", "30u,120u", "--out", out)
    assert code == 0
    assert "120 µA" in text
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 8
    g = {(row["device"], float(row["i_prog_a"])): float(row["g_s"]) for row in rows}
    assert all(g[f"sample {k}", 120e-6] > 3 * g[f"sample {k}", 30e-6] for k in range(4))


def test_a_higher_threshold_delays_the_spike(bruno, tmp_path):
    variation = tmp_path / "threshold.yaml"
    variation.write_text("parameters: {vth: {distribution: uniform, min: 2.3, max: 2.7}}")
    out = tmp_path / "table.csv"
    arguments = ("--samples", 3, "--currents", "20n", "--variation", variation, "--out", out)
    code, _, _ = bruno("vary", "neuron", *arguments)
    assert code == 0
    rows = sorted(csv.DictReader(out.read_text().splitlines()), key=lambda row: float(row["vth"]))
    first = [float(row["first_spike_s"]) for row in rows]
    assert first == sorted(first)


def test_an_unknown_parameter_ends_the_command_with_one_sentence(bruno, tmp_path):
    variation = tmp_path / "wrong.yaml"
    variation.write_text("parameters: {arae: {distribution: normal, relative_sigma: 0.1}}")
    code, _, err = bruno("vary", "neuron", "--variation", variation)
    assert code == 2
    assert "did you mean 'area'" in err
