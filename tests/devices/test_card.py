import json

import numpy as np
import pytest

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import CardError


@pytest.fixture
def raw():
    return json.loads(FeLIFCard.published().to_json())


def load(tmp_path, raw):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(raw))
    return FeLIFCard.load(path)


def test_a_card_survives_writing_and_reading(tmp_path):
    card = FeLIFCard.published()
    card.save(tmp_path / "card.json")
    assert FeLIFCard.load(tmp_path / "card.json") == card


def set_key(raw, *path_and_value):
    *path, last, value = path_and_value
    for key in path:
        raw = raw[key]
    raw[last] = value


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("colour", "red"), "unknown key 'colour'"),
        (("parameters", "area", "colour", "red"), r"unknown key 'parameters\.area\.colour'"),
        (("parameters", "aera", {"value": 1.0, "unit": "m^2", "source": "x"}), "unknown parameter 'aera'"),
        (("parameters", "area", "unit", "um^2"), r"'area' must be in m\^2, not 'um\^2'"),
        (
            ("parameters", "thickness_hzo", "value", -1e-8),
            "'thickness_hzo' must be above 0 and at most 0.001 m, not -1e-08",
        ),
        (("parameters", "v_threshold", "value", 2500.0), "'v_threshold' must be above 0 and at most 100 V, not 2500"),
        (("parameters", "activation_field_1", "value", 0.0), "'activation_field_1' must be above 0 V/m, not 0"),
        (("parameters", "v_floor", "value", -5000.0), "'v_floor' must be at least -100 and at most 100 V, not -5000"),
        (("parameters", "leak_density", "value", -1.0), "'leak_density' must be at least 0 A/m\\^2, not -1"),
        (("parameters", "alpha", "value", float("nan")), r"parameters\.alpha\.value"),
        (("parameters", "alpha", "max", 1.0), "outside its bounds"),
        (("schema_version", "2.0.0"), r"version 2\.0\.0 is not readable"),
        (("covariance", {"names": ["alpha"], "matrix": []}), "matrix must be 1 x 1"),
        (("covariance", {"names": ["foo"], "matrix": [[1.0]]}), "'foo'"),
        (("fit", {"rms": float("inf")}), "fit"),
        (("model", "rram"), "model"),
    ],
)
def test_a_malformed_card_is_refused_with_the_key(tmp_path, raw, edit, said):
    set_key(raw, *edit)
    with pytest.raises(CardError, match=said):
        load(tmp_path, raw)


def test_a_missing_unit_and_a_missing_parameter_are_refused_by_name(tmp_path, raw):
    del raw["parameters"]["alpha"]["unit"]
    with pytest.raises(CardError, match=r"parameters\.alpha\.unit"):
        load(tmp_path, raw)
    del raw["parameters"]["alpha"]
    with pytest.raises(CardError, match="'alpha' is missing"):
        load(tmp_path, raw)


def test_a_missing_file_and_broken_json_are_one_sentence(tmp_path):
    with pytest.raises(CardError, match="no such card"):
        FeLIFCard.load(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(CardError, match="not valid JSON"):
        FeLIFCard.load(tmp_path / "broken.json")


def test_the_correlation_matrix_has_a_unit_diagonal(raw, tmp_path):
    raw["covariance"] = {"names": ["alpha", "tau_0"], "matrix": [[4e-4, 1e-16], [1e-16, 1e-26]]}
    names, matrix = load(tmp_path, raw).correlation()
    assert names == ["alpha", "tau_0"]
    np.testing.assert_allclose(matrix, [[1, 0.05], [0.05, 1]])


def test_an_unknown_name_in_with_values_is_refused():
    with pytest.raises(CardError, match="unknown parameter 'vth'"):
        FeLIFCard.published().with_values(vth=2.4)
    with pytest.raises(CardError, match="'area' must be above 0"):
        FeLIFCard.published().with_values(area=0.0)
    assert FeLIFCard.published().with_values(v_threshold=2.4)["v_threshold"] == 2.4
