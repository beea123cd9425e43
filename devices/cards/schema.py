"""The JSON Schema of a card (draft 2020-12): what any program can check without this one.

pydantic writes the shape of the fields; added here is what it cannot know: the names of the required parameters,
the unit and the limits of each, and that a card of K domains has the parameters of domains 1...K (for K up to
`MOST_DOMAINS`). What no schema can say is left to `Card.load`: a value within its own bounds, a covariance as large as
its names.
"""

from typing import Any

from bruno_spice.devices.cards.base import SCHEMA_VERSION, Card
from bruno_spice.devices.cards.limits import limits
from bruno_spice.devices.models.model import Sign
from bruno_spice.devices.models.rows import MOST_DOMAINS

Schema = dict[str, Any]


def card_schema(card_type: type[Card]) -> Schema:
    """JSON Schema of the cards of `card_type`."""
    shared = card_type.UNITS | card_type.OPTIONAL_UNITS
    names = {rf"^{name.removesuffix('_1')}_[1-9][0-9]*$": name for name in card_type.units(1) if name not in shared}
    numbered = {pattern: card_type.units(1)[name] for pattern, name in names.items()}
    name = {"anyOf": [{"enum": list(shared)}, *({"pattern": pattern} for pattern in numbered)]}
    schema: Schema = card_type.model_json_schema(by_alias=True)
    schema["$defs"]["Covariance"]["properties"]["names"] = {"type": "array", "items": name}
    schema["properties"] |= {
        "schema": {"const": f"bruno-spice/{card_type.MODEL}"},
        "schema_version": {"type": "string", "pattern": rf"^{SCHEMA_VERSION.split('.')[0]}\.\d+\.\d+$"},
        "model": {"const": card_type.MODEL},
        "domains": {"type": "integer", "minimum": 1, "maximum": MOST_DOMAINS, "default": 1}
        if numbered
        else {"const": 1},
        "parameters": {
            "type": "object",
            "properties": {name: _parameter(unit, card_type.sign_of(name)) for name, unit in shared.items()},
            "patternProperties": {
                pattern: _parameter(unit, card_type.sign_of(names[pattern])) for pattern, unit in numbered.items()
            },
            "required": [name for name in card_type.units(1) if name not in card_type.OPTIONAL_UNITS],
            "additionalProperties": False,
        },
        "variability": {"type": "object", "propertyNames": name, "additionalProperties": {"type": "number"}},
    }
    if numbered:
        schema["allOf"] = [_of_domains(card_type, k) for k in range(1, MOST_DOMAINS + 1)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"bruno-spice/{card_type.MODEL}/{SCHEMA_VERSION}",
        **schema,
    }


def _parameter(unit: str, sign: Sign) -> Schema:
    return {"$ref": "#/$defs/Parameter", "properties": {"unit": {"const": unit}, "value": limits(unit, sign)}}


def _of_domains(card_type: type[Card], domains: int) -> Schema:
    """A card that says `domains` (or, for 1, says nothing) has the parameters of these and of no further ones."""
    exact = {"required": list(card_type.units(domains)), "propertyNames": {"enum": list(card_type.units(domains))}}
    return {"if": {"properties": {"domains": {"const": domains}}}, "then": {"properties": {"parameters": exact}}}
