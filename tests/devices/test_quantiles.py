"""Normal quantiles without scipy are those of scipy, from the middle far into both tails."""

import numpy as np
from scipy.special import ndtri as of_scipy

from bruno_spice.devices.fecap.quantiles import ndtri


def test_a_quantile_is_that_of_scipy():
    inner = np.random.default_rng(0).random(1000)
    tails = 10.0 ** -np.arange(1.0, 300.0, 1.7)
    share = np.concatenate([[0.0, 0.5, 1.0], inner, tails, 1.0 - tails[tails > 1e-15]])
    np.testing.assert_allclose(ndtri(share), of_scipy(share), rtol=4e-16, atol=0)
