"""What the score hangs on: known curves come back, and moving a device is the device of a card with other values."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.training.codesign.levers import lever, tolerance
from bruno_spice.training.codesign.response import Moves, Pieces, Trained
from bruno_spice.training.codesign.table import check_alike, codesign
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.neurons.shared import levers
from bruno_spice.training.progress import Silent
from bruno_spice.training.runs.checkpoint import save_model
from bruno_spice.training.runs.evaluation import load_run, make_network, score_part
from bruno_spice.training.runs.folder import Cards, RunFolder
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks.chorales import Chorales
from bruno_spice.training.tasks.classification import Classification
from bruno_spice.training.tasks.regression import Regression

pytestmark = pytest.mark.filterwarnings("ignore:the current runs from")
STEPS = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16])
PIECES = 200


def moves(slope=0.0, bend=0.0, cubic=0.0, fifth=0.0, noise=0.0, seed=0, spread=None, sigma=0.04):
    """Pieces of weight 1...3, scattered and noisy; the score is `slope` x + `bend` x^2 + `cubic` x^3 + `fifth` x^5."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 4, PIECES).astype(float)
    level, own = rng.normal(8.0, 1.0, PIECES), rng.normal(1.0, 0.3, PIECES)

    def at(change):
        return Pieces(weight * (level + own * change + noise * rng.normal(size=PIECES)), weight)

    def score(x):
        return at(slope * x + bend * x**2 + cubic * x**3 + fifth * x**5)

    drawn = [] if spread is None else [(at(spread * sigma**2 + up), at(spread * sigma**2 - up)) for up in (0.02, 0.01)]
    return Moves(STEPS, at(0.0), [score(-x) for x in STEPS], [score(x) for x in STEPS], drawn)


def test_a_known_slope_comes_back_within_its_interval_and_says_what_helps():
    found = lever("area", [moves(slope=0.4, noise=0.01)], 0.01, False, 0.04)
    assert found.slope == pytest.approx(0.004, rel=0.1)
    assert found.slope_low < 0.004 < found.slope_high
    assert found.helps == "less"
    assert lever("area", [moves(slope=0.4)], 0.01, True, 0.04).helps == "more"


def test_the_step_is_as_large_as_the_noise_asks_for_and_the_curvature_allows():
    noisy, bent, both = moves(0.4, noise=0.05), moves(0.4, fifth=2e5), moves(0.4, fifth=2e5, noise=0.02)
    assert lever("area", [noisy], 0.01, False, 0.04).step >= STEPS[-2]
    assert lever("area", [bent], 0.01, False, 0.04).step == STEPS[0]
    between = lever("area", [both], 0.01, False, 0.04)
    assert STEPS[0] < between.step < STEPS[-1]
    assert abs(between.slope - 0.004) < 3 * between.noise


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """40 made-up networks with noise and curvature as of the chorales; half of them hang on nothing."""
    found = [lever("area", [moves(0.2, 0.3, 5.0, noise=0.03, seed=n)], 0.01, False, 0.04, n) for n in range(20)]
    assert np.mean([each.slope_low < 0.002 < each.slope_high for each in found]) >= 0.85
    nothing = [lever("area", [moves(bend=0.3, noise=0.03, seed=n)], 0.01, False, 0.04, n) for n in range(20)]
    assert np.mean([each.helps == "not told" for each in nothing]) >= 0.85


def test_the_tolerance_is_the_nearer_of_the_two_places_from_where_on_the_cost_is_kept_up():
    x = np.concatenate([-STEPS[::-1], [0.0], STEPS])
    assert tolerance(x, 0.25 * x, 0.01) == (pytest.approx(0.04), "more")
    assert tolerance(x, -0.1 * x + 4 * x**2, 0.01)[1] == "less"
    assert tolerance(x, 0.01 * x, 0.01) == (None, "")
    nudged = 0.25 * x
    nudged[len(STEPS) - 1] = 0.02
    assert tolerance(x, nudged, 0.01) == (pytest.approx(0.04), "more")
    found = lever("area", [moves(slope=0.25)], 0.01, False, 0.04)
    assert found.tolerance == pytest.approx(0.04, rel=0.1)
    assert found.tolerance_low < found.tolerance < found.tolerance_high
    assert lever("area", [moves(slope=-0.25)], 0.01, False, 0.04).tolerance_side == "less"


def test_several_runs_have_an_interval_over_seeds():
    slopes = (0.2, 0.3, 0.7)
    found = lever("area", [moves(slope=each, seed=n) for n, each in enumerate(slopes)], 0.01, False, 0.04)
    assert found.slope == pytest.approx(0.004, rel=0.1)
    half = 4.303 * np.std(slopes, ddof=1) / np.sqrt(3) / 100
    assert found.slope_high - found.slope == pytest.approx(half, rel=0.1)
    assert found.helps == "not told"


