"""Constants of nature are those of scipy, whichever CODATA set it has."""

import pytest
from scipy import constants

from bruno_spice.devices import physics


@pytest.mark.parametrize(("name", "theirs"), [("EPS_0", "epsilon_0"), ("K_B", "k"), ("PLANCK", "h"), ("Q_E", "e")])
def test_a_constant_of_nature(name, theirs):
    assert getattr(physics, name) == pytest.approx(getattr(constants, theirs), rel=1e-9)
