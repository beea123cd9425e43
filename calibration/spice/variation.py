"""Variation: which `.param`s of a netlist differ between devices, and how; Monte-Carlo samples and corners of them.

    value = F^-1(u),   u in (0, 1)^n from a Latin hypercube

F is the distribution of one parameter: normal, truncated normal, lognormal, uniform or loguniform. A corner sets
parameters to u = Phi(z), z standard deviations from the median, so that it stays inside a truncated distribution.

Declared beside the netlist, ``neuron.variation.yaml`` for ``neuron.cir``:

    parameters:
      area:  {distribution: normal, relative_sigma: 0.02, source: lithography}
      ldisc: {distribution: truncated_normal, mean: 0.4, sigma: 0.02, min: 0.36, max: 0.44}
    corners:
      slow:  {area: 3, ldisc: -3}

Values are in the unit of the `.param` and take SPICE suffixes. `mean` is the netlist's own value where it is left
out; of a lognormal parameter it is the median, and its sigma that of the logarithm (`relative_sigma`). Source of the
sampling: McKay, Beckman & Conover, Technometrics 21, 239 (1979).
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator, model_validator
from scipy import stats

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.parts import Strict
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading_yaml import load_yaml
from bruno_spice.devices.units import parse_spice_number

Array = NDArray[np.float64]


class ParameterVariation(Strict):
    """The distribution of one `.param`, in the unit of that `.param`."""

    distribution: Literal["normal", "truncated_normal", "lognormal", "uniform", "loguniform"]
    mean: float | None = None
    """None: the netlist's value. The median of a lognormal one, the middle of a uniform one."""
    sigma: float | None = Field(default=None, gt=0)
    relative_sigma: float | None = Field(default=None, gt=0)
    """Sigma as a share of the mean; of a lognormal one, the sigma of ln(value)."""
    min: float | None = None
    max: float | None = None
    """Limits of a truncated normal, uniform or loguniform distribution."""
    source: str = ""
    """Where the numbers come from."""

    @field_validator("mean", "sigma", "relative_sigma", "min", "max", mode="before")
    @classmethod
    def _spice_number(cls, value: object) -> object:
        try:
            return parse_spice_number(value) if isinstance(value, str) else value
        except InputError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        limits = (self.min, self.max)
        if self.distribution in ("truncated_normal", "uniform", "loguniform"):
            if self.min is None or self.max is None or not self.min < self.max:
                raise ValueError(f"a {self.distribution} parameter needs min and max, min below max")
            if self.distribution == "loguniform" and self.min <= 0:
                raise ValueError("a loguniform parameter needs min above 0")
        elif limits != (None, None):
            raise ValueError(f"min and max do not go with {self.distribution}; use truncated_normal")
        if self.distribution in ("uniform", "loguniform"):
            if (self.mean, self.sigma, self.relative_sigma) != (None, None, None):
                raise ValueError(f"a {self.distribution} parameter has min and max and nothing else")
        elif (self.sigma is None) == (self.relative_sigma is None):
            raise ValueError("give either sigma or relative_sigma")
        if self.distribution == "lognormal" and self.relative_sigma is None:
            raise ValueError("a lognormal parameter takes relative_sigma, the sigma of its logarithm")
        return self

    def frozen(self, nominal: float | None, name: str) -> Any:
        """The scipy distribution; `nominal` is the netlist's value. Raises `NetlistError` where none is to be had."""
        low, high = (math.nan if limit is None else limit for limit in (self.min, self.max))
        if self.distribution == "uniform":
            return stats.uniform(low, high - low)
        if self.distribution == "loguniform":
            return stats.loguniform(low, high)
        mean = nominal if self.mean is None else self.mean
        if mean is None:
            raise NetlistError(f"the netlist gives '{name}' as an expression; write its mean into the variation file")
        sigma = self.sigma if self.sigma is not None else (self.relative_sigma or 0.0) * abs(mean)
        if sigma == 0 or (self.distribution == "lognormal" and mean <= 0):
            raise NetlistError(f"'{name}' is {mean:g} in the netlist, which has no relative spread; give sigma instead")
        if self.distribution == "lognormal":
            return stats.lognorm(sigma / mean, scale=mean)
        if self.distribution == "normal":
            return stats.norm(mean, sigma)
        return stats.truncnorm((low - mean) / sigma, (high - mean) / sigma, mean, sigma)


