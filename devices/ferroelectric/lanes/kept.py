"""Rows of the working array put aside, one after the other, and taken back."""

# mypy: allow-untyped-defs, disable-error-code="call-arg"
import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bruno_spice.devices.compiled import part
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK


@intrinsic
def copy_row(typing_context, to, at, of, row):
    """Copy the BLOCK numbers of `of` from `row` to `to` from `at`, which do not overlap; as vectors, where a loop over
    two arrays, which might, becomes one number after the other."""

    def codegen(context, builder, signature, arguments):
        ends = []
        for array, first in ((0, 1), (2, 3)):
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            index = context.cast(builder, arguments[first], signature.args[first], types.intp)
            ends.append(builder.gep(data, [index]))
        count = context.get_constant(types.intp, BLOCK)
        cgutils.raw_memcpy(builder, *ends, count, context.get_abi_sizeof(ir.FloatType()))
        return context.get_dummy_value()

    return types.void(to, at, of, row), codegen


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
