"""Waveforms of independent sources, as ngspice takes them.

    PULSE(v1 v2 td tr tf pw per)    SIN(vo va freq td theta phase)    EXP(v1 v2 td1 tau1 td2 tau2)    PWL(t1 v1 ...)

An edge of 0 s, which each simulator replaces by a time of its own, is written out; a width of 0 s, the usual triangle,
for which ngspice takes the rest of the analysis, becomes a millionth of the edges; a number of pulses the points of a
PWL, and a step within a PWL an edge of a millionth of its time. Source: ngspice manual, section 4.1.
"""

from collections.abc import Sequence
from itertools import pairwise

from bruno_spice.calibration.dialects.formulas import short_number
from bruno_spice.calibration.dialects.written import LostError, Written
from bruno_spice.calibration.verilog_a.expressions import Expression, ExpressionError, evaluate, number

EDGE = 1e-3
"""Rise and fall of an edge of 0 s, in units of the pulse's width."""
STEP = 1e-6
"""The same of a step in a PWL, in units of its time; width of a pulse of 0 s, in units of its edges."""
MOST_PULSES = 2000
ZERO = number(0.0)


def known(e: Expression | None) -> float | None:
    """The value of `e` where it is a number; None where parameters decide."""
    try:
        return None if e is None else evaluate(e)
    except ExpressionError:
        return None


def pulse(w: Written, given: Sequence[Expression | None], edges_of_step: bool = False) -> str:
    """A train of pulses: v1 v2 td tr tf pw per n; None or missing for what was not said.

    `edges_of_step`: edges that are not said last a time step, as in ngspice.
    """
    v1, v2, td, tr, tf, pw, per, count = [*given, *([None] * 8)][:8]
    if v1 is None or v2 is None:
        raise LostError("a pulse without its two values")
    td = td or ZERO
    if not edges_of_step:
        tr, tf = (_edge(w, each, pw, per) for each in (tr, tf))
    if known(per) == 0:
        per = None
    if count is not None and known(count) != 0:
        return _counted(w, [v1, v2, td, tr, tf, pw, per, count])
    if known(pw) == 0:
        pw = _width(w, tr, tf)
    listed = [v1, v2, td, tr or ZERO, tf or ZERO, pw, per]
    if pw is None and per is not None:
        listed[5] = per
    while listed[-1] is None:
        listed.pop()
    return f"PULSE({' '.join(w.value(e) for e in listed if e is not None)})"


def _edge(w: Written, e: Expression | None, pw: Expression | None, per: Expression | None) -> Expression:
    if e is not None and known(e) != 0:
        return e
    width = known(pw) or known(per)
    if not width:
        raise LostError("an edge of 0 s of a pulse whose width is no plain number; give the rise and the fall")
    w.changed(f"an edge of 0 s, for which each simulator has a time of its own, lasts {short_number(width * EDGE)} s")
    return number(width * EDGE)


def _width(w: Written, tr: Expression | None, tf: Expression | None) -> Expression:
    edges = [known(tr or ZERO), known(tf or ZERO)]
    if None in edges or not any(edges):
        raise LostError("a pulse of 0 s whose edges are no plain numbers; give it a width")
    width = STEP * sum(each or 0.0 for each in edges)
    w.changed(f"a width of 0 s, for which ngspice takes the whole analysis, is {short_number(width)} s")
    return number(width)


def _counted(w: Written, given: Sequence[Expression | None]) -> str:
    values = [known(e) for e in given]
    if any(value is None for value in values):
        raise LostError("a number of pulses whose times are no plain numbers")
    v1, v2, td, tr, tf, pw, per, count = (value or 0.0 for value in values)
    if not 0 < count <= MOST_PULSES or count != int(count) or not 0 < tr + pw + tf <= per:
        raise LostError(f"a number of pulses that is no integer up to {MOST_PULSES}, or longer than their period")
    found: list[float] = [0.0, v1]
    for k in range(int(count)):
        at = td + k * per
        for time, value in ((at, v1), (at + tr, v2), (at + tr + pw, v2), (at + tr + pw + tf, v1)):
            if time > found[-2]:
                found += [time, value]
    return f"PWL({' '.join(short_number(float(f'{each:.12g}')) for each in found)})"


def sine(w: Written, given: Sequence[Expression | None]) -> str:
    """offset, amplitude, frequency, delay, damping in 1/s, phase in degrees, number of cycles."""
    *parts, count = [*given, *([None] * 7)][:7]
    if any(e is None for e in parts[:3]):
        raise LostError("a sine without its offset, amplitude and frequency")
    if count is not None and known(count) != 0:
        raise LostError("a sine of a number of cycles")
    return f"SIN({' '.join(w.value(e or ZERO) for e in parts)})"


def exponential(w: Written, given: Sequence[Expression | None]) -> str:
    """v1 v2 td1 tau1 td2 tau2."""
    if len(given) != 6 or any(e is None for e in given):
        raise LostError("an EXP without all of its six numbers")
    return f"EXP({' '.join(w.value(e) for e in given if e is not None)})"


def linear(w: Written, given: Sequence[Expression], relative: Sequence[bool] = ()) -> str:
    """Times and values by turns; a time that is `relative` counts from the one before it."""
    if len(given) < 2 or len(given) % 2:
        raise LostError("a PWL needs a value for each time")
    times, values = list(given[::2]), given[1::2]
    numbers = [known(e) for e in times]
    for k, is_relative in enumerate(relative[::2]):
        if is_relative:
            now, before = numbers[k], numbers[k - 1] if k else 0.0
            if now is None or before is None:
                raise LostError("a PWL whose relative times are no plain numbers")
            numbers[k] = before + now
            times[k] = number(before + now)
    theirs = list(numbers)
    for k, (before, now) in enumerate(pairwise(theirs), 1):
        written = numbers[k - 1]
        if before is None or now is None or written is None:
            continue
        if now < before:
            raise LostError("a PWL whose times do not rise")
        if now <= written:
            w.changed(f"a step of a PWL lasts a millionth of its time of {short_number(now)} s")
            numbers[k] = written + STEP * (now or next((t for t in theirs[k + 1 :] if t), 1.0))
            times[k] = number(numbers[k] or 0.0)
    pairs = (f"{w.value(t)} {w.value(v)}" for t, v in zip(times, values, strict=True))
    return f"PWL({' '.join(pairs)})"
