"""What a FeCAP fit compares: measured records of one film, and the netlist's answers to their voltages.

The answers come from the compiled twin or from ngspice. The zero of a measured charge is arbitrary, so charges are
compared after their mean difference is taken out; with the term `drift`, a constant current of the tester is, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST, FILM_NETLIST, FeCAPRun, simulate_fecaps
from bruno_spice.calibration.fecap.candidates import (
    BY_RECORDS,
    CANDIDATES,
    LAST,
    OFF,
    OWN,
    TERMS,
    candidate,
    number,
    plain,
)
from bruno_spice.calibration.fecap.drive import drive
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fitting.least_squares import Fit, Free, best_fit, search
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density, response
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
AfterEvaluation = Callable[[str, int, float], None]

LARGEST_RMS = 0.1
"""Of the records' spans: a fit that leaves more than this unexplained is none."""
REPEATS_WITHIN = 0.05
"""Of the record's voltage span: between the first and the last sample of a drive that can be repeated."""


@dataclass(frozen=True, eq=False)
class Part:
    """One record: what was measured, what it has of its own, what came before it, and which samples count.

    `own` are values by the netlist's names; the record's drive went over the film `cycles` times before it. `used` and
    `correction` (what ngspice adds to the twin) are (n,) for each signal, one after the other.
    """

    measured: FeCAPMeasurement
    own: dict[str, float]
    used: Mask
    correction: Array
    cycles: int = 0
    fixed: frozenset[str] = frozenset()
    """What of `own` is known, and no fit may change."""

    @classmethod
    def of(cls, measured: FeCAPMeasurement, own: Mapping[str, float], keep_flagged: bool = False) -> "Part":
        """The record with all samples of its region used, but those that were clipped unless `keep_flagged`."""
        count = len(measured.signals)
        used = np.tile((~measured.clipped | keep_flagged) & measured.inside, count)
        return cls(measured, dict(own), used, np.zeros(used.size), fixed=frozenset(own))

    @property
    def target(self) -> Array:
        """What was measured, (n,) or (2 n,)."""
        return np.concatenate([values for _, values in self.measured.signals])

    @property
    def scale(self) -> Array:
        """The span of each signal at each of its samples."""
        return np.concatenate([np.full(values.size, np.ptp(values)) for _, values in self.measured.signals])

    @property
    def repeats(self) -> bool:
        """Whether the record ends at the voltage at which it began, so that its drive can have come before it."""
        v = self.measured.voltage_v
        return bool(abs(v[-1] - v[0]) <= REPEATS_WITHIN * np.ptp(v))

    def signals(self, charge: Array) -> Array:
        """`charge` as it is measured: its last n samples as every signal."""
        late, time_s = charge[-self.measured.time_s.size :], self.measured.time_s
        return np.concatenate([response(time_s, late, kind) for kind, _ in self.measured.signals])

    def twin(self, values: Mapping[str, float]) -> Array:
        """The twin's signals for the film `values` with what the record has of its own."""
        time_s, voltage_v = drive(self.measured.time_s, self.measured.drive_v, self.cycles)
        return self.signals(charge_density(time_s, voltage_v, _for_the_film({**values, **self.own})))

    def run(self, values: Mapping[str, float], terms: Iterable[str]) -> FeCAPRun:
        """The same for ngspice; `terms` are the optional ones that the deck knows."""
        time_s, voltage_v = drive(self.measured.time_s, self.measured.drive_v, self.cycles)
        known = _for_the_film({**values, **self.own})
        names = {name for name in known if name not in OFF and name != "area"} | set(terms)
        overrides = {name: value for name, value in known.items() if name in names}
        return FeCAPRun(time_s, voltage_v, float(np.median(np.diff(time_s))), overrides)

    def compared(self, signals: Array, drift: bool) -> Array:
        """`signals` minus what was measured, without the zero of a charge and, if there is a `drift`, without that."""
        difference = signals - self.target
        at = 0
        for kind, values in self.measured.signals:
            part = slice(at, at + values.size)
            used = self.used[part]
            free = [np.ones(values.size)] if kind == "charge" or drift else []
            free += [self.measured.time_s] if kind == "charge" and drift else []
            if free and used.any():
                basis = np.stack(free, axis=1)
                basis /= basis.max(axis=0)
                found = np.linalg.lstsq(basis[used], difference[part][used], rcond=None)[0]
                difference[part] -= basis @ found
            at += values.size
        return difference


