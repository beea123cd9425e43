"""Rows of the working array of the SIMD kernels: a name stands for one thing, in one phase.

Neurons go through in blocks of BLOCK. All working numbers of a block live in one flat array `w`, row after row, and
every loop runs over the whole block, so the compiler can see that rows never overlap and vectorises without asking.
The rows of the constants come first (`devices.models.rows`, row n at n * BLOCK), then those of a block, then
groups of MOST_DOMAINS rows, one a domain (`domain_row`).
"""

# mypy: allow-untyped-defs
from bruno_spice.devices.compiled import inlined
from bruno_spice.devices.models.rows import DOMAINS_FROM, MOST_DOMAINS

BLOCK = 64
"""Neurons that go through the kernels together."""
_BLOCK_ROWS = 82
_GROUPS = 44

# The state of a neuron, and what the macro step says of it.
V, HOLD, I_A, SPIKES, LEAD, FREE, SEEN_V, AT_V = ((DOMAINS_FROM + row) * BLOCK for row in range(8))
# One substep.
(
    H, I_IN, LEAK_NOW, FIELD, DRIVEN, MEAN, RATE_SUM, SLOPE, DEPLETION, AVAILABLE, TAKEN, PART, MOVED_V, HALF_FLOW,
    FRACTION, FIRED, V_PER_FIELD, BY_V, BY_I, PER_V, POLARIZATION, PER_P,
) = ((DOMAINS_FROM + row) * BLOCK for row in range(8, 30))  # fmt: skip
# Tangents through it.
WHOLE, DECAYED, PSI, STEADY, DEPLETED, COLUMN_FIELD, COLUMN_MEAN, COLUMN_FLOW = (
    (DOMAINS_FROM + row) * BLOCK for row in range(30, 38)
)
# The adjoint of a macro step.
LAM_V, BY_SPIKE, BY_SHOWN_V, BY_SHOWN_P, SWING, DISTANCE, NOW = ((DOMAINS_FROM + row) * BLOCK for row in range(38, 45))
AT_START = (DOMAINS_FROM + 81) * BLOCK
# A crossing that moves.
V_FLOW, CROSSING_MOVED, HOLD_END, BY_RELEASE, BY_HOLD = ((DOMAINS_FROM + row) * BLOCK for row in range(45, 50))

# A substep as it went, for the way back through it: what is written a second time.
LEAK_BEFORE, TAKEN_FIRST, SLOPE_FIRST, DEPLETION_FIRST, CHANGE, WHOLE_PART, SWITCHED = (
    (DOMAINS_FROM + row) * BLOCK for row in range(50, 57)
)
# The adjoint of a substep: dL by each.
L_V, L_HOLD, L_LEAK, L_H, L_I_IN, L_DRIVEN, L_FIELD, L_RISE, L_FLOW, L_SLOPE, L_DEPLETION, L_AVAILABLE, L_TAKEN = (
    (DOMAINS_FROM + row) * BLOCK for row in range(57, 70)
)
L_PART, L_TURNED, L_POLARIZATION, L_V_PER_FIELD, L_PER_P, L_WAIT, L_RELEASE, L_SEEN_V, L_AFTER_V, L_CHANGE, L_SCALE = (
    (DOMAINS_FROM + row) * BLOCK for row in range(70, 81)
)
BY = (DOMAINS_FROM + _BLOCK_ROWS) * BLOCK
"""From a shared row of the constants to that of its adjoint."""

_FIRST_GROUP = 2 * DOMAINS_FROM + _BLOCK_ROWS


def _group(number):
    return (_FIRST_GROUP + number * MOST_DOMAINS) * BLOCK


# What a domain is, its state, and what is derived of both for the block.
OFFSET, WEIGHT, SMALLEST, SCALE, P, SEEN_P, TAKES, TAIL_FIELD, TAIL_LEFT = (_group(n) for n in range(9))
GROUP_ROWS = (OFFSET, WEIGHT, SMALLEST, SCALE)
"""In the order of `devices.models.rows.GROUPS`."""
# One substep.
LEFT, SIGN, LN_RATE_NOW, RATE, LAM, RATE_END, MOVED, WITH, OVER = (_group(n) for n in range(9, 18))
# Tangents through it.
KEPT, SPENT, GAIN, BY_STEADY, BY_DECAY, EXCESS = (_group(n) for n in range(18, 24))
# The adjoint of a macro step.
LAM_P, AFTER_P = (_group(n) for n in range(24, 26))
P_FLOW = _group(26)
# The adjoint of a substep, and of the rows of a domain.
LAM_FIRST, L_P, L_MOVED, L_LEFT, L_LN_RATE, L_RATE_END, L_TAKES, L_LAM, L_BARE, L_START, L_SIZE, L_SEEN_P, L_AFTER_P = (
    _group(n) for n in range(27, 40)
)
BY_DOMAIN = _group(40) - _group(0)
"""From a row of a domain's constants to that of its adjoint."""
WORK_SIZE = (_FIRST_GROUP + _GROUPS * MOST_DOMAINS) * BLOCK

# The tangents: columns by V, p_k and I, of q and the p_k each, then those at the first crossing.
COLUMN = (1 + MOST_DOMAINS) * BLOCK
SEEN_TANGENT = (2 + MOST_DOMAINS) * COLUMN
TANGENTS_SIZE = 2 * SEEN_TANGENT
INDEX_MASK = (1 << 18) - 1
assert max(WORK_SIZE, TANGENTS_SIZE) <= INDEX_MASK


@inlined
def domain_row(k):
    """Offset of domain k's row; the mask tells the compiler that it is not negative, or nothing vectorises."""
    return (k * BLOCK) & INDEX_MASK
