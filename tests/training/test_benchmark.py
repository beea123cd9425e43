"""Benchmarks: what they count, what they fit, that a measurement stands alone, and that all of them run end to end."""

import json
import math
import os

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bruno_spice.cli import app
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.training.studies.benchmarks import base as benchmark
from bruno_spice.training.studies.benchmarks import rivals
from bruno_spice.training.studies.benchmarks.accuracy import accuracy
from bruno_spice.training.studies.benchmarks.growth import LONGEST_S, Growth, Sweep, line_through, slope
from bruno_spice.training.studies.benchmarks.memory import bptt_bytes, kept_bytes
from bruno_spice.training.studies.benchmarks.process import Cost, Work, card_file, measure_fresh, measure_here
from bruno_spice.training.studies.benchmarks.speed import contestants
from tests.support.cards import one_domain_card

CARD = one_domain_card()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All benchmarks at their quick sizes, from the command line, with files."""
    folder = tmp_path_factory.mktemp("bench")
    done = CliRunner().invoke(app, ["bench", "--quick", "--json", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


def test_every_benchmark_gives_rows_a_summary_a_file_and_a_picture(everything):
    folder, printed = everything
    assert list(printed) == list(benchmark.BENCHES)
    for name, content in printed.items():
        assert json.loads((folder / f"{name}.json").read_text()) == content
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert {"command", "commit", "machine", "versions", "threads"} <= set(content["about"])
        assert len({tuple(row) for row in content["rows"]}) == 1
        assert all(math.isfinite(value) for value in content["summary"].values())


def test_both_speed_ratios_and_the_growth_claims_are_named(everything):
    _, printed = everything
    assert {"euler_forward_over_felif_tangent", "felif_tangent_over_lif"} <= set(printed["speed"]["summary"])
    assert printed["speed"]["summary"]["euler_forward_over_felif_tangent"] > 1
    growth = printed["growth"]["summary"]
    assert growth["tangent_less_memory"] > 0.99
    assert growth["bruno_less_memory"] > 0.99
    assert growth["main_extrapolated"] == 1
    extrapolated = [row for row in printed["growth"]["rows"] if row["extrapolated"]]
    beyond_the_limits = {row["gradient"] for row in extrapolated}
    assert "bptt" in beyond_the_limits
    assert beyond_the_limits.isdisjoint({"bruno", "tangent"})  # checkpoint's time may be, by how busy the machine is
    assert all(row["cosine"] is None for row in extrapolated)
    exact = [row["cosine"] for row in printed["growth"]["rows"] if row["gradient"] == "tangent" and row["cosine"]]
    assert exact
    assert min(exact) > 0.99


def test_every_installed_framework_has_its_rows(everything):
    _, printed = everything
    at_hand, missing = rivals.at_hand()
    rows = {row["layer"] for row in printed["frameworks"]["rows"]}
    assert rows == {"FeLIF, tangent", "FeLIF, bruno", *(rival.name for rival in at_hand)}
    assert printed["frameworks"]["notes"] == missing


def test_a_missing_framework_is_said_and_its_rows_are_absent(monkeypatch):
    there = rivals.installed
    monkeypatch.setattr(rivals, "installed", lambda package: package != "norse" and there(package))
    monkeypatch.setattr(rivals, "FRAMEWORKS", {"norse": "Norse"})
    field, said = contestants(CARD, 3, 1, 2)
    assert not any("Norse" in each.name for each in field)
    assert len(said) == 1
    assert "Norse is not installed" in said[0]
    assert "bruno-spice[bench]" in said[0]


@pytest.mark.parametrize("rival", rivals.at_hand()[0], ids=lambda rival: rival.key)
def test_every_rival_spikes_more_the_harder_it_is_driven_and_has_a_gradient(rival):
    layer = rival.build()
    weak, strong = (layer(torch.full((30, 1, 4), drive)) for drive in (0.01, 40.0))
    assert weak.sum() == 0
    assert strong.shape == (30, 1, 4)
    assert strong.sum() > 0
    current = torch.full((30, 1, 4), 0.9, requires_grad=True)
    layer(current).sum().backward()
    assert current.grad.abs().sum() > 0


def test_slopes_of_power_laws_come_back():
    x = np.array([1.0, 10.0, 100.0, 1000.0])
    assert slope(zip(x, 3.0 * x**1.25, strict=True)) == pytest.approx(1.25)
    assert slope([(1.0, 500.0), (10, 2.0), (100, 20.0), (1000, 200.0)]) == pytest.approx(1.0)
    assert slope([(5.0, 1.0)]) is None


def test_extrapolation_follows_the_last_two_points():
    assert line_through([(1.0, 100.0), (10.0, 3.0), (20.0, 5.0)], 100.0) == pytest.approx(21.0)
    assert line_through([(10.0, 5.0), (20.0, 4.0)], 100.0) == pytest.approx(4.0)


def test_sizes_beyond_the_limits_are_extrapolated_not_run():
    asked = []

    def pretend(job: Work) -> Cost:
        asked.append(job.steps_ms)
        return Cost(0.0, 2.0 * job.steps_ms, 10**6 + 10**7 * job.steps_ms, [1.0])

    growth = Growth("card.json", False, 1, lambda text: None)
    growth.measure = pretend
    growth.largest_bytes = 4 * 10**9
    points = growth.points(Sweep("length", (1, 10, 100, 160, 1000), 0, 64, 4), "bptt")
    assert asked == [1, 10, 100]
    assert points[3].cost is None
    assert points[3].time_s == pytest.approx(320.0)
    assert points[3].time_s > LONGEST_S
    assert points[4].peak_bytes == pytest.approx(10**6 + 10**10)


def test_kept_bytes_grow_as_counted_by_hand():
    current_and_outputs, tape = 5, {"bruno": 8, "tangent": 14}
    for mode, numbers in tape.items():
        few, many = (kept_bytes(CARD, mode, steps, 2, 8) for steps in (10, 20))
        per_neuron_ms = (many - few) / (10 * 2 * 8)
        assert per_neuron_ms == pytest.approx(4 * (numbers + current_and_outputs - 1), abs=4)
    assert bptt_bytes(CARD, 1, 2, 8, substeps=30) == pytest.approx(
        kept_bytes(CARD, "bptt", 1, 2, 8, solver="euler", accuracy=30), rel=5e-3
    )


def test_a_fresh_process_measures_what_it_adds_and_computes_the_same():
    ballast = np.ones(60_000_000)
    with card_file(CARD) as path:
        job = Work(path, "tangent", 20, 6000, 4, seconds=0.0)
        cost = measure_fresh(job)
        here = measure_here(job)
    tape = 20 * 6000 * 4 * 14 * 4
    assert tape < cost.peak_bytes < 3 * tape
    assert cost.peak_bytes < ballast.nbytes / 2
    assert cost.gradient == here.gradient
    assert np.abs(cost.gradient).sum() > 0


def test_a_process_that_dies_is_told_in_one_sentence(tmp_path):
    with pytest.raises(BrunoError, match=r"tangent over 1 ms x 2 x 1 failed: .*nowhere.json"):
        measure_fresh(Work(str(tmp_path / "nowhere.json"), "tangent", 1, 2, 1))


def test_more_substeps_are_more_accurate_and_euler_is_the_bar():
    found = accuracy(CARD, True, 1, lambda text: None)
    rows = found.rows
    error = {(row["method"], row["setting"]): row["v_rms_v"] for row in rows if row["states"] == "random"}
    assert error["logistic", 6] > error["logistic", 16] > error["rosenbrock", 1e-4]
    assert error["euler", 1000] < 3e-4
    assert all(row["wrong_spikes_per_1e5"] < 2000 for row in rows)
    assert found.summary["truth_beside_scipy_charge_max_mv"] < 1e-3
    assert found.summary["truth_beside_scipy_wrong_spikes"] == 0


def test_an_unknown_benchmark_is_refused_with_the_names():
    refused = CliRunner().invoke(app, ["bench", "warp"])
    assert isinstance(refused.exception, InputError)
    assert "unknown benchmark 'warp'; there are speed, accuracy" in str(refused.exception)


def test_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    benchmark.measure("memory", CARD, True, max(1, (os.cpu_count() or 2) - 1), lambda text: None)
    assert torch.get_num_threads() == before
