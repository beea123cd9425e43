"""Powers of negative numbers, of which each language has a rule of its own; ngspice takes |x|^y for all of them.

    LTspice    x**y, pow(x, y)    the real part: sign of an integer y, 0 for any other (``-2**1.5 returns zero``)
    HSPICE     x**y               x^int(y) where x < 0
               pow(x, y)          x^int(y) of any x
    Spectre    x**y, pow(x, y)    sign of an integer y; any other is an error there

An exponent that is a parameter may have any value, so that the rule stands written out: x**y = (x<0 ? ... : x**y), of
which the sign of an integer y is 1 - 2 (y - 2 floor(y/2)). A parameter of 3 is not quite 3 in a B-source of ngspice,
which reads its digits one by one: what is within `QUITE` of an integer counts as it. Source: LTspice's help, .PARAM and
B-sources, and ngspice's LTspice mode (ptfuncs.c) for what it leaves open; HSPICE Reference Manual: Commands, built-in
functions.
"""

import math

from bruno_spice.calibration.dialects.formulas import call, choice, negative, op, rounded
from bruno_spice.calibration.verilog_a.expressions import Expression, ExpressionError, evaluate, number

QUITE = 1e-9
"""As far as an integer may be from what is one."""
NONE, ONE, TWO = number(0.0), number(1.0), number(2.0)


def power(x: Expression, y: Expression) -> Expression:
    """x^y with the sign of an integer y."""
    known = _value(y)
    if known is None:
        return _by_sign(x, y, op("*", _sign(y), op("**", negative(x), y)))
    if known != int(known):
        return op("**", x, y)
    if known == 0:
        return ONE
    size = abs(known)
    found = x if size == 1 else op("**", x, number(size))
    if size % 2 and size > 1:
        found = op("*", x, op("**", x, number(size - 1)))
    return found if known > 0 else op("/", ONE, found)


def real_power(x: Expression, y: Expression) -> Expression:
    """The real part of x^y as in LTspice: 0 of a negative x where y is no integer."""
    known = _value(y)
    if known is None:
        whole = op("<", call("abs", op("-", y, rounded(y))), number(QUITE))
        return _by_sign(x, y, choice(whole, op("*", _sign(y), op("**", negative(x), y)), NONE))
    return power(x, y) if known == int(known) else _by_sign(x, y, NONE)


def power_cut_below_zero(x: Expression, y: Expression) -> Expression:
    """HSPICE's x**y: x^int(y) of a negative x."""
    known = _value(y)
    return power(x, y) if known is not None and known == int(known) else _by_sign(x, y, integer_power(x, y))


def integer_power(x: Expression, y: Expression) -> Expression:
    """HSPICE's pow: x^int(y)."""
    known = _value(y)
    cut = op("*", call("sgn", y), call("floor", op("+", call("abs", y), number(QUITE))))
    return power(x, cut if known is None else number(float(math.trunc(known))))


def _by_sign(x: Expression, y: Expression, below: Expression) -> Expression:
    """`below` of a negative x, otherwise |x|^y."""
    known, size = _value(x), op("**", x, y)
    if known is not None:
        return below if known < 0 else size
    return choice(op("<", x, NONE), below, size)


def _sign(y: Expression) -> Expression:
    """1 for an even y, -1 for an odd one."""
    whole = rounded(y)
    return op("-", ONE, op("*", TWO, op("-", whole, op("*", TWO, call("floor", op("/", whole, TWO))))))


def _value(e: Expression) -> float | None:
    try:
        return evaluate(e)
    except ExpressionError:
        return None
