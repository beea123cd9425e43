"""Constants of nature in SI units (CODATA), as scipy has them."""

from scipy import constants

EPS_0: float = constants.epsilon_0
"""Permittivity of vacuum in F/m."""
K_B: float = constants.k
"""Boltzmann's constant in J/K."""
PLANCK: float = constants.h
"""Planck's constant in J s."""
Q_E: float = constants.e
"""Elementary charge in C."""