def test_spread_goes_with_its_square_and_chips_with_its_sigma():
    for sigma in (0.02, 0.04):
        found = lever("area", [moves(spread=5.0, sigma=sigma)], 0.01, False, sigma)
        assert found.spread_mean == pytest.approx(5.0 * 0.01**2, rel=0.1)
        assert found.spread_chips == pytest.approx(np.sqrt((0.02**2 + 0.01**2) / 2) * 0.01 / sigma, rel=0.1)
    assert lever("area", [moves()], 0.01, False, 0.04).spread_mean is None


@pytest.fixture(scope="module")
def run(tmp_path_factory, one_domain):
    """Eight FeLIF of one domain, each another device, one epoch."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("codesign")
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [5, 3], "neuron": "felif", "weight_std": 1.0},
        "neuron": {"card": str(one_domain.save(folder / "one.json")), "spread": {"area": 0.02, "alpha": 0.01},
                   "options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 1, "batch_size": 8},
    })  # fmt: skip
    train(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def trained(run):
    return Trained(run, "cross_entropy", False, Silent())


def test_a_moved_parameter_is_a_card_with_that_value_and_the_readout_s_scale_stays(run, trained):
    expected = RunFolder(run).read_result()["test"]["cross_entropy"]
    assert trained.pieces().score == pytest.approx(expected, rel=1e-6)
    moved = {name: trained.pieces({name: 1.1}).score for name in ("area", "v_threshold", "activation_field")}
    assert trained.pieces().score == pytest.approx(expected, rel=1e-6)
    for name, score in moved.items():
        own = f"{name}_1" if name == "activation_field" else name
        card = trained.card.with_values(**{own: 1.1 * trained.card[own]})
        other = make_network(
            trained.config, trained.task, Cards(card, RunFolder(run).load_cards(trained.config).synapse)
        )
        state = trained.network.state_dict()
        scaled = {key: 1.1 * value if key.endswith(f"device_{name}") else value for key, value in state.items()}
        other.load_state_dict(scaled)
        for layer in other.hidden:
            layer.v_unit_v = trained.card["v_threshold"]
        found = score_part(other, trained.task, "test", trained.config.seed)[0]["cross_entropy"]
        assert score == pytest.approx(found, rel=1e-6)
        assert abs(score - expected) > 1e-5


def test_neurons_can_be_moved_one_by_one(trained):
    alike = trained.pieces({"area": [np.full(5, 1.05), np.full(3, 1.05)]}).score
    assert alike == pytest.approx(trained.pieces({"area": 1.05}).score, rel=1e-6)
    one = trained.pieces({"area": [np.ones(5), np.array([1.3, 1.0, 1.0])]}).score
    assert one not in (alike, trained.at_card.score)


def test_the_table_from_run_to_json_and_picture(bruno, run):
    code, out, err = bruno(
        "codesign",
        run,
        "--over",
        "leak_discharge,c_parallel,activation_field",
        "--quick",
        "--score",
        "cross_entropy",
        "--json",
    )
    assert code == 0, err
    found = json.loads(out)
    rows = {row["name"]: row for row in found["levers"]}
    assert set(rows) == {"leak_discharge", "c_parallel", "activation_field"}
    assert found["interval"].startswith("test pieces")
    assert rows["c_parallel"]["param"] == "cpar"
    assert rows["activation_field"]["unit"] == "V/m"
    area = rows["c_parallel"]
    assert area["slope_per_unit"] * 0.01 * area["value"] == pytest.approx(area["slope"])
    assert [abs(row["slope"]) for row in found["levers"]] == sorted(
        (abs(r["slope"]) for r in rows.values()), reverse=True
    )
    assert json.loads((run / "codesign.json").read_text())["levers"] == found["levers"]
    assert (run / "figures" / "codesign.png").stat().st_size > 5000
    code, out, _ = bruno("codesign", run, "--over", "area", "--quick", "--chips", 0)
    assert code == 0
    assert "for +1 %" in out
    assert "intervals over test pieces, 12" in out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--over", "aera"], "unknown parameter 'aera'; the card's are area, thickness_hzo"),
        (["--over", "v_floor"], "v_floor is 0 on this card"),
        (["--over", "domain_weight_1"], "domain_weight_1 is a share of the film"),
        (["--over", "area", "--score", "nll"], "the task has no score 'nll'; there are accuracy, cross_entropy"),
        (["--over", "area", "--spread", "0"], "--spread must lie between 0 and 0.3"),
        (["--over", "area", "--cost", "0"], "--cost must be above 0"),
    ],
)
def test_what_cannot_be_moved_is_one_sentence(bruno, run, options, complaint):
    code, _, err = bruno("codesign", run, *options)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err


def test_which_way_a_score_gets_better_is_known_or_asked_for(bruno, run, monkeypatch):
    scores = Classification.scores

    def more(task, logits, batch):
        found = scores(task, logits, batch)
        return found | {"accuracy_gap_from_80_ms": found["accuracy"], "odd": found["accuracy"]}

    monkeypatch.setattr(Classification, "scores", more)
    table = ("codesign", run, "--over", "area", "--quick", "--chips", 0, "--json", "--score")
    found = json.loads(bruno(*table, "accuracy_gap_from_80_ms")[1])
    assert (found["higher_is_better"], found["cost"]) == (True, 0.001)
    code, _, err = bruno(*table, "odd")
    assert (code, "or less of the score 'odd' is better; add --more-is-better or" in " ".join(err.split())) == (2, True)
    told = [json.loads(bruno(*table, "odd", f"--{which}-is-better")[1]) for which in ("more", "less")]
    assert [each["higher_is_better"] for each in told] == [True, False]
    for task, known in (
        (Classification, {"accuracy": True, "cross_entropy": False, "balanced_accuracy": True, "nll": False}),
        (Regression, {"mse": False, "mae": False, "r2": True, "losses": None}),
        (Chorales, {"nll": False, "bce_per_key": False, "f1": True, "f10": None}),
    ):
        assert {score: task.more_is_better(task, score) for score in known} == known


def test_every_lever_that_is_offered_can_be_moved(trained):
    from bruno_spice.training.neurons.shared import members

    for name in levers(trained.card):
        assert all(trained.card[each] != 0.0 for each in members(trained.card, name))


def test_runs_without_devices_are_refused(small_config, tmp_path):
    train(small_config.with_values(training__epochs=1, synapse__kind="float"), tmp_path / "lif")
    with pytest.raises(InputError, match="its rlif neurons are made without a card"):
        codesign([tmp_path / "lif"])


@pytest.fixture(scope="module")
def other(run, trained):
    """The run with another seed, whose card has another name."""
    path = str(shutil.copy(trained.config.neuron.card, run.parent / "same.json"))
    train(trained.config.with_values(seed=1, neuron__card=path, threads=2), run.parent / "other")
    return run.parent / "other"


def test_runs_that_differ_in_their_seed_alone_have_an_interval_over_seeds(bruno, run, other):
    table = ("--over", "area", "--quick", "--chips", 0, "--score", "cross_entropy")
    code, out, err = bruno("codesign", run, other, *table)
    assert code == 0, err
    assert "intervals over seeds, 2 runs" in out
    shutil.copytree(run, run.parent / "copy", dirs_exist_ok=True)
    for again in (run, run.parent / "copy"):
        code, _, err = bruno("codesign", run, other, again, *table)
        assert code == 2
        assert f"and {again} have the same seed, 0; an interval over seeds needs others" in " ".join(err.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network__hidden": [4]}, r"network\.hidden: \[5, 3\] and \[4\]"),
        ({"synapse__bits": 2}, r"synapse\.bits: 3 and 2"),
        ({"neuron__gradient": "tangent"}, r"neuron\.gradient: 'bruno' and 'tangent'"),
        ({"task_options": {"trials": 60}}, r"task_options\.steps: 10 and 'nothing'"),
        ({"training__epochs": 2}, r"training\.epochs: 1 and 2"),
    ],
)
def test_runs_that_differ_in_more_are_refused(trained, change, said):
    config = trained.config.with_values(seed=1, **change)
    found = SimpleNamespace(run="other", config=config, metric=trained.metric)
    with pytest.raises(InputError, match=rf"run and other differ in {said}; runs of one table may differ in their"):
        check_alike(trained, found)


def test_runs_of_other_cards_or_trained_on_other_data_are_refused(trained, other, felif_card, tmp_path):
    found = SimpleNamespace(run=other, config=RunFolder(other).load_config(), metric=trained.metric, card=trained.card)
    check_alike(trained, found)
    found.card = felif_card
    with pytest.raises(InputError, match="other: its neurons are made from another card than those of"):
        check_alike(trained, found)
    found.card, found.run = trained.card, tmp_path / "moved"
    shutil.copytree(other, found.run)
    card = found.run / "cards" / "rram.json"
    kept = card.read_text()
    card.write_text(kept + " ")
    with pytest.raises(InputError, match="moved: its rram card is another than that of"):
        check_alike(trained, found)
    card.write_text(kept)
    network = load_run(found.run)[2]
    hashes = trained.task.data_hashes() | {"test": "0" * 64}
    save_model(RunFolder(found.run).best, network, RunFolder(found.run).identity(found.config), data=hashes)
    with pytest.raises(InputError, match="moved: the data of test are others than those of"):
        check_alike(trained, found)
