"""Constants of nature in SI units (CODATA 2022): those of `scipy.constants`, whose import takes a fifth of a second."""

EPS_0 = 8.8541878188e-12
"""Permittivity of vacuum in F/m."""
K_B = 1.380649e-23
"""Boltzmann's constant in J/K, exact."""
PLANCK = 6.62607015e-34
"""Planck's constant in J s, exact."""
Q_E = 1.602176634e-19
"""Elementary charge in C, exact."""
