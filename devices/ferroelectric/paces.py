"""How the `logistic` method divides a macro step: in how many substeps, by the current, and how long each of them is.

    n = accuracy f(|dV/dt|),   dV/dt = I/C,   f = 1 up to 8 V/ms and then so that a substep charges the membrane by no
    more, in steps (`PACES`); f = 1.5 for inhibition, as the way to the floor bends more than that to the threshold

so a neuron at 1 nA takes a fifth of the substeps of one at 30 nA, and both are about as accurate (tests/devices/
test_felif_windows.py). The neurons of one pace go through the kernel together; which one a neuron has depends on its
own current alone.
"""

PACES = (1.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0)
"""Substeps over the accuracy setting: of inhibited neurons, then of driven ones, slow ones first."""
INHIBITED = 0
FULL_RISE_V = 8.0
"""A driven neuron of pace k is charged by at most PACES[k] times this in a macro step; the last one by any amount."""
FADED_E_FOLDS = 2.5
"""A switching rate that falls within a substep has a mean slope up to so many e-folds of it: 92 % of the integral."""
LEAST_HOLD_MS = -1.0
"""Where a refractory time ends before the substep of its crossing, the rest, a hold below 0, lengthens the next one."""
LEAST_LEAD_MS = 1e-4
"""Who ran for less in a macro step, without a spike, was held through it: substeps add up to 1 ms but for rounding."""


def pace(rise_v: float) -> int:
    """Which of `PACES` a neuron takes whose current would charge the empty membrane by `rise_v` in a macro step."""
    if rise_v < 0.0:
        return INHIBITED
    chosen = 1
    for slower in PACES[1:-1]:
        if rise_v > slower * FULL_RISE_V:
            chosen += 1
    return chosen


def substep_count(accuracy: float, chosen: int) -> int:
    """Substeps of a macro step at the pace `chosen`."""
    return int(accuracy * PACES[chosen] + 0.5)


def substep_ms(step: int, substeps: int) -> float:
    """Length in ms of substep `step` of a macro step: equal, but the first and the last two.

    The first is half as long, as the current has just jumped; the last two are a half and a quarter, as the last one
    says how far V has settled. At equal work that halves the errors of V and of tangents. Below 4: all equal.
    """
    if substeps < 4:
        return 1.0 / substeps
    whole = 1.0 / (substeps - 1.75)
    if step == substeps - 1:
        return 0.25 * whole
    return 0.5 * whole if step in (0, substeps - 2) else whole
