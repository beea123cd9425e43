"""``bruno card`` as a user meets it."""

import json
from pathlib import Path

import jsonschema
import pytest

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.parts import Covariance, Parameter

FELIF = "data/calibrated/felif.json"
RRAM = "data/calibrated/rram.json"


def fitted(value, stderr):
    return Parameter(value=value, unit="V", stderr=stderr, min=0.0, max=10.0, vary=True, source="fit")


def with_threshold(value, stderr, path):
    card = FeLIFCard.published()
    parameters = dict(card.parameters) | {"v_threshold": fitted(value, stderr)}
    FeLIFCard.build(parameters).save(path)
    return path


def test_committed_cards_validate_against_the_printed_schema(bruno, tmp_path, felif_card, rram_card):
    for model, card in (("felif", felif_card), ("rram", rram_card)):
        code, text, _ = bruno("card", "schema", model)
        assert code == 0
        jsonschema.validate(json.loads(card.to_json()), json.loads(text))
        assert bruno("card", "schema", model, "--out", tmp_path / "schema.json")[0] == 0
        assert json.loads((tmp_path / "schema.json").read_text()) == json.loads(text)


def test_show_names_every_parameter_with_its_unit_and_source(bruno, felif_card, rram_card):
    for path, card in ((FELIF, felif_card), (RRAM, rram_card)):
        code, text, _ = bruno("card", "show", path)
        assert code == 0
        for name in [*card.parameters, *card.envelope]:
            assert name in text
        assert "validation" in text
        assert "C/m^2" in text or card.model == "rram"
        code, text, _ = bruno("card", "show", path, "--json")
        assert type(card).model_validate(json.loads(text)) == card


def test_diff_gives_relative_change_and_combined_standard_errors(bruno, tmp_path):
    a = with_threshold(2.5, 0.03, tmp_path / "a.json")
    b = with_threshold(2.4, 0.04, tmp_path / "b.json")
    code, text, _ = bruno("card", "diff", a, b, "--json")
    assert code == 0
    (change,) = json.loads(text)
    assert change["name"] == "v_threshold"
    assert change["relative"] == pytest.approx(-0.04)
    assert change["sigmas"] == pytest.approx(-2.0)
    _, text, _ = bruno("card", "diff", a, b)
    assert "v_threshold" in text
    assert "-4 %" in text
    assert "alpha" not in text
    assert "the same" in bruno("card", "diff", a, a)[1]


def test_diff_of_different_numbers_of_domains_says_what_one_lacks(bruno, tmp_path):
    one = FeLIFCard.published()
    values = {name: p.value for name, p in one.parameters.items()} | {"domain_weight_1": 0.5}
    two = values | {"activation_field_2": 1e9, "offset_field_2": 0.0, "domain_weight_2": 0.5}
    one.save(tmp_path / "one.json")
    FeLIFCard.from_values(two, source="by hand", domains=2).save(tmp_path / "two.json")
    code, text, _ = bruno("card", "diff", tmp_path / "one.json", tmp_path / "two.json", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["activation_field_2"]["first"] is None
    assert rows["activation_field_2"]["second"] == 1e9


def test_different_models_are_not_compared(bruno):
    code, _, err = bruno("card", "diff", FELIF, RRAM)
    assert code == 2
    assert "no parameters in common" in err


def test_check_remarks_on_what_cannot_be_trusted(bruno, tmp_path):
    parameters = dict(FeLIFCard.published().parameters)
    parameters["v_threshold"] = fitted(2.5, 2.0)
    parameters["v_floor"] = Parameter(value=-5.0, unit="V", min=-5.0, max=0.0, vary=True, source="fit")
    parameters["domain_weight_1"] = Parameter(value=0.9, unit="1", source="by hand")
    covariance = Covariance(names=["v_threshold"], matrix=[[1e-4]])
    FeLIFCard.build(parameters, covariance=covariance).save(tmp_path / "odd.json")
    code, text, _ = bruno("card", "check", tmp_path / "odd.json", "--json")
    assert code == 0
    said = " / ".join(json.loads(text)["remarks"])
    for remark in (
        "v_threshold is known only to 80 %",
        "v_floor was free in the fit but has no standard error",
        "v_floor sits on a bound",
        "weights sum to 0.9",
        "v_threshold: stderr 2 disagrees with the covariance, 0.01",
        "not validated",
    ):
        assert remark in said


def test_check_takes_an_old_card_and_refuses_a_newer_one(bruno, tmp_path):
    raw = json.loads(FeLIFCard.published().to_json())
    (tmp_path / "newer.json").write_text(json.dumps(raw | {"schema_version": "2.1.0"}))
    code, _, err = bruno("card", "check", tmp_path / "newer.json")
    assert code == 2
    assert "version 2.1.0 is not readable here" in err
    (tmp_path / "older.json").write_text(json.dumps(raw | {"schema_version": "0.9.0"}))
    assert bruno("card", "check", tmp_path / "older.json")[0] == 0


def test_unknown_models_are_refused(bruno, tmp_path):
    code, _, err = bruno("card", "schema", "toaster")
    assert code == 2
    assert "'toaster' is not known" in err
    (tmp_path / "card.json").write_text('{"model": "toaster"}')
    assert bruno("card", "show", tmp_path / "card.json")[0] == 2


def test_every_card_command_explains_itself_with_an_example(bruno):
    for command in ("schema", "show", "diff", "check", "export"):
        code, out, _ = bruno("card", command, "--help")
        assert code == 0
        assert "xample" in out


ODD_TEXTS = ["[red]x[/red]", "[/]", "[link=file:///etc/passwd]look[/link]", ":warning:", "[bold", "\\[x]", "=1+1"]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_markup_in_a_card_is_printed_as_it_stands(bruno, tmp_path, text):
    raw = json.loads(Path(FELIF).read_text())
    raw["parameters"]["area"]["source"] = raw["provenance"]["netlist"] = raw["provenance"]["command"] = text
    raw["fit"] = {text: 1.0}
    raw["validation"] = {"stimuli": [{text: text}], text: text}
    path = tmp_path / f"{text.replace('/', '|')}.json"
    path.write_text(json.dumps(raw))
    code, out, said = bruno("card", "show", path)
    assert (code, said) == (0, "")
    assert out.count(text) >= 6
    assert bruno("card", "check", path)[0] == 0
    assert bruno("card", "diff", path, FELIF)[0] == 0


@pytest.mark.parametrize("text", ["\x1b[31m", "\x9b31m", "\x1b]0;title\x07", "\u202e", "\b\b", "\r", "\x00"])
def test_escape_codes_of_a_card_never_reach_the_terminal(bruno, tmp_path, text):
    path = tmp_path / "card.json"
    for key in ("source", "name", "model"):
        raw = json.loads(Path(FELIF).read_text())
        if key == "source":
            raw["parameters"]["area"]["source"] = text
        elif key == "name":
            raw["parameters"][text] = raw["parameters"]["area"]
        else:
            raw["model"] = text
        path.write_text(json.dumps(raw))
        for command in ("show", "check"):
            code, out, said = bruno("card", command, path)
            assert (code, out) == (2, "")
            assert "control character" in said
            assert text not in said


def test_a_file_name_that_would_steer_the_terminal_is_written_out(bruno, tmp_path):
    code, out, said = bruno("card", "show", tmp_path / "\x1b[31mred\x07.json")
    assert (code, out) == (2, "")
    assert "\x1b" not in said
    assert r"\x1b[31mred\x07" in said
