"""The levels of an RRAM cell and their distributions over devices: SPICE Monte-Carlo and the fitted filament.

Every sampled device is programmed to every level with the current of the mean device (open loop), so that what its
filament does is seen correlated across the levels. A (device, level) pair *overlaps* where its conductance lies
beyond the midpoint to an adjacent level: a comparator would take it for that one. SPICE samples are few, so three
numbers stand together: what SPICE counted; how far, in SPICE, the corners of the geometry box stay from the midpoint
(conductance is monotone in length and in radius, so nothing inside the box lies further out); and the share among
100,000 devices of the filament model, which is what the SPICE points confirm to a fraction of a per cent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.cards.rram import LevelDistributions, LevelOverlap, ProgrammedLevel
from bruno_spice.devices.rram.filament import (
    Levels,
    RRAMParameters,
    conductance,
    program_and_verify,
    read_noise,
    sample_geometry,
)

Array = NDArray[np.float64]
MODEL_DEVICES = 100_000
VERIFIED_DEVICES = 20_000


@dataclass(frozen=True)
class LevelSamples:
    """SPICE conductances in S: of sampled devices (n, levels), and of the corners of the geometry box (c, levels)."""

    g_s: Array
    corner_g_s: Array


def midpoints(levels: Levels) -> Array:
    """Conductances in S halfway between adjacent levels, (levels - 1,)."""
    return (levels.conductance_s[1:] + levels.conductance_s[:-1]) / 2


def overlapping(g_s: Array, levels: Levels) -> NDArray[np.bool_]:
    """Which of `g_s` (..., levels), each programmed to the level of its column, would be read as another one."""
    return np.asarray(np.searchsorted(midpoints(levels), g_s) != np.arange(levels.conductance_s.size))


def corner_margin(corner_g_s: Array, levels: Levels) -> float:
    """Least distance of `corner_g_s` (c, levels) to the midpoints, in units of half a step; negative beyond one."""
    half_step = np.diff(levels.conductance_s).mean() / 2
    away = np.concatenate([corner_g_s[:, 1:] - midpoints(levels), midpoints(levels) - corner_g_s[:, :-1]], axis=None)
    return float(away.min() / half_step)


def level_distributions(
    samples: LevelSamples, levels: Levels, filament: RRAMParameters, i_range_a: tuple[float, float], seed: int = 0
) -> LevelDistributions:
    """The card's record of `levels`: distributions and correlation from SPICE, overlap from SPICE and the model."""
    noise = read_noise(levels.conductance_s, filament.length_mean, filament)
    return LevelDistributions(
        bits=int(np.log2(levels.conductance_s.size)),
        devices=len(samples.g_s),
        levels=[
            ProgrammedLevel(
                g_target_s=float(target),
                i_prog_a=float(current),
                g_mean_s=float(g.mean()),
                g_sigma_s=float(g.std(ddof=1)),
                g_min_s=float(g.min()),
                g_max_s=float(g.max()),
                read_noise_s=float(sigma),
            )
            for target, current, g, sigma in zip(
                levels.conductance_s, levels.i_prog_a, samples.g_s.T, noise, strict=True
            )
        ],
        correlation=np.atleast_2d(np.corrcoef(samples.g_s.T)).tolist(),
        overlap=_overlap(samples, levels, filament, i_range_a, np.random.default_rng(seed)),
    )


def model_conductances(
    levels: Levels, filament: RRAMParameters, devices: int, rng: np.random.Generator, bound_sigma: float = 2.0
) -> tuple[Array, Array]:
    """Conductances (devices, levels) in S of sampled filaments, open loop, and the standard deviation of one read."""
    length, radius = (side[:, None] for side in sample_geometry(devices, filament, rng, bound_sigma))
    g_s = np.asarray(conductance(levels.i_prog_a, length, radius, filament))
    return g_s, np.asarray(read_noise(g_s, length, filament))


def _overlap(
    samples: LevelSamples,
    levels: Levels,
    filament: RRAMParameters,
    i_range_a: tuple[float, float],
    rng: np.random.Generator,
) -> LevelOverlap:
    box, noise = model_conductances(levels, filament, MODEL_DEVICES, rng)
    normal, _ = model_conductances(levels, filament, MODEL_DEVICES, rng, np.inf)
    return LevelOverlap(
        pairs=samples.g_s.size,
        spice=float(overlapping(samples.g_s, levels).mean()),
        spice_corner_margin=corner_margin(samples.corner_g_s, levels),
        model=float(overlapping(box, levels).mean()),
        model_with_read_noise=float(overlapping(box + noise * rng.standard_normal(box.shape), levels).mean()),
        model_untruncated=float(overlapping(normal, levels).mean()),
        model_verified=float(overlapping(verified_conductances(levels, filament, i_range_a, rng), levels).mean()),
    )


def verified_conductances(
    levels: Levels,
    filament: RRAMParameters,
    i_range_a: tuple[float, float],
    rng: np.random.Generator,
    devices: int = VERIFIED_DEVICES,
    tolerance_s: float = 2e-6,
) -> Array:
    """Conductances (devices, levels) in S of untruncated filaments after program-and-verify within `tolerance_s`."""
    length, radius = sample_geometry(devices, filament, rng, np.inf)
    count = levels.conductance_s.size
    each_length, each_radius = np.repeat(length, count), np.repeat(radius, count)

    def program(i_prog_a: Array, which: Sequence[int] | NDArray[np.int64]) -> Array:
        return np.asarray(conductance(i_prog_a, each_length[which], each_radius[which], filament))

    target = np.tile(levels.conductance_s, devices)
    return program_and_verify(target, program, filament, i_range_a, tolerance_s).g_s.reshape(devices, count)
