"""Rows of the working array put aside, one after the other, and taken back."""

# mypy: allow-untyped-defs
from bruno_spice.devices.compiled import part
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK

KEPT_MASK = (1 << 40) - 1


@part
def copy_row(to, at, of, row):
    """Copy a row `of` to another; the masks tell the compiler that neither is negative, as in `lanes.rows`."""
    at, row = at & KEPT_MASK, row & KEPT_MASK
    for j in range(BLOCK):
        to[at + j] = of[row + j]


@part
def keep(w, kept, at, rows):
    """Copy `rows` to `kept` from `at`; returns where that ends."""
    for row in rows:
        copy_row(kept, at, w, row)
        at += BLOCK
    return at


@part
def keep_domains(w, kept, at, groups, domains):
    """The same with the rows of all domains of `groups`."""
    for group in groups:
        for k in range(domains):
            copy_row(kept, at, w, group + k * BLOCK)
            at += BLOCK
    return at


@part
def recall(w, kept, at, rows):
    """What `keep` does, the other way."""
    for row in rows:
        copy_row(w, row, kept, at)
        at += BLOCK
    return at


@part
def recall_domains(w, kept, at, groups, domains):
    """What `keep_domains` does, the other way."""
    for group in groups:
        for k in range(domains):
            copy_row(w, group + k * BLOCK, kept, at)
            at += BLOCK
    return at
