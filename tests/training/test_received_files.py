"""Odd cards, configurations, sweeps, variations and run folders that once ended in a traceback or in none at all."""

import shutil
from pathlib import Path

import pytest

from bruno_spice.calibration.cards.catalogue import load_any_card, remarks
from bruno_spice.calibration.spice.variation import Variation
from bruno_spice.devices.errors import BrunoError, CardError, InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.config_file import load_config
from bruno_spice.training.reports.run import write_run_report
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import load_sweep

CASES = Path(__file__).parents[1] / "cases"
DEEP, DEEP_OBJECT, DIGITS = "[" * 50_000, '{"a":' * 40_000, "9" * 5_000
DEEP_CARD = f'{{"schema_version": {DEEP_OBJECT}'


@pytest.mark.parametrize(
    ("read", "name", "said"),
    [
        (load_config, "fuzz/config_40fb83.yaml", "line 7 .*timestamp"),
        (load_config, "hostile/evil_config.yaml", "'system' of .*--trust-code"),
        (load_sweep, "fuzz/sweep_2229bc.yaml", "too large"),
        (load_sweep, "fuzz/sweep_c1225e.yaml", "line 3 .*timestamp"),
        (Variation.load, "fuzz/variation_68c4d3.yaml", "line 6 .*timestamp"),
        (load_any_card, "fuzz/card_34e55c.json", "names 'reset_onset_radius', a parameter that the card does not have"),
    ],
)
def test_a_file_that_once_gave_a_traceback_gives_a_sentence(read, name, said):
    with pytest.raises(InputError, match=said) as refused:
        read(CASES / name)
    assert len(str(refused.value)) < 700
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("read", [load_config, load_sweep, Variation.load, load_any_card])
@pytest.mark.parametrize(
    "content", [DEEP, DEEP_OBJECT, DIGITS, DEEP_CARD, f'{{"task": {DIGITS}}}', "", "[]", "1", "\0"]
)
def test_deep_long_and_empty_files_give_a_sentence(read, content, tmp_path):
    path = tmp_path / "odd"
    path.write_text(content)
    try:
        read(path)
    except InputError as refused:
        assert str(refused).startswith(str(path))  # noqa: PT017
    else:
        assert (read, content) == (load_config, "")  # an empty file changes nothing of the defaults


@pytest.mark.parametrize(
    "content",
    [
        "parameters: 3", "parameters: {a: 3}", "parameters: {a: {distribution: 1}}", "parameters: {a: {}}",
        "corners: {}",
        "parameters: {a: {distribution: normal, sigma: 1}}\ncorners: {b: 3}",
        "parameters: {a: {distribution: normal, sigma: [1]}}", "parameters: {a: {distribution: normal, sigma: .nan}}",
        "parameters: {a: {distribution: uniform, min: 1, max: 1e999}}", "a: b",
    ],
)  # fmt: skip
def test_a_variation_of_another_shape_gives_a_sentence(content, tmp_path):
    (tmp_path / "v.yaml").write_text(content)
    with pytest.raises(InputError, match=r"v\.yaml: "):
        Variation.load(tmp_path / "v.yaml")


