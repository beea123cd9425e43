"""Quantiles of the standard normal distribution, without scipy, whose import would take a third of the time in which
the workbench shows its first curve.

    y > exp(-2):    x = sqrt(2 pi) (r + r^3 P0(r^2)/Q0(r^2)),  r = y - 1/2
    below:          -x = t - ln(t)/t - z P(z)/Q(z),  t = sqrt(-2 ln y),  z = 1/t;  P1/Q1 for t < 8, else P2/Q2

and the mirror image above 1 - exp(-2). Source: S. L. Moshier, Methods and Programs for Mathematical Functions (Ellis
Horwood 1989), the Cephes library, which `scipy.special.ndtri` is: the values are the same to the last bit.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EDGE = 0.13533528323661269189
"""exp(-2)"""
ROOT_2_PI = 2.50662827463100050242
FAR = 8.0
P0 = (-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1,
      -1.23916583867381258016)  # fmt: skip
Q0 = (1.0, 1.95448858338141759834, 4.67627912898881538453, 8.63602421390890590575e1, -2.25462687854119370527e2,
      2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1,
      -1.18331621121330003142)  # fmt: skip
P1 = (4.05544892305962419923, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1,
      1.46849561928858024014e1, 2.18663306850790267539, -1.40256079171354495875e-1, -3.50424626827848203418e-2,
      -8.57456785154685413611e-4)  # fmt: skip
Q1 = (1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1,
      2.50464946208309415979, -1.42182922854787788574e-1, -3.80806407691578277194e-2,
      -9.33259480895457427372e-4)  # fmt: skip
P2 = (3.23774891776946035970, 6.91522889068984211695, 3.93881025292474443415, 1.33303460815807542389,
      2.01485389549179081538e-1, 1.23716634817820021358e-2, 3.01581553508235416007e-4, 2.65806974686737550832e-6,
      6.23974539184983293730e-9)  # fmt: skip
Q2 = (1.0, 6.02427039364742014255, 3.67983563856160859403, 1.37702099489081330271, 2.16236993594496635890e-1,
      1.34204006088543189037e-2, 3.28014464682127739104e-4, 2.89247864745380683936e-6,
      6.79019408009981274425e-9)  # fmt: skip


def ndtri(share: Array) -> Array:
    """Below which deviate the `share` (n,) from 0 to 1 of a standard normal distribution lies, (n,)."""
    return np.array([_quantile(float(each)) for each in share])


def _quantile(y: float) -> float:
    if y in (0.0, 1.0):
        return math.copysign(math.inf, y - 0.5)
    above = y > 1.0 - EDGE
    if above:
        y = 1.0 - y
    if y > EDGE:
        r = y - 0.5
        squared = r * r
        return (r + r * (squared * _polynomial(squared, P0) / _polynomial(squared, Q0))) * ROOT_2_PI
    t = math.sqrt(-2.0 * math.log(y))
    z = 1.0 / t
    p, q = (P1, Q1) if t < FAR else (P2, Q2)
    x = (t - math.log(t) / t) - z * _polynomial(z, p) / _polynomial(z, q)
    return x if above else -x


def _polynomial(x: float, coefficients: tuple[float, ...]) -> float:
    found = coefficients[0]
    for each in coefficients[1:]:
        found = found * x + each
    return found
