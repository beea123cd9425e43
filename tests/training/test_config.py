"""A configuration is strict, and every complaint is one sentence with the key in it."""

import re
from pathlib import Path

import pytest

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig, parse_config
from bruno_spice.training.networks.config_file import (
    CONFIG_FOLDER,
    changed,
    default_config,
    load_config,
    parse_settings,
)


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(config.to_yaml())
    assert load_config(copy) == config


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("training: {epoch: 3}", "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ("netwrk: {}", "unknown key 'netwrk'; did you mean 'network'?"),
        ("training: {epochs: 0}", "training.epochs: Input should be greater than or equal to 1 (it is 0)"),
        ("network: {unit_current_a: 10x}", "network.unit_current_a: '10x' is not a number"),
        ("training: {learning_rate: null}", "training.learning_rate: must be a number (it is None)"),
        ("training: {learning_rate: [1, 2]}", "training.learning_rate: must be a number (it is [1, 2])"),
        ("synapse: {bits: 9}", "synapse.bits"),
        ("- chorales", "must hold keys and values"),
        ("seed: [", "not valid YAML in line"),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_file_and_the_key(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml") as caught:
        load_config(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_with_a_name_too_long_for_a_file_starts_from_the_plain_defaults() -> None:
    name = "a" * 5000
    assert default_config(name) == RunConfig(task=name)


def test_numbers_take_spice_suffixes() -> None:
    assert parse_config({"network": {"unit_current_a": "10n"}}, "here").network.unit_current_a == pytest.approx(1e-8)


def test_overrides_are_checked_like_a_file() -> None:
    config = default_config("chorales").with_values(training__epochs=3, network__neuron="lif")
    assert (config.training.epochs, config.network.neuron, config.network.is_recurrent) == (3, "lif", False)
    with pytest.raises(InputError, match=r"training\.epochs"):
        config.with_values(training__epochs=-1)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("neuron.spread.area=0.05", "neuron.spread.area: neuron.spread is 'none' and has no keys"),
        ("neuron.spread.area.deep=0.05", "neuron.spread is 'none' and has no keys"),
        ("nuron.card=published", "names 'nuron'"),
        ("training.learning_rate=null", "training.learning_rate: must be a number"),
    ],
)
def test_a_setting_that_fits_nowhere_is_one_sentence(setting: str, complaint: str) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        changed(default_config("chorales"), parse_settings([setting]))


def test_felif_and_rlif_are_recurrent_unless_told_otherwise() -> None:
    recurrent = {
        name: RunConfig.model_validate({"network": {"neuron": name}}).network.is_recurrent
        for name in ("felif", "lif", "rlif")
    }
    assert recurrent == {"felif": True, "lif": False, "rlif": True}
    feed_forward = RunConfig.model_validate({"network": {"recurrent": False}})
    assert not feed_forward.network.is_recurrent
    assert feed_forward.with_values(network__neuron="rlif").network.is_recurrent