ODD_CONFIGS = [
    "network: 3", "network: {hidden: []}", "network: {hidden: [0]}", "network: {hidden: [100000000000]}",
    "network: {hidden: [1e3]}", "network: {readout: [x]}", "task: 3", "task: ''", "task: '../../x'", "task: ':'",
    "task_options: {x: 1}", "task_options: {trials: x}", "task_options: {trials: -1}", "task_options: {steps: 0}",
    "task_options: {trials: 1000000000000}", "task_options: {seed: -1}", "task_options: {trials: [1]}",
    "device: x", "device: 'cuda:99'", "device: meta", "threads: 0", "threads: 1000000000", "seed: -1",
    "neuron: {card: /etc}", "neuron: {card: /dev/zero}", "neuron: {card: ''}", "neuron: {options: {x: 1}}",
    "neuron: {options: {slope: x}}", "neuron: {options: {shape: x}}", "neuron: {options: {shape: [1]}}",
    "neuron: {options: {reset: []}}", "neuron: {options: {solver: {}}}", "neuron: {options: {accuracy: x}}",
    "neuron: {options: {current_limits: 5}}", "neuron: {options: {current_limits: [a, b]}}",
    "neuron: {options: {limit_slope: x}}", "neuron: {options: {card: x}}", "neuron: {spread: {x: 1}}",
    "neuron: {options: {current_limits: [[1], [2]]}}", "neuron: {spread: {area: -1}}",
    "neuron: {options: {slope: .nan}}",
    "synapse: {card: x}", "synapse: {clip: 0}", "training: {betas: [1, 1]}", "training: {betas: [0.9]}",
    "training: {betas: [2, -1]}", "training: {batch_size: 0}", "network: {trace_tau_steps: 1e-300}",
    "network: {window_steps: 0}", "network: {unit_current_a: 1e9}", "network: {unit_current_a: x}",
    "network: {input_stages: 100000000}", "network: {readout_windows: 1000000000}", "synapse: {bits: 99}",
    "training: {learning_rate: 1e300, epochs: 1}", "network: {weight_std: 1e308}",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:the current runs from")
@pytest.mark.parametrize("content", ODD_CONFIGS)
def test_an_odd_setting_gives_a_sentence_or_trains(content, tmp_path, one_thread):
    quick = {"network": {"hidden": [3]}, "task_options": {"trials": 40, "steps": 4}, "training": {"epochs": 1}}
    (tmp_path / "odd.yaml").write_text(content)
    try:
        config = load_config(tmp_path / "odd.yaml")
        raw = config.model_dump(exclude_unset=True)
        for section, values in quick.items():
            raw[section] = values | raw.get(section, {})
        train(RunConfig.model_validate({"task": "pulses", **raw}), tmp_path / "run")
    except BrunoError as refused:
        assert "\n" not in str(refused)  # noqa: PT017
        assert len(str(refused)) < 700  # noqa: PT017


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run that has ended."""
    folder = tmp_path_factory.mktemp("made") / "run"
    raw = {"task": "pulses", "network": {"hidden": [4], "neuron": "lif"}, "training": {"epochs": 1}}
    train(RunConfig.model_validate(raw | {"task_options": {"trials": 40, "steps": 8}}), folder)
    return folder


KEPT = (
    "config.yaml",
    "result.json",
    "best.safetensors",
    "checkpoint.safetensors",
    "cards/felif.json",
    "cards/rram.json",
)
BINARIES = {path.stem: path.read_bytes() for path in sorted((CASES / "fuzz").glob("run_*.bin"))}
TEXTS = {"deep": DEEP.encode(), "object": DEEP_OBJECT.encode(), "digits": DIGITS.encode(), "empty": b""}


@pytest.mark.parametrize("content", (BINARIES | TEXTS).values(), ids=BINARIES | TEXTS)
def test_an_odd_file_in_a_run_folder_gives_a_sentence(made, tmp_path, content):
    for name in KEPT:
        run = tmp_path / name.replace("/", "-")
        shutil.copytree(made, run)
        (run / name).write_bytes(content)
        uses = {
            "evaluate": lambda run=run: evaluate(run),
            "report": lambda run=run: write_run_report(run),
            "resume": lambda run=run: train(RunFolder(run).load_config(), run, resume=True),
        }
        use = "resume" if name == "checkpoint.safetensors" else "report" if name == "result.json" else "evaluate"
        with pytest.raises(InputError) as refused:
            uses[use]()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change", [{"domains": 10**8}, {"domains": 0}, {"schema_version": "1.0.²"}, {"model": ["rram"]}]
)
def test_a_card_that_says_odd_things_of_itself_gives_a_sentence(change, tmp_path, felif_card):
    import json

    path = tmp_path / "card.json"
    path.write_text(json.dumps(json.loads(felif_card.to_json()) | change))
    with pytest.raises(CardError):
        load_any_card(path)


def test_a_covariance_of_nothing_is_remarked_on(felif_card):
    matrix = [[0.0] * len(felif_card.covariance.names) for _ in felif_card.covariance.names]
    card = felif_card.model_copy(update={"covariance": felif_card.covariance.model_copy(update={"matrix": matrix})})
    assert any("covariance" in each for each in remarks(card))