def _for_the_film(values: Mapping[str, float]) -> dict[str, float]:
    """`values` with the record's share of Ps in it."""
    out = dict(values)
    out["ps"] *= out.pop("wake", 1.0)
    return out


@dataclass(frozen=True, eq=False)
class Problem:
    """The records, the film's values, the names that are free, and the terms that are on."""

    parts: tuple[Part, ...]
    base: dict[str, float]
    units: dict[str, str]
    names: list[str]
    fixed: frozenset[str] = frozenset()
    own_names: tuple[str, ...] = OWN
    drift: bool = False
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    progress: AfterEvaluation | None = None

    @classmethod
    def build(
        cls,
        measured: Sequence[FeCAPMeasurement],
        fixed: Mapping[str, float],
        free: Sequence[str] | None,
        progress: AfterEvaluation | None,
        own: Sequence[Mapping[str, float]] = (),
        terms: Sequence[str] = (),
        own_names: Sequence[str] = OWN,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        keep_flagged: bool = False,
    ) -> "Problem":
        """`measured` beside the library's values, of which `fixed` are other and `free` (default: all) are fitted.

        `own` are what each record has fixed for itself, `own_names` what is fitted to each for itself.
        """
        params = Netlist.load(FILM_NETLIST).params
        known = {name: p for name, p in params.items() if name not in ("vamp", "freq", "area") and p.value is not None}
        choice = CANDIDATES | {name: TERMS[name] for name in terms}
        for name in [*fixed, *(plain(each) for each in free or []), *(name for each in own for name in each)]:
            if name not in known and name not in ("groups", "area", "wake"):
                raise InputError(f"the FeCAP library has no parameter '{name}'; it has {', '.join(known)}")
        for name in free or []:
            if plain(name) not in choice:
                raise InputError(f"'{name}' cannot be fitted; choose among {', '.join(choice)}")
            if name in fixed:
                raise InputError(f"'{name}' is both fixed and to be fitted")
        base = {name: float(p.value) for name, p in known.items() if p.value is not None}
        base |= {"groups": DEFAULT_GROUPS} | dict(fixed)
        given: list[Mapping[str, float]] = [*own, *({} for _ in measured[len(own) :])]
        parts = tuple(Part.of(m, each, keep_flagged) for m, each in zip(measured, given, strict=True))
        order = [name for name in choice if name not in LAST] + [name for name in LAST if name in choice]
        taken = [name for name in order if name not in fixed and name != "drift"] if free is None else list(free)
        names = [each for name in taken for each in _names(name, own_names, given)]
        units = {name: p.unit for name, p in known.items()} | {"groups": "1", "wake": "1", "area": "m^2"}
        fix = frozenset(fixed)
        return cls(parts, base, units, names, fix, tuple(own_names), "drift" in terms, bounds or {}, progress)

    def unit(self, name: str) -> str:
        """Unit of the free parameter `name`."""
        return self.units[plain(name)]

    @property
    def terms(self) -> list[str]:
        """The terms of fecap_film.lib that some record has."""
        there = [{**self.base, **part.own} for part in self.parts]
        return [n for n in OFF if n != "wake" and any(each.get(n, OFF[n]) != OFF[n] for each in there)]

    def at(self, values: Mapping[str, float]) -> "Problem":
        """The same problem, starting from `values`, in which a record's own carry its number."""
        film = {name: value for name, value in values.items() if self._place(name) is None}
        parts = tuple(
            replace(part, own=part.own | {plain(n): v for n, v in values.items() if self._place(n) == k})
            for k, part in enumerate(self.parts)
        )
        return replace(self, base=self.base | film, parts=parts)

    def _place(self, name: str) -> int | None:
        """The record whose own `name` is."""
        if len(self.parts) == 1 and name in self.own_names:
            return 0
        return number(name)

    def value(self, name: str) -> float:
        """Where the problem stands."""
        place = self._place(name)
        here = self.base if place is None else {**self.base, **self.parts[place].own}
        return here.get(plain(name), OFF.get(plain(name), 0.0))

    def after(self, cycles: int, record: int = 0) -> "Problem":
        """The same problem for a film over which the drive of `record` went `cycles` times before that record."""
        return self.with_part(record, replace(self.parts[record], cycles=cycles))

    def with_part(self, record: int, part: Part) -> "Problem":
        """The same problem with another `part`."""
        return replace(self, parts=(*self.parts[:record], part, *self.parts[record + 1 :]))

    def only(self, record: int) -> "Problem":
        """The problem of one record, with the names that are the film's, and its state before it."""
        part = self.parts[record]
        names = [n for n in self.names if self._place(n) is None and (len(self.parts) == 1 or n not in BY_RECORDS)]
        names += ["s0"] if any(plain(n) == "s0" and self._place(n) == record for n in self.names) else []
        return replace(self, parts=(part,), names=names)

    def twin(self, values: Mapping[str, float]) -> list[Array]:
        """The twin's signals of each record."""
        here = self.at(values)
        return [part.twin(here.base) for part in here.parts]

    def spice(self, values: Mapping[str, float], farm: Farm | None) -> list[Array]:
        """ngspice's signals of each record, under the voltage that drives the model."""
        here = self.at(values)
        terms = here.terms
        runs = [part.run(here.base, [*terms, "area"] if terms else []) for part in here.parts]
        waves = simulate_fecaps(runs, FILM_NETLIST if terms else FECAP_NETLIST, farm)
        return [
            part.signals(wave.resampled(run.time_s)["charge_c_m2"])
            for part, run, wave in zip(here.parts, runs, waves, strict=True)
        ]

    def residual(self, values: Mapping[str, float]) -> Array:
        """Twin, as corrected by ngspice, minus measurement, at the samples used, in shares of each signal's span."""
        return np.concatenate(
            [
                (part.compared(answer + part.correction, self.drift) / part.scale)[part.used]
                for part, answer in zip(self.parts, self.twin(values), strict=True)
            ]
        )

    @property
    def blocks(self) -> NDArray[np.int_]:
        """Which run of neighbouring samples each entry of the residual belongs to; `BLOCKS` of them in a record."""
        count = max(1, round(BLOCKS / len(self.parts)), FEWEST_BLOCKS)
        runs = []
        for k, part in enumerate(self.parts):
            runs.append((k * count + np.tile(part.measured.runs(count), len(part.measured.signals)))[part.used])
        return np.concatenate(runs)

    @property
    def advice(self) -> str:
        """What to look at where the record is not one of this film."""
        kind = self.parts[0].measured.kind
        return f"check --time-unit, --voltage-unit and --{kind}-unit, the area and what --set fixes"

    def free(self, names: Iterable[str]) -> list[Free]:
        """The free parameters `names`, starting where the problem stands."""
        out = []
        for name in names:
            f, _ = candidate(name, self.bounds)
            inside = 2e-3 * (f.scaled(f.max) - f.scaled(f.min))
            low, high = f.value(f.scaled(f.min) + inside), f.value(f.scaled(f.max) - inside)
            out.append(replace(f, start=float(np.clip(self.value(name), low, high))))
        return out

    def fitted(self, names: Sequence[str], stage: str) -> Fit:
        """Fit `names` from a start a little beside the best point, so that a fit that does not move is seen.

        A parameter that ends on its bound is held there. `Fit.doubt` says where the result is not to be believed.
        """
        free = self.free(names)
        best = search(self.residual, free, what="FeCAP fit")
        near = [replace(f, start=_beside(f, best[f.name])) for f in free]

        def report(count: int, out: Array) -> None:
            if self.progress is not None:
                self.progress(stage, count, rms(out))

        found = best_fit(self.residual, near, what="FeCAP fit", loosest=np.inf, progress=report)
        if (left := rms(found.residual)) > LARGEST_RMS:
            text = f"the model explains too little of the record, rms {100 * left:.0f} % of its span at best"
            return replace(found, doubt=f"FeCAP fit: {text}; {self.advice}")
        return found


BLOCKS, FEWEST_BLOCKS = 24, 6
"""Runs of neighbouring samples, of all records and of one at least, that count as independent of one another."""


def _names(name: str, own_names: Sequence[str], given: Sequence[Mapping[str, float]]) -> list[str]:
    """`name` as the fit has it: once for the film, or once for each record that does not fix it."""
    if name not in own_names:
        return [name]
    count = len(given)
    there = [k for k in range(count) if name not in given[k] and not (name == "wake" and k == 0)]
    return [name if count == 1 else f"{name}_{k + 1}" for k in there]


def _beside(f: Free, value: float) -> float:
    """A start 1 % of a scaled unit away from `value`, inside the bounds."""
    low, high = f.scaled(f.min), f.scaled(f.max)
    at = f.scaled(value)
    return f.value(float(np.clip(at + 0.01, low + 1e-3 * (high - low), high - 1e-3 * (high - low))))


def rms(values: Array) -> float:
    """Root mean square of `values`."""
    return float(np.sqrt(np.mean(values**2)))
