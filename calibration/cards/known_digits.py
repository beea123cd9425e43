"""The digits of a card that are known: what is written, and what counts as the same card.

Two machines that run one calibration agree to about nine digits: other processors and other builds of the numerical
libraries add in another order. The later digits say nothing about the device, yet make a card differ in every line.
So a card is written with eight digits, errors and figures of merit with six, and a card made anew whose numbers differ
from those of the file by no more than such noise is the card of the file (`same`).
"""

import json
import math
from typing import Any, TypeVar

import numpy as np

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.parts import Covariance

C = TypeVar("C", bound=Card)

DIGITS = 8
"""Of parameters and covariances: enough along the ridges where correlated parameters trade off."""
DIGITS_OF_FIGURES = 6
"""Of what is said about them: standard errors, spreads, figures of fit and validation."""
NOISE = 1e-6
"""Relative difference of two parameters that is noise: a thousandth of the smallest standard error of a card."""
NOISE_OF_FIGURES = 1e-3
"""The same for figures, of which many are small differences of large numbers."""
SMALLEST_FIGURE = 1e-9
"""Figures of fit and validation (volts, seconds, shares) that differ by less are equal."""


def rounded(card: C) -> C:
    """`card` with as many digits as are known; bounds stay as they were set."""
    content = card.model_dump(by_alias=True, mode="json")
    for parameter in content["parameters"].values():
        parameter["value"] = _rounded(parameter["value"], DIGITS)
        for error in ("stderr", "stderr_curvature"):
            parameter[error] = _rounded(parameter[error], DIGITS_OF_FIGURES)
    for part in content.keys() - {"parameters", "provenance"}:
        figures = part in ("fit", "validation", "variability", "variability_correlation")
        content[part] = _rounded(content[part], DIGITS_OF_FIGURES if figures else DIGITS)
    return type(card).model_validate(content)


def same(one: Card, other: Card) -> bool:
    """Whether two cards say the same of one device: every word, and every number to the digits that are known.

    Their dates and how many evaluations their fits took do not count.
    """
    a, b = (json.loads(card.to_json()) for card in (one, other))
    for content in (a, b):
        content["provenance"].pop("date")
        content["fit"].pop("evaluations", None)
        content.pop("covariance")
    values = [{name: p.pop("value") for name, p in content["parameters"].items()} for content in (a, b)]
    figures = [{part: content.pop(part) for part in ("fit", "validation")} for content in (a, b)]
    return (
        _alike(values[0], values[1], NOISE, 0.0)
        and _alike(figures[0], figures[1], NOISE_OF_FIGURES, SMALLEST_FIGURE)
        and _alike(a, b, NOISE_OF_FIGURES, 0.0)
        and _same_covariance(one.covariance, other.covariance)
    )


def _same_covariance(one: Covariance, other: Covariance) -> bool:
    """Equal to `NOISE_OF_FIGURES` of what the variances of row and column allow."""
    if one.names != other.names or not one.names:
        return one.names == other.names
    first, second = np.array(one.matrix), np.array(other.matrix)
    sigma = np.sqrt(np.abs(np.diag(first)))
    return bool(np.all(np.abs(first - second) <= NOISE_OF_FIGURES * np.outer(sigma, sigma)))


def _alike(a: Any, b: Any, relative: float, absolute: float) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_alike(a[key], b[key], relative, absolute) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y, relative, absolute) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
    return bool(a == b)


def _rounded(value: Any, digits: int) -> Any:
    """`value` with all floats in it at so many digits."""
    if isinstance(value, dict):
        return {key: _rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
