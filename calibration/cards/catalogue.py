"""Parameter cards side by side: load one of whichever model, compare two, remark on what looks odd in one."""

import math
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from bruno_spice.devices.cards.base import NEURON_CARDS, Card, load_card_json
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.reading import shown

CARD_TYPES: Mapping[str, type[Card]] = ChainMap(
    cast("dict[str, type[Card]]", NEURON_CARDS), {"rram": RRAMCard, "measured": MeasuredCard}
)
"""By model; one of a user's own is there once its file has run."""
LOOSE = 0.5
"""A standard error above this fraction of the value is remarked on."""


@dataclass(frozen=True)
class Change:
    """One parameter in two cards; None where a card lacks it or a figure does not exist."""

    name: str
    unit: str
    first: float | None
    second: float | None

    relative: float | None
    """(second - first) / first."""
    sigmas: float | None
    """(second - first) in units of the combined standard error sqrt(stderr_1^2 + stderr_2^2)."""


def load_any_card(path: Path) -> Card:
    """The card at `path`, of whichever model it says it is. Raises `CardError`."""
    return card_type(load_card_json(path).get("model"), f"{path}: ").load(path)


def card_type(model: object, where: str = "") -> type[Card]:
    """The kind of card that describes `model`. Raises `CardError` for an unknown one."""
    if not isinstance(model, str) or model not in CARD_TYPES:
        raise CardError(f"{where}model {shown(model)} is not known; a card says one of {', '.join(CARD_TYPES)}")
    return CARD_TYPES[model]


def changes(first: Card, second: Card) -> list[Change]:
    """Every parameter whose value differs, in the first card's order. Raises `InputError` for different models."""
    if first.model != second.model:
        raise InputError(f"a {first.model} card and a {second.model} card have no parameters in common to compare")
    names = dict.fromkeys([*first.parameters, *second.parameters])
    found = (_change(name, first, second) for name in names)
    return [change for change in found if change.first != change.second]


def alike(first: Card, second: Card) -> str:
    """What is to be said of two cards whose parameters are the same."""
    return f"the parameters are the same{tables_too(first, second)}"


def tables_too(first: Card, second: Card) -> str:
    """What differs beside the parameters, for the end of a sentence; empty where nothing does."""
    others = [words for field, words in first.TABLES.items() if getattr(first, field) != getattr(second, field)]
    return f"; tables that differ: {', '.join(others)}" if others else ""


def _change(name: str, first: Card, second: Card) -> Change:
    a, b = first.parameters.get(name), second.parameters.get(name)
    unit = type(first).units(max(first.domains, second.domains))[name]
    if a is None or b is None:
        return Change(name, unit, a.value if a else None, b.value if b else None, None, None)
    difference = b.value - a.value
    combined = math.hypot(a.stderr or 0.0, b.stderr or 0.0)
    relative = difference / a.value if a.value else None
    return Change(name, unit, a.value, b.value, relative, difference / combined if combined else None)


def remarks(card: Card) -> list[str]:
    """What is readable but deserves a second look: loose or missing standard errors, bounds, weights, covariance."""
    found = [f"its fit is not to be believed: {card.doubt}"] if card.doubt else []
    if card.proposed:
        found.append(f"proposed, not found on a device: {card.proposed}")
    for name, p in card.parameters.items():
        if p.vary and p.stderr is None:
            found.append(f"{name} was free in the fit but has no standard error")
        if p.stderr is not None and p.value and p.stderr > LOOSE * abs(p.value):
            found.append(f"{name} is known only to {100 * p.stderr / abs(p.value):.0f} % (one standard error)")
        if p.vary and p.min is not None and p.max is not None:
            room = min(p.value - p.min, p.max - p.value)
            if room <= 1e-6 * (p.max - p.min):
                found.append(f"{name} sits on a bound of its fit")
    weights = [p.value for name, p in card.parameters.items() if name.startswith("domain_weight_")]
    if weights and abs(sum(weights) - 1.0) > 1e-6:
        found.append(f"the domain weights sum to {sum(weights):.6g}, not to 1")
    if card.covariance.names:
        matrix = np.array(card.covariance.matrix)
        scale = np.sqrt(np.abs(np.diag(matrix)))
        with np.errstate(all="ignore"):  # a variance of zero is remarked on below
            correlation = matrix / np.outer(scale, scale)
        if not np.allclose(correlation, correlation.T, atol=1e-6) or np.linalg.eigvalsh(correlation).min() < -1e-6:
            found.append("the covariance is not a covariance: not symmetric, or with negative variances")
        for name, sigma in zip(card.covariance.names, scale, strict=True):
            stderr = card.parameters[name].stderr
            if stderr is not None and not math.isclose(stderr, sigma, rel_tol=1e-3):
                found.append(f"{name}: stderr {stderr:.4g} disagrees with the covariance, {sigma:.4g}")
    if not card.validation:
        found.append("the card was not validated on anything that its fit did not see")
    return found
