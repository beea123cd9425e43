"""Neurons that differ: parameters of each device of a layer, drawn around the card's.

    p_j = p (1 + sigma L z_j),   L L^T = correlation     card (its SPICE Monte-Carlo)
    p_j = p (1 + sigma z_j)                              sigmas given by name
    p_j = p + (L z_j),   L L^T = covariance         fit_ambiguity: what the fit of the card leaves open

The last is no difference between devices: it asks what a network makes of not knowing the mean device better. z is
standard normal, cut at three standard deviations. The paper draws A, Ea, Ps, I0, t_hzo and t_int by the second rule
(Fehlings et al., arXiv 2505.17791).
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import truncnorm
from torch import Tensor, nn

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.neurons.felif import FeLIF

CUT = 3.0

Spread = str | Mapping[str, float]
"""``card``, ``fit_ambiguity``, or relative standard deviations by parameter name."""


def sample_parameters(
    card: NeuronCard, spread: Spread, count: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Parameters by name in SI units, (count,) each; the weights of the domains add up to 1.

    Raises `InputError` where the card says nothing of spread, or where a device would be unphysical.
    """
    drawn = _from_covariance(card, count, rng) if spread == "fit_ambiguity" else _by_sigmas(card, spread, count, rng)
    for name, values in drawn.items():
        if card.sign_of(name) != "any" and np.any(values * card[name] <= 0.0):
            raise InputError(
                f"the spread of '{name}' reaches beyond zero ({values.min():.3g} where the card has {card[name]:.3g}); "
                f"give neuron.spread smaller sigmas"
            )
    others = [f"domain_weight_{k}" for k in range(2, card.domains + 1)]
    if set(others) & set(drawn):
        drawn["domain_weight_1"] = 1.0 - np.sum(
            [drawn.get(name, np.full(count, card[name])) for name in others], axis=0
        )
    return drawn


def _by_sigmas(
    card: NeuronCard, spread: Spread, count: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    sigmas = dict(card.variability) if spread == "card" else dict(spread) if isinstance(spread, Mapping) else None
    if sigmas is None:
        raise InputError(f"unknown spread '{spread}'; there are none, card, fit_ambiguity, or sigmas by parameter name")
    if not sigmas:
        raise InputError(
            "the FeLIF card says nothing of variability; calibrate with --monte-carlo, "
            "or give neuron.spread relative sigmas such as {area: 0.05}"
        )
    if unknown := sorted(set(sigmas) - set(card.parameters)):
        raise InputError(f"neuron.spread names '{unknown[0]}'; the card has {', '.join(card.parameters)}")
    correlation = card.variability_correlation
    if spread == "card" and correlation.names:
        z = _normal((count, len(correlation.names)), rng) @ _root(np.asarray(correlation.matrix)).T
        return {name: card[name] * (1 + sigmas[name] * z[:, n]) for n, name in enumerate(correlation.names)}
    return {name: card[name] * (1 + sigma * _normal((count,), rng)) for name, sigma in sigmas.items()}


def _from_covariance(card: NeuronCard, count: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    if not card.covariance.names:
        raise InputError("the FeLIF card has no covariance; calibrate it, or give neuron.spread sigmas by name")
    names, correlation = card.correlation()
    sigma = np.sqrt(np.diag(np.asarray(card.covariance.matrix)))
    drawn = _normal((count, len(names)), rng) @ _root(correlation).T * sigma
    return {name: card[name] + drawn[:, index] for index, name in enumerate(names)}


def _root(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """L with L L^T = `correlation`, which may be singular."""
    values, vectors = np.linalg.eigh(correlation)
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0))
    return root


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = truncnorm.rvs(-CUT, CUT, size=shape, random_state=rng)
    return drawn


class SpreadDevices(nn.Module):
    """Gives the `count` neurons of a layer their own devices, anew at each `redraw`."""

    def __init__(self, neuron: FeLIF, card: NeuronCard, spread: Spread, count: int) -> None:
        super().__init__()
        self._neuron = [neuron]  # in a list, so that the layer is not registered twice
        self.card, self.spread, self.count = card, spread, count
        self.redraw()

    def redraw(self) -> None:
        """New devices, from torch's global random numbers."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,)).item()))
        neuron = self._neuron[0]
        place = next(iter(neuron.buffers())).device
        drawn = sample_parameters(self.card, self.spread, self.count, rng)
        values: dict[str, Tensor] = {name: torch.from_numpy(column).to(place) for name, column in drawn.items()}
        neuron.set_devices(values)
