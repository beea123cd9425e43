"""2^x and log2 x in single precision, written so that LLVM turns a loop over them into SIMD code on any CPU.

Range reduction by the bits of the number, then a polynomial fitted at Chebyshev nodes: relative error of 2^x below
3e-7, absolute error of log2 x below 4e-7 (the rounding of float32 is 6e-8). No NaN for finite input.
"""

# mypy: allow-untyped-defs, disable-error-code="call-arg, var-annotated"
import llvmlite.ir as ir
import numpy as np
from numba import float32, int32, types
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from bruno_spice.devices.compiled import inlined

F = np.float32
ZERO, ONE, TWO = F(0.0), F(1.0), F(2.0)
MOST_BITS = F(60.0)
LOG2_E = F(1.0 / np.log(2.0))
LN_2 = F(np.log(2.0))
SMALLEST_EXPONENT = F(-126.0)
LARGEST_EXPONENT = F(126.0)
_SQRT_HALF_BITS = int(np.sqrt(F(0.5)).view(np.int32))


@intrinsic
def _bits(typing_context, x):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def _from_bits(typing_context, x):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _nearest(typing_context, x):
    def codegen(context, builder, signature, arguments):
        rint = builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()])
        return builder.call(rint, arguments)

    return types.float32(types.float32), codegen


@intrinsic
def _to_int(typing_context, x):
    def codegen(context, builder, signature, arguments):
        return builder.fptosi(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def _select(typing_context, condition, this, that):
    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return types.float32(types.boolean, types.float32, types.float32), codegen


@inlined
def chosen(condition, this, that):
    """One of two float32, both of which are there: never a branch, which LLVM might draw around what is stored."""
    return _select(condition, this, that)


def _fit(function, low: float, high: float, degree: int) -> NDArray[np.float32]:
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    fitted = Chebyshev.fit(nodes, function(nodes), degree, domain=[low, high])
    return np.asarray(fitted.convert(kind=Polynomial).coef, dtype=np.float32)


_E0, _E1, _E2, _E3, _E4, _E5 = _fit(lambda x: np.expm1(x * np.log(2.0)) / x, -0.5, 0.5, 5)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = _fit(lambda m: np.log2(1.0 + m) / m, np.sqrt(0.5) - 1.0, np.sqrt(2.0) - 1.0, 7)


@inlined
def larger(a, b):
    """The larger of two numbers, as a select."""
    return a if a > b else b


@inlined
def smaller(a, b):
    """The smaller of two numbers, as a select."""
    return a if a < b else b


@inlined
def exp2_minus_1(x):
    """2^x - 1, exact near 0; x is limited to +-126."""
    x = smaller(larger(x, SMALLEST_EXPONENT), LARGEST_EXPONENT)
    whole = _nearest(x)
    f = x - whole
    p = f * (_E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5)))))
    scale = _from_bits(int32((_to_int(whole) + int32(127)) << int32(23)))
    return (scale - ONE) + scale * p


@inlined
def exp2(x):
    """2^x; x is limited to +-126."""
    x = smaller(larger(x, SMALLEST_EXPONENT), LARGEST_EXPONENT)
    whole = _nearest(x)
    f = x - whole
    p = f * (_E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5)))))
    scale = _from_bits(int32((_to_int(whole) + int32(127)) << int32(23)))
    return scale + scale * p


@inlined
def log2(x):
    """Binary logarithm of a positive, normal x."""
    bits = _bits(x)
    exponent = int32(int32(bits - int32(_SQRT_HALF_BITS)) >> int32(23))
    m = _from_bits(int32(bits - int32(exponent << int32(23)))) - ONE
    p = m * (_L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * (_L5 + m * (_L6 + m * _L7)))))))
    return float32(exponent) + p


@inlined
def exp(x):
    """e^x."""
    return exp2(x * LOG2_E)


@inlined
def expm1(x):
    """e^x - 1, exact near 0."""
    return exp2_minus_1(x * LOG2_E)


@inlined
def log1p(x):
    """ln(1 + x), to the rounding of 1."""
    return log2(ONE + x) * LN_2


@inlined
def tanh(x):
    """The hyperbolic tangent."""
    turned = exp2(smaller(abs(x) * (TWO * LOG2_E), MOST_BITS))
    size = ONE - TWO / (turned + ONE)
    return size if x >= ZERO else -size


@inlined
def power(base, exponent):
    """base^exponent for a positive base."""
    return exp2(exponent * log2(base))


@inlined
def where(condition, this, that):
    """One of two numbers, as a select."""
    return this if condition else that


maximum, minimum = larger, smaller
