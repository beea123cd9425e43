"""A card made anew on another machine is the same card; one of another device is not."""

import json

import numpy as np
import pytest

from bruno_spice.calibration.cards.known_digits import NOISE, rounded, same
from bruno_spice.calibration.targets.calibrate import save_card


def perturbed(card, relative, seed=0):
    """Every float of `card` off by up to `relative`, bounds left alone: what another machine's arithmetic does."""
    rng = np.random.default_rng(seed)

    def shake(value):
        if isinstance(value, dict):
            return {key: each if key in ("min", "max") else shake(each) for key, each in value.items()}
        if isinstance(value, list):
            return [shake(each) for each in value]
        return value * (1.0 + relative * rng.uniform(-1, 1)) if isinstance(value, float) else value

    content = json.loads(card.to_json())
    parts = {name: shake(content[name]) for name in ("parameters", "covariance", "fit", "validation", "variability")}
    return type(card).model_validate(content | parts)


@pytest.fixture(params=["felif", "rram"])
def card(request):
    return request.getfixturevalue(f"{request.param}_card")


@pytest.mark.parametrize("seed", range(5))
def test_the_last_digits_of_another_machine_change_neither_card_nor_file(card, seed, tmp_path):
    path = tmp_path / "card.json"
    assert save_card(card, path)
    written = path.read_bytes()
    other = perturbed(card, 1e-9, seed)
    assert other.to_json() != card.to_json()
    assert not save_card(other, path)
    assert path.read_bytes() == written


def test_a_change_that_is_no_noise_is_written(card, tmp_path):
    path = tmp_path / "card.json"
    save_card(card, path)
    name = next(name for name, p in card.parameters.items() if p.vary)
    moved = card.parameters | {name: card.parameters[name].model_copy(update={"value": card[name] * (1 + 10 * NOISE)})}
    assert save_card(card.model_copy(update={"parameters": moved}), path)
    worse = card.model_copy(update={"validation": card.validation | {"points": 1}})
    assert save_card(worse, path)
    assert type(card).load(path).validation["points"] == 1


def test_no_more_digits_are_written_than_are_known(card, tmp_path):
    path = tmp_path / "card.json"
    save_card(perturbed(card, 1e-9), path)
    for line in path.read_text().splitlines():
        number = line.split(":")[-1].strip(" ,")
        mantissa = number.lstrip("-").split("e")[0].replace(".", "").strip("0")
        if mantissa.isdigit():
            assert len(mantissa) <= 8, line
    read = type(card).load(path)
    assert rounded(read) == read
    assert same(read, card)


def test_rounding_keeps_the_covariance_one(card):
    matrix = np.array(rounded(card).covariance.matrix)
    sigma = np.sqrt(np.diag(matrix))
    assert np.linalg.eigvalsh(matrix / np.outer(sigma, sigma)).min() > -1e-6, "fewer clusters than parameters: zeros"


def test_an_envelope_of_other_currents_is_another_card(felif_card):
    envelope = dict(felif_card.envelope)
    envelope["i_syn"] = envelope["i_syn"].model_copy(update={"min": 0.98 * envelope["i_syn"].min})
    assert not same(felif_card, felif_card.model_copy(update={"envelope": envelope}))
