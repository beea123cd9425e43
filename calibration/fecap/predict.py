"""Records that a fit has not seen, predicted by its film: another frequency or temperature, pulses by loops.

Nothing of the film is touched. What is the record's own and not the film's is taken from the record, as in the fit: its
zero, a tester's drift if the fit has that term, the state before it out of those that a fit tries, and what the caller
made each record's own (``--own rs``): fitted to all of it, or only to what it does just behind its turning points,
where nothing switches and the current takes rs C to turn round, so that the switching is left to be predicted.
Coercive voltage, remanence and loss are read off both closed loops alike, relaxed remanences and what switches off both
pulse sequences, and stand beside the tester's numbers where the file has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.measures import LoopNumbers, loop_numbers, pund_numbers
from bruno_spice.calibration.fecap.candidates import plain
from bruno_spice.calibration.fecap.fit import FeCAPFit, FittedRecord, fitted_record
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.problem import Part
from bruno_spice.calibration.fecap.start import placed
from bruno_spice.calibration.fitting.least_squares import search
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable

Array = NDArray[np.float64]
CLOSED = 0.25
"""Of the span: between the first and the last charge of a loop of which numbers can be read."""
BEHIND = 0.9
"""Of the largest voltage: down to here on the way back from it a sample counts as just behind a turning point."""
AT_TURNS = ("rs",)
"""What a record tells there."""
FEWEST_BEHIND = 6
NUMBERS = ("vc_plus_v", "vc_minus_v", "pr_plus_c_m2", "pr_minus_c_m2")


@dataclass(frozen=True, eq=False)
class Prediction:
    """One record predicted: what ngspice says of it, and what was fitted to the record itself."""

    record: FittedRecord
    fitted_to_it: dict[str, float]


def predict(
    found: FeCAPFit,
    measured: Sequence[FeCAPMeasurement],
    own: Sequence[Mapping[str, float]] = (),
    farm: Farm | None = None,
    at_turns: bool = False,
) -> list[Prediction]:
    """`measured` by the film of `found`; `own` are what each of them has of its own (tempk, s0, ...).

    `at_turns`: what the caller made each record's own is fitted to it just behind its turning points alone. Raises
    `InputError` where a record has too few samples there.
    """
    given = [*own, *({} for _ in measured[len(own) :])]
    return [_one(found, each, mine, farm, at_turns) for each, mine in zip(measured, given, strict=True)]


def behind_turns(measured: FeCAPMeasurement) -> NDArray[np.bool_]:
    """The samples (n,) just behind a turning point: the voltage falls back from its largest by a tenth at most."""
    v = measured.drive_v
    falls = v * np.gradient(v, measured.time_s) < 0.0
    side = np.where(v > 0.0, v.max(), -v.min())
    return np.asarray(falls & (np.abs(v) > BEHIND * side) & (side > 0.0))


def used_at_turns(part: Part) -> NDArray[np.bool_]:
    """Which entries of the target of `part` are used and just behind a turning point. Raises `InputError` for few."""
    measured = part.measured
    used = part.used & np.tile(behind_turns(measured), len(measured.signals))
    if (count := int(used.sum())) < FEWEST_BEHIND * len(measured.signals):
        raise InputError(
            f"{printable(measured.source)}: {count} samples behind its turning points are too few to tell "
            f"{', '.join(AT_TURNS)} by; fit it to the whole record: leave out --own-at-turns"
        )
    return used


def _one(
    found: FeCAPFit, measured: FeCAPMeasurement, own: Mapping[str, float], farm: Farm | None, at_turns: bool
) -> Prediction:
    by_hand = found.problem.fixed
    known = {name: measured.known[name] for name in ("tempk", "area") if name in measured.known and name not in by_hand}
    last = found.problem.parts[-1].own
    mine = {plain(name) for name in found.problem.names} & set(last) - {"s0", "wake"}
    part = Part.of(measured, {**known, **own})
    part = replace(part, own=part.own | {name: last[name] for name in mine if name not in own})
    problem = replace(found.problem, parts=(part,), progress=None)
    problem = placed(problem, [0])
    names = [f"{name}_1" for name in sorted(mine - set(own))]
    seen = problem
    if names and at_turns:
        seen = problem.with_part(0, replace(problem.parts[0], used=used_at_turns(problem.parts[0])))
    fitted = search(seen.residual, seen.free(names), what="FeCAP prediction", tolerance=1e-5) if names else {}
    problem = placed(problem.at(fitted), [0])
    (answer,) = problem.spice({}, farm)
    nothing = np.zeros(measured.time_s.size, dtype=bool)
    record = fitted_record(problem.parts[0], answer, problem.drift, nothing, nothing)
    return Prediction(record, {plain(name): value for name, value in fitted.items()})


def numbers(voltage_v: Array, charge: Array) -> LoopNumbers | None:
    """Coercive voltages and remanences of one closed loop (n,) that begins anywhere; `None` for anything else."""
    if abs(charge[-1] - charge[0]) > CLOSED * np.ptp(charge) or min(voltage_v.max(), -voltage_v.min()) <= 0:
        return None
    first = int(np.argmin(voltage_v))
    around = np.r_[first : voltage_v.size, 0 : first + 1]
    try:
        return loop_numbers(voltage_v[around], charge[around], between_tips=True)
    except InputError:
        return None


def loss(voltage_v: Array, charge: Array) -> float:
    """Energy per area in J/m^2 that one loop (n,) turns into heat, closed where it ends: the integral of V dq."""
    voltage, closed = np.append(voltage_v, voltage_v[0]), np.append(charge, charge[0])
    return float(np.trapezoid(voltage, closed))


def summary(record: FittedRecord) -> dict[str, dict[str, float]]:
    """Of a closed loop Vc, Pr and loss, of pulses what they switch: as measured, by the model, and by the tester.

    As far as each is there.
    """
    if record.measured.kind != "charge":
        return {}
    of = {"measured": record.measured.response, "model": record.model}
    out = {who: read_off(record.measured, charge) for who, charge in of.items()}
    out["tester"] = dict(record.measured.summary)
    return {who: found for who, found in out.items() if found}


def read_off(measured: FeCAPMeasurement, charge: Array) -> dict[str, float]:
    """Numbers of a `charge` (n,) in C/m^2 under its voltage; none of what is neither a closed loop nor pulses."""
    voltage_v = measured.voltage_v
    pulses = pund_numbers(measured.time_s, measured.drive_v, charge)
    if pulses.p_minus_u_c_m2 is not None or pulses.n_minus_d_c_m2 is not None:
        return {name: value for name, value in asdict(pulses).items() if value is not None}
    loop = numbers(voltage_v, charge)
    if loop is None:
        return {}
    return {name: float(getattr(loop, name)) for name in NUMBERS} | {"w_loss_j_m2": loss(voltage_v, charge)}
