"""What a card is made of: parameters with their errors, covariances, ranges and provenance."""

import math
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


class Strict(BaseModel):
    """Immutable; refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Parameter(Strict):
    """One device parameter in SI units."""

    value: float
    unit: str
    stderr: float | None = None
    """One standard error of a fitted value, the misfit of the model included (clustered over stimuli, in the
    calibrations of this project); None where the value was not fitted."""
    stderr_curvature: float | None = None
    """What the curvature of the fit at its minimum gives, as if the model were right and all residuals independent."""
    min: float | None = None
    max: float | None = None
    vary: bool = False
    """Whether the fit was free to move it."""
    source: str
    """Where the value comes from: ``fit``, ``netlist``, ``measured on the spikes``, a citation."""

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        if not low <= self.value <= high:
            raise ValueError(f"value {self.value:g} lies outside its bounds [{low:g}, {high:g}]")
        return self


class Covariance(Strict):
    """Covariance of the fitted parameters, in their SI units: `matrix` (n, n) in the order of `names` (n,)."""

    names: list[str] = Field(default_factory=list)
    matrix: list[list[float]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.names) for row in self.matrix) or len(self.matrix) != len(self.names):
            raise ValueError(f"the matrix must be {len(self.names)} x {len(self.names)}, as long as the names")
        return self


class Range(Strict):
    """A closed interval of a quantity that the fit covered."""

    ROUNDING: ClassVar[float] = 1e-6
    """Of the width: what is so little beyond an end is at it."""

    min: float
    max: float
    unit: str

    def covers(self, low: float, high: float) -> bool:
        """Whether low...high lies within, to rounding."""
        margin = self.ROUNDING * (self.max - self.min)
        return self.min - margin <= low and high <= self.max + margin


class Proposal(Strict):
    """Who asked for a device that nobody has measured or simulated."""

    run: str
    """Name of the run folder whose training moved the parameters."""
    run_sha256: str
    """Which run that is: SHA-256 of its configuration and cards."""
    card_sha256: str
    """Of the card that they were moved from."""
    parameters: list[str]
    """What was moved; the others are that card's."""


class Provenance(Strict):
    """How the card came to be."""

    netlist: str = ""
    sha256: str = ""
    """Of the netlist with everything it includes and the overrides."""
    ngspice_version: str = ""
    """Of ngspice, its number; of another simulator its name and version."""
    command: str = ""
    date: str = ""
    overrides: dict[str, float] = Field(default_factory=dict)
    """Of the netlist's parameters."""
    proposal: Proposal | None = None
    """Set where the card is one that training proposes."""

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {name: value for name, value in content.items() if name != "proposal" or value is not None}

    @property
    def simulator(self) -> str:
        """What it was simulated in, with its version, in words."""
        version = self.ngspice_version
        return f"ngspice {version}" if version[:1].isdigit() else version