class Variation(Strict):
    """What a ``.variation.yaml`` declares: distributions by `.param`, and named corners in standard deviations."""

    parameters: dict[str, ParameterVariation] = Field(min_length=1)
    corners: dict[str, dict[str, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _corners_known(self) -> Self:
        for corner, deviations in self.corners.items():
            for name in deviations:
                if name not in self.parameters:
                    raise ValueError(unknown_name(name, self.parameters, f"corner '{corner}' moves") + " (not varied)")
        return self

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check the YAML at `path`. Raises `InputError` that names the file and the key at fault."""
        raw = load_yaml(path, "no such variation file; it says which .params vary (see calibration/spice/variation.py)")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            reason = "unknown key" if first["type"] == "extra_forbidden" else first.get("ctx", {}).get("error")
            raise InputError(f"{path}: {key + ': ' if key else ''}{reason or first['msg']}") from None

    @classmethod
    def beside(cls, netlist: Path | str) -> Self:
        """The variation declared beside the netlist: ``neuron.variation.yaml`` for ``neuron.cir``."""
        return cls.load(Path(netlist).with_suffix(".variation.yaml"))

    def only(self, *names: str) -> Self:
        """A copy in which only `names` vary; raises `InputError` for one that is not declared."""
        for name in names:
            if name not in self.parameters:
                raise InputError(unknown_name(name, self.parameters, "no varied parameter"))
        return self.model_copy(update={"parameters": {n: self.parameters[n] for n in names}, "corners": {}})

    def distributions(self, netlist: Netlist) -> dict[str, Any]:
        """The scipy distribution of every varied `.param` of `netlist`.

        Raises `NetlistError` for a name that the netlist does not have, with the nearest one that it has.
        """
        found = {}
        for name, variation in self.parameters.items():
            if name.lower() not in netlist.params:
                raise NetlistError(unknown_name(name, netlist.params, f"{netlist.path}: cannot vary .param"))
            found[name.lower()] = variation.frozen(netlist.params[name.lower()].value, name)
        return found

    def sample(self, netlist: Netlist, count: int, seed: int = 0) -> "Samples":
        """`count` devices of a Latin hypercube: the same `seed` gives the same devices."""
        if count < 1:
            raise InputError(f"the number of samples must be at least 1, not {count}")
        distributions = self.distributions(netlist)
        uniform = stats.qmc.LatinHypercube(len(distributions), rng=np.random.default_rng(seed)).random(count)
        columns = [d.ppf(u) for d, u in zip(distributions.values(), uniform.T, strict=True)]
        return Samples(tuple(distributions), np.column_stack(columns), tuple(f"sample {k}" for k in range(count)))

    def corner_points(self, netlist: Netlist, sigmas: float = 3.0) -> "Samples":
        """The nominal device, every varied parameter alone at -+`sigmas`, and the declared corners."""
        names = list(self.distributions(netlist))
        shifts: dict[str, Mapping[str, float]] = {"nominal": {}}
        for name in names:
            shifts |= {f"{name} {sign}{sigmas:g} sigma": {name: z} for sign, z in (("-", -sigmas), ("+", sigmas))}
        declared = {label: {n.lower(): z for n, z in moves.items()} for label, moves in self.corners.items()}
        return self._shifted(netlist, shifts | declared)

    def all_corners(self, netlist: Netlist, sigmas: float = 3.0) -> "Samples":
        """Every combination of -`sigmas` and +`sigmas`: 2^n devices for n varied parameters."""
        names = list(self.distributions(netlist))
        signs = itertools.product((-sigmas, sigmas), repeat=len(names))
        combinations = [dict(zip(names, values, strict=True)) for values in signs]
        return self._shifted(
            netlist, {" ".join(f"{n} {z:+g}" for n, z in moves.items()): moves for moves in combinations}
        )

    def _shifted(self, netlist: Netlist, shifts: Mapping[str, Mapping[str, float]]) -> "Samples":
        """Devices by label, so many standard deviations off the median (as quantiles) as `shifts` says."""
        distributions = self.distributions(netlist)
        rows = [[d.ppf(stats.norm.cdf(z.get(n, 0.0))) for n, d in distributions.items()] for z in shifts.values()]
        return Samples(tuple(distributions), np.array(rows), tuple(shifts))


@dataclass(frozen=True, eq=False)
class Samples:
    """Devices as sampled: `values` (n, p) of the parameters `names` (p,), in the netlist's units; a label each."""

    names: tuple[str, ...]
    values: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def overrides(self) -> Iterator[dict[str, float]]:
        """The parameters of each device, as the experiments take them."""
        for row in self.values:
            yield dict(zip(self.names, row.tolist(), strict=True))

    def __getitem__(self, name: str) -> Array:
        return self.values[:, self.names.index(name)]
