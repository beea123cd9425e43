"""The published schema accepts what this program writes and refuses what it refuses; old cards still read."""

import json

import jsonschema
import pytest

from bruno_spice.devices.cards.base import SCHEMA_VERSION, FeLIFCard
from bruno_spice.devices.cards.migration import migrate
from bruno_spice.devices.cards.parts import Parameter
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.cards.schema import card_schema
from bruno_spice.devices.errors import CardError

FELIF = jsonschema.Draft202012Validator(card_schema(FeLIFCard))
RRAM = jsonschema.Draft202012Validator(card_schema(RRAMCard))


def four_domains():
    values = {name: p.value for name, p in FeLIFCard.published().parameters.items()}
    for k in range(1, 5):
        values |= {f"activation_field_{k}": k * 4e8, f"offset_field_{k}": 0.0, f"domain_weight_{k}": 0.25}
    return FeLIFCard.from_values(values, source="by hand", domains=4)


def raw(card):
    return json.loads(card.to_json())


def test_the_schemas_are_schemas():
    for validator in (FELIF, RRAM):
        jsonschema.Draft202012Validator.check_schema(validator.schema)


def test_committed_and_many_domain_cards_validate(felif_card, rram_card):
    FELIF.validate(raw(felif_card))
    FELIF.validate(raw(FeLIFCard.published()))
    FELIF.validate(raw(four_domains()))
    RRAM.validate(raw(rram_card))
    assert not FELIF.is_valid(raw(rram_card))
    assert not RRAM.is_valid(raw(felif_card))


def drop(*path):
    def edit(card):
        for key in path[:-1]:
            card = card[key]
        del card[path[-1]]

    return edit


def put(value, *path):
    def edit(card):
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] = value

    return edit


ENTRY = Parameter(value=1.0, unit="1", source="x").model_dump()


@pytest.mark.parametrize(
    "edit",
    [
        put("red", "colour"),
        put("red", "parameters", "area", "colour"),
        put("um^2", "parameters", "area", "unit"),
        put("25p", "parameters", "area", "value"),
        put(-1e-8, "parameters", "thickness_hzo", "value"),
        put(2500.0, "parameters", "v_threshold", "value"),
        put(-1.0, "parameters", "domain_weight_2", "value"),
        put(ENTRY, "parameters", "aera"),
        put(ENTRY, "parameters", "domain_weight_5"),
        put("2.0.0", "schema_version"),
        put("lif", "model"),
        put("bruno-spice/rram", "schema"),
        put(5, "domains"),
        put(3, "domains"),
        put(["foo"], "covariance", "names"),
        put({"foo": 0.1}, "variability"),
        drop("parameters", "alpha"),
        drop("parameters", "alpha", "unit"),
        drop("parameters", "domain_weight_4"),
        drop("domains"),
        drop("schema_version"),
    ],
)
def test_schema_and_program_refuse_the_same_cards(edit, tmp_path):
    card = raw(four_domains())
    edit(card)
    assert not FELIF.is_valid(card)
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(CardError):
        FeLIFCard.load(tmp_path / "card.json")


def before_1_0(card):
    """The same card as the schema 0.9 wrote it."""
    old = raw(card) | {"schema_version": "0.9.2"}
    del old["domains"]
    parameters = old["parameters"]
    parameters["activation_field"] = parameters.pop("activation_field_1")
    for name in ("offset_field_1", "domain_weight_1", "polarization_reset", "v_floor", "v_compliance", "leak_v_smooth"):
        del parameters[name]
    for entry in parameters.values():
        entry["fixed"] = not entry.pop("vary")
    old["envelope"] = {
        name: {"range": [span["min"], span["max"]], "unit": span["unit"]} for name, span in old["envelope"].items()
    }
    names = old["covariance"]["names"]
    old["covariance"]["names"] = [n.removesuffix("_1") for n in names]
    return old


def test_a_card_of_schema_0_9_reads_as_the_same_neuron(felif_card, tmp_path):
    one = felif_card if felif_card.domains == 1 else FeLIFCard.published()
    was = one.with_values(v_floor=-5.0)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(before_1_0(was)))
    now = FeLIFCard.load(path)
    assert now.schema_version == SCHEMA_VERSION
    assert {n: p.value for n, p in now.parameters.items()} == {n: p.value for n, p in was.parameters.items()}
    assert now.covariance == was.covariance
    assert now.envelope == was.envelope
    assert [p.vary for p in now.parameters.values()] == [now.parameters[n].vary for n in now.parameters]
    assert now.parameters["alpha"].vary == was.parameters["alpha"].vary
    assert now.parameters["v_floor"].source == "fixed in cards before 1.0"
    FELIF.validate(raw(now))


def test_an_rram_card_of_schema_0_9_reads_too(rram_card, tmp_path):
    old = raw(rram_card) | {"schema_version": "0.9.0"}
    for entry in old["parameters"].values():
        entry["fixed"] = not entry.pop("vary")
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert RRAMCard.load(tmp_path / "old.json") == rram_card


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.0.0", r"version 2\.0\.0 is not readable.*reads 0\.9\.x, 1\.x: update this program"),
        ("0.8.1", r"version 0\.8\.1 is not readable.*recalibrate"),
        ("1", "'1' is not a version"),
        (None, "'None' is not a version"),
        (1.0, r"'1\.0' is not a version"),
    ],
)
def test_versions_that_cannot_be_read_are_refused(version, said):
    with pytest.raises(CardError, match=said):
        migrate(raw(FeLIFCard.published()) | {"schema_version": version}, SCHEMA_VERSION)


def test_a_broken_old_card_is_one_clear_error(tmp_path):
    (tmp_path / "old.json").write_text('{"schema_version": "0.9.0", "model": "felif", "parameters": {"area": 3}}')
    with pytest.raises(CardError, match=r"old\.json: not a card of version 0\.9\.0"):
        FeLIFCard.load(tmp_path / "old.json")


def test_migration_leaves_the_raw_card_alone():
    old = before_1_0(FeLIFCard.published())
    copy = json.dumps(old)
    migrate(old, SCHEMA_VERSION)
    assert json.dumps(old) == copy
