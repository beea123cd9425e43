"""Delayed match of spike patterns: is the second pattern the one that came before the gap?

    quiet | cue, `pattern_ms` | gap, nothing | probe, `pattern_ms` | answer

Cue and probe are one of `patterns` fixed random spike trains over `channels`, each spike moved by `jitter_ms` (normal)
and lost with probability `lost`; in half of the trials they are the same one. The gap is log-uniform in `gap_ms`, so
that the cue must be held for an unknown time without input, and the answer counts from the probe on. Scores tell the
accuracy by gap. Made anew from `seed`, like the delayed match-to-sample tasks of psychophysics (Fuster & Alexander,
Science 173, 652, 1971).
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.base import Batch, Score
from bruno_spice.training.tasks.classification import Classification, classification

LABELS = ["differs", "matches"]
QUIET_MS, ANSWER_MS = 5, 10
GAPS_MS = (0, 20, 80, 10_000)
"""Edges of the gaps whose accuracies are told apart."""
RATE_HZ = 80.0
"""Of a pattern's channels."""


@dataclass
class DelayedMatch(Classification):
    """Two classes, ``matches`` and ``differs``; logits count from the beginning of the probe on."""

    pattern_ms: int = 20

    picture_name: ClassVar[str] = "confusion"

    def answers(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean logits (B, 2) over probe and answer."""
        frames = self.pattern_ms + ANSWER_MS
        late = (batch.mask.flip(0).cumsum(0) <= frames).flip(0).to(logits.dtype) * batch.mask
        return (logits * late[..., None]).sum(0) / late.sum(0).clamp(min=1)[:, None]

    def gaps_ms(self, batch: Batch) -> Tensor:
        """The gap of each sequence (B,), from its length."""
        return batch.lengths - QUIET_MS - 2 * self.pattern_ms - ANSWER_MS

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """As a classification, and the accuracy for each range of gaps."""
        found = super().scores(logits, batch)
        right = self.answers(logits, batch).argmax(-1) == batch.target
        gaps = self.gaps_ms(batch)
        for low, high in pairwise(GAPS_MS):
            there = (gaps >= low) & (gaps < high)
            name = f"accuracy_gap_from_{low}_ms"
            found[name] = (float((right & there).sum()), float(there.sum()))
        return found


def load(
    trials: int = 4000,
    patterns: int = 4,
    channels: int = 20,
    pattern_ms: int = 20,
    gap_ms: tuple[int, int] = (5, 200),
    jitter_ms: float = 1.0,
    lost: float = 0.05,
    seed: int = 7,
) -> DelayedMatch:
    """`trials` sequences, half of them matches. Raises `InputError` for sizes that make no task."""
    low, high = gap_ms
    if not (patterns >= 2 and 1 <= low <= high <= 2000 and channels >= 1 and 2 <= pattern_ms <= 200):
        raise InputError("delayed_match: two patterns or more of 2 to 200 ms on a channel or more, gaps in 1...2000 ms")
    if not 20 <= trials * channels <= 5_000_000:
        raise InputError("delayed_match: trials times channels must lie within 20...5 million")
    rng = np.random.default_rng(seed)
    fixed = rng.random((patterns, pattern_ms, channels)) < RATE_HZ * 1e-3
    matches = np.arange(trials) % 2
    cues = rng.integers(patterns, size=trials)
    probes = np.where(matches, cues, (cues + rng.integers(1, patterns, trials)) % patterns)
    gaps = np.exp(rng.uniform(np.log(low), np.log(high + 1), trials)).astype(int)
    sequences = []
    for cue, probe, gap in zip(cues, probes, gaps, strict=True):
        frames = np.zeros((QUIET_MS + 2 * pattern_ms + gap + ANSWER_MS, channels), np.float32)
        for start, which in ((QUIET_MS, cue), (QUIET_MS + pattern_ms + gap, probe)):
            frames[start : start + pattern_ms] = shown(fixed[which], jitter_ms, lost, rng)
        sequences.append(frames)
    task = classification(sequences, matches, LABELS, f"made from seed {seed}")
    return DelayedMatch(**{each.name: getattr(task, each.name) for each in fields(task)}, pattern_ms=pattern_ms)


def shown(pattern: NDArray[np.bool_], jitter_ms: float, lost: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """`pattern` (ms, channels) as it is shown once: spikes moved and lost."""
    times, channel = np.nonzero(pattern)
    kept = rng.random(len(times)) >= lost
    moved = np.rint(times + rng.normal(0, jitter_ms, len(times))).astype(int).clip(0, len(pattern) - 1)
    frames = np.zeros(pattern.shape, np.float32)
    np.add.at(frames, (moved[kept], channel[kept]), 1.0)
    return frames
