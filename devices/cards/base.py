"""Parameter cards: what calibration found out about a device, and how far it can be believed.

A card is a JSON file. Every parameter has a value, a unit, a standard error, bounds and a source; the
card adds the covariance of the fitted ones, device-to-device variability, the envelope of validity,
the quality of fit and validation, and the provenance. Reading is strict: an unknown key, a wrong or
missing unit, another schema version, a non-finite number or one that no device has (`devices.cards.limits`)
is refused with the name of the key.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import new_class
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.limits import refusal
from bruno_spice.devices.cards.migration import migrate
from bruno_spice.devices.cards.parts import Covariance, Parameter, Provenance, Range, Strict
from bruno_spice.devices.errors import CardError, ProposedCard
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.heracles import HeraclesModel
from bruno_spice.devices.models.model import NeuronModel, Sign
from bruno_spice.devices.models.rows import MOST_DOMAINS
from bruno_spice.devices.reading import load_json, short, shown

SCHEMA_VERSION = "1.1.0"


def load_card_json(path: Path | str) -> dict[str, Any]:
    """The JSON object in the card file at `path`, not yet checked as a card. Raises `CardError`."""
    raw = load_json(path, "no such card; `make calibrate` writes the default ones", CardError)
    if not isinstance(raw, dict):
        raise CardError(f"{path}: a card is a JSON object, not a {type(raw).__name__}")
    return raw


class Card(Strict):
    """What FeLIF and RRAM cards share: made by `load`, `build` or `from_values`, never changed afterwards.

    - `schema_name`, `schema_version`, `model`: what the card is.
    - `domains`: number K of polarization domains; 1 where there are none.
    - `parameters`: value, unit (SI), standard error, bounds and source by name; ``card["area"]`` is the bare value.
    - `covariance`: of the fitted parameters, in their units.
    - `variability`: relative standard deviation from device to device, by parameter.
    - `variability_correlation`: how these go together.
    - `envelope`: the ranges of current, voltage and rate that the fit covered, each in its own unit.
    - `fit`, `validation`: figures of merit by name; whether the fit is to be believed, and if not, why.
    - `provenance`: netlist, its SHA-256, ngspice's version, command, date, overrides.

    Raises `CardError` that names the key at fault: unknown, missing, in another unit, not finite, of no device.
    """

    MODEL: ClassVar[str]
    UNITS: ClassVar[dict[str, str]]
    """Required parameters and their units."""
    OPTIONAL_UNITS: ClassVar[dict[str, str]] = {}
    """Parameters that a card may lack, and their units."""
    SIGNS: ClassVar[Mapping[str, Sign]] = {}
    """Of parameters that cannot have any value."""
    TABLES: ClassVar[Mapping[str, str]] = {}
    """Fields that say what the device does beside its parameters, in words."""

    schema_name: str = Field(alias="schema")
    schema_version: str
    model: str
    domains: int = Field(default=1, ge=1, le=MOST_DOMAINS)
    parameters: dict[str, Parameter]
    covariance: Covariance = Field(default_factory=Covariance)
    variability: dict[str, float] = Field(default_factory=dict)
    """Device-to-device spread: relative standard deviation (sigma / value) by parameter."""
    variability_correlation: Covariance = Field(default_factory=Covariance)
    """Correlation matrix of that spread, in the order of its `names`."""
    envelope: dict[str, Range] = Field(default_factory=dict)
    fit: dict[str, Any] = Field(default_factory=dict)
    validation: dict[str, Any] = Field(default_factory=dict)
    provenance: Provenance = Field(default_factory=Provenance)

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    @field_validator("schema_version")
    @classmethod
    def _known_version(cls, version: str) -> str:
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise ValueError(f"version {version} is not readable here; this program reads {SCHEMA_VERSION}")
        return version

    @field_validator("fit", "validation")
    @classmethod
    def _finite(cls, value: dict[str, Any]) -> dict[str, Any]:
        json.dumps(value, allow_nan=False)
        return value

    @model_validator(mode="after")
    def _known_parameters(self) -> Self:
        if self.schema_name != f"bruno-spice/{self.MODEL}" or self.model != self.MODEL:
            raise ValueError(
                f"schema '{self.schema_name}' with model '{self.model}' is not a {self.MODEL} card "
                f"(expected 'bruno-spice/{self.MODEL}' and '{self.MODEL}')"
            )
        units = self.units(self.domains)
        if unknown := sorted(set(self.parameters) - set(units)):
            raise ValueError(f"unknown parameter '{unknown[0]}'; a {self.MODEL} card has {', '.join(units)}")
        if missing := sorted(set(units) - set(self.OPTIONAL_UNITS) - set(self.parameters)):
            raise ValueError(f"parameter '{missing[0]}' is missing")
        for name, parameter in self.parameters.items():
            if parameter.unit != units[name]:
                raise ValueError(f"parameter '{name}' must be in {units[name]}, not '{parameter.unit}'")
            if said := refusal(name, parameter.unit, self.sign_of(name), parameter.value):
                raise ValueError(said)
        for name in [*self.covariance.names, *self.variability, *self.variability_correlation.names]:
            if name not in self.parameters:
                raise ValueError(f"covariance or variability names '{name}', a parameter that the card does not have")
        return self

    @classmethod
    def sign_of(cls, name: str) -> Sign:
        """What values parameter `name` can have at all."""
        return cls.SIGNS.get(name, "any")

    @classmethod
    def units(cls, domains: int) -> dict[str, str]:
        """Unit of every parameter of a card with `domains` polarization domains, the optional ones last."""
        return cls.UNITS | cls.OPTIONAL_UNITS

    def __getitem__(self, name: str) -> float:
        return self.parameters[name].value

    @property
    def doubt(self) -> str:
        """Why the fit of this card is not to be believed; empty where it is, or where there was none."""
        return "" if self.fit.get("believed", True) else str(self.fit.get("doubt", "not said"))

    @classmethod
    def build(cls, parameters: dict[str, Parameter], domains: int = 1, **fields: Any) -> Self:
        """A checked card of `parameters`; `fields` are the others: covariance, variability, envelope, fit, ..."""
        ordered = {name: parameters[name] for name in cls.units(domains) if name in parameters}
        raw = {
            "schema": f"bruno-spice/{cls.MODEL}",
            "schema_version": SCHEMA_VERSION,
            "model": cls.MODEL,
            "domains": domains,
            "parameters": ordered | parameters,
        }
        return cls._checked(raw | fields, "card")

    @classmethod
    def from_values(cls, values: dict[str, float], source: str, domains: int = 1, **fields: Any) -> Self:
        """A card of bare SI `values`; `source` says where they come from."""
        units = cls.units(domains)
        parameters = {name: Parameter(value=v, unit=units.get(name, "?"), source=source) for name, v in values.items()}
        return cls.build(parameters, domains, **fields)

    def with_values(self, **values: float) -> Self:
        """A copy with some parameter values replaced; their bounds and errors no longer apply and are dropped."""
        units = self.units(self.domains)
        parameters = dict(self.parameters)
        for name, value in values.items():
            if name not in parameters:
                raise CardError(f"unknown parameter '{name}'; a {self.MODEL} card has {', '.join(parameters)}")
            if said := refusal(name, units[name], self.sign_of(name), value):
                raise CardError(said)
            parameters[name] = Parameter(value=value, unit=units[name], source="set by hand")
        return self.model_copy(update={"parameters": parameters})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check the card at `path`, of this schema version or an older one (`devices.cards.migration`).

        ``calibrated`` is the card of this model that the netlists gave: that of ``data/calibrated`` in the working
        folder, else the one that comes with the package. Warns of a proposed card (`ProposedCard`). Raises `CardError`
        that names the file and the key at fault.
        """
        path = calibrated_card(cls.MODEL) if path == "calibrated" else path
        raw = load_card_json(path)
        try:
            raw = migrate(raw, SCHEMA_VERSION)
        except CardError as error:
            raise CardError(f"{path}: {error}") from None
        card = cls._checked(raw, str(path))
        if card.proposed:
            warnings.warn(
                f"{path}: a proposed card ({card.proposed}), of a device that nobody has simulated or measured; "
                "`bruno redesign` finds what the circuit makes of it",
                ProposedCard,
                stacklevel=2,
            )
        return card

    @classmethod
    def _checked(cls, raw: Any, where: str) -> Self:
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(short(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise CardError(f"{where}: unknown key '{key}'") from None
            reason = short(first.get("ctx", {}).get("error", first["msg"]), 500)
            raise CardError(f"{where}: {key + ': ' if key else ''}{reason}") from None

    @property
    def unknown(self) -> list[str]:
        """What was not measured of the device and a reader of its numbers must know, a sentence each."""
        return []

    @property
    def misread(self) -> list[tuple[float, float, float | None]]:
        """Of a device with levels: time in s since it was written, share of devices that are read as another level, of
        all and of the worst level (None where it is not known), at each time that this is known for."""
        return []

    @property
    def proposed(self) -> str:
        """Who proposes this card, of a device that nobody has measured or simulated; empty for a found one."""
        by = self.provenance.proposal
        return "" if by is None else f"run {short(by.run)} moved {', '.join(map(short, by.parameters))}"

    def to_json(self) -> str:
        """The card as JSON text."""
        return json.dumps(self.model_dump(by_alias=True, mode="json"), indent=2, allow_nan=False) + "\n"

    def save(self, path: Path | str) -> Path:
        """Write the card to `path`, whole or not at all."""
        return write_atomic(path, self.to_json())

    def correlation(self) -> tuple[list[str], np.ndarray]:
        """Names (n,) and correlation matrix (n, n) of the fitted parameters."""
        covariance = np.asarray(self.covariance.matrix, dtype=np.float64).reshape(len(self.covariance.names), -1)
        sigma = np.sqrt(np.diag(covariance))
        return self.covariance.names, covariance / np.outer(sigma, sigma)


class NeuronCard(Card):
    """A ferroelectric neuron; what it holds is what its model declares (`devices.models`).

    - `leak`: law of the leak below 0 V, ``symmetric`` as above it or ``published`` as BRUNO's authors have it.
    - the fields of `Card`; `parameters` are those of `UNITS`, and `DOMAIN_UNITS` with ``_1`` to ``_K`` behind.
    """

    NEURON: ClassVar[type[NeuronModel]]
    """The model that this is a card of."""
    DOMAIN_UNITS: ClassVar[dict[str, str]]
    """Parameters of each domain and their units."""

    leak: Literal["symmetric", "published"] = "symmetric"
    """Law of the leak below 0 V: exp(|V|/V_t) as above it, or exp(V/V_t) as in the code of BRUNO's authors."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if "NEURON" in vars(cls):
            cls.MODEL = cls.NEURON.name
            cls.UNITS = {name: declared.unit for name, declared in cls.NEURON.parameters.items()}
            cls.DOMAIN_UNITS = {name: declared.unit for name, declared in cls.NEURON.domain_parameters.items()}
            declared = {**cls.NEURON.parameters, **cls.NEURON.domain_parameters}
            cls.SIGNS = {name: each.sign for name, each in declared.items()}
            NEURON_CARDS[cls.MODEL] = cls

    @property
    def unknown(self) -> list[str]:
        """What the traces that it was fitted to do not tell; nothing for a neuron of a netlist."""
        return list(self.fit.get("not_told", []))

    @classmethod
    def published(cls) -> Self:
        """The device of the model's authors, with one domain.

        FeLIF's is the neuron of BRUNO's authors, with the constants of their training code: membrane free to -5 V,
        reset to -1.5 V, and their leak, which below 0 V is the discharge current alone. Their reset rule is that of
        the layer: ``FeLIF(card, reset="delayed")``.

        Raises `CardError` where they have none.
        """
        values = {name: declared.published for name, declared in cls.NEURON.parameters.items()}
        values |= {f"{name}_1": declared.published for name, declared in cls.NEURON.domain_parameters.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if missing := [name for name in values if name not in known]:
            raise CardError(f"nothing is published of {cls.NEURON.label}'s {missing[0]}")
        return cls.from_values(known, source=cls.NEURON.source, leak=cls.NEURON.published_leak)

    @classmethod
    def sign_of(cls, name: str) -> Sign:
        """What values parameter `name` can have at all; those of a domain are ``name_k``."""
        stem, _, index = name.rpartition("_")
        return super().sign_of(stem if index.isdigit() and stem in cls.DOMAIN_UNITS else name)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check the card at `path`, of whichever neuron model it says it is where `cls` is of none."""
        if "NEURON" in vars(cls):
            return super().load(path)
        path = calibrated_card(FeLIFModel.name) if path == "calibrated" else path
        name = load_card_json(path).get("model")
        if not isinstance(name, str) or name not in NEURON_CARDS:
            raise CardError(f"{path}: no neuron model is called {shown(name)}; there are {', '.join(NEURON_CARDS)}")
        found: Any = NEURON_CARDS[name].load(path)
        card: Self = found
        return card

    @model_serializer(mode="wrap")
    def _without_the_default(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {name: value for name, value in content.items() if name != "leak" or value != "symmetric"}

    @classmethod
    def units(cls, domains: int) -> dict[str, str]:
        """Shared parameters, then ``activation_field_k``, ``offset_field_k``, ``domain_weight_k``, k = 1...domains."""
        per_domain = {f"{name}_{k}": unit for k in range(1, domains + 1) for name, unit in cls.DOMAIN_UNITS.items()}
        return cls.UNITS | per_domain


NEURON_CARDS: dict[str, type[NeuronCard]] = {}
"""Of every neuron model that has been met, by its name."""


def card_class(model: Any) -> type[NeuronCard]:
    """The cards of `model`, a `NeuronModel`; made of its declarations where there are none yet."""
    known = NEURON_CARDS.get(model.name)
    if known is not None and known.NEURON is model:
        return known
    annotations = {"NEURON": ClassVar[Any]}
    made = new_class(
        f"{model.label}Card",
        (NeuronCard,),
        exec_body=lambda body: body.update(NEURON=model, __annotations__=annotations, __module__=__name__),
    )
    return made


class FeLIFCard(NeuronCard):
    """The ferroelectric leaky integrate-and-fire neuron (equations: `devices.models.felif`)."""

    NEURON: ClassVar[type[NeuronModel]] = FeLIFModel

    model: Literal["felif"]


class HeraclesCard(NeuronCard):
    """The neuron on a HERACLES capacitor (equations: `devices.models.heracles`)."""

    NEURON: ClassVar[type[NeuronModel]] = HeraclesModel

    model: Literal["heracles"]
