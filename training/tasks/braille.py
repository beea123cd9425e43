"""Braille letters under a robot's finger (Mueller-Cleve et al., Front. Neurosci. 2022), one bin a millisecond.

``braille27``: 27 letters x 200 trials, 12 taxels, send-on-delta events (ON, OFF) at threshold 10, 256 bins of 5.1 ms.
``braille7``: the subset Space A E I O U Y at threshold 1, ON or OFF, in 256 bins of 5 ms; 1,158 trials, from
github.com/neuromorphic-polito/L2MU-Braille.

Neither has an official split: the parts are this project's own, fixed by content, their hashes below.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.augmentation import Augmentation
from bruno_spice.training.tasks.classification import Classification, classification
from bruno_spice.training.tasks.pickles import read_pickle
from bruno_spice.training.tasks.sources import DataNotFound, cache_folder, load_arrays, local_file

BINS = 256
TAXELS = 12
TRIAL_S = 1.3
CHANNELS_27 = 2 * TAXELS

FILE_27 = "braille27_th10_events.npz"
SHA256_27 = "6b06e11b608fcc21ec9e13b95511c1ae5d996ffcf60a93e523a0447df36828b1"
PICKLE_27 = "data_braille_letters_th10"
RECORD_27 = "https://zenodo.org/records/7050094"
FILE_7 = "braille7_th1_union.npz"
SHA256_7 = "0cea6a3d95e8cffb68e89f69726a725bb02d82dc2eef987ecea64cab13912e5e"
RECORD_7 = "https://github.com/neuromorphic-polito/L2MU-Braille"

SPLIT_SHA256 = {
    "braille7": {
        "train": "dfd645554baa2d28a4e26faa833ee86df7b98439daab6b98a8df2cd802bcf1f6",
        "valid": "4ae7cb284d2580e159a9824a8a20c470c3450867fc31b61f5c8adee6f257a0bd",
        "test": "8864047ae36487d6293c62004b4bb3aac621bf5e9344e20b2dac0e33f2d653bf",
    },
    "braille27": {
        "train": "42a056421327aa81bd6fcf1c85bb4e776fa81bb7f494a5adaa8654093e3e888a",
        "valid": "72c0031f481548b0ea5a39c6130e03483f3ca5f3847db956f9f2cdc082dfdf13",
        "test": "c28a9cb11e705e0daa162f7b4c5fe7efd82185c6a058b4f269b9d37d0982b3cb",
    },
}


def load_braille7(shift: float = 0.0, warp: float = 0.0, drop: float = 0.0) -> Classification:
    """The seven-letter task, training varied by `Augmentation(shift, warp, drop)`.

    Raises `DataNotFound` where the file is not at hand.
    """
    path = local_file(FILE_7, SHA256_7)
    if path is None:
        raise DataNotFound(_advice(FILE_7, RECORD_7))
    table = load_arrays(path)
    frames = np.unpackbits(table["X"], axis=-1, count=TAXELS).astype(np.float32)
    task = classification(list(frames), table["y"].astype(np.int64), table["labels"].tolist(), path.name)
    return replace(_checked("braille7", task), augmentation=Augmentation(shift, warp, drop))


def load_braille27(shift: float = 0.0, warp: float = 0.0, drop: float = 0.0) -> Classification:
    """The 27-letter task, from the packed file or from the authors' own pickle beside it.

    Training is varied by `Augmentation(shift, warp, drop)`.
    Raises `DataNotFound` where neither is at hand.
    """
    path = local_file(FILE_27, SHA256_27)
    if path is not None:
        table = load_arrays(path)
        frames = binned(table["sample"], table["channel"], table["time_s"], len(table["y"]))
        task = classification(list(frames), table["y"].astype(np.int64), table["labels"].tolist(), path.name)
        return replace(_checked("braille27", task), augmentation=Augmentation(shift, warp, drop))
    folders = [Path(os.environ.get("BRUNO_DATA", "")), cache_folder()]
    found = [folder / name for folder in folders for name in (PICKLE_27, f"{PICKLE_27}.pkl")]
    pickled = next((each for each in found if each.is_file()), None)
    if pickled is None:
        raise DataNotFound(_advice(f"{FILE_27} (or {PICKLE_27} as its authors pickled it)", RECORD_27))
    return replace(from_pickle(pickled), augmentation=Augmentation(shift, warp, drop))


def from_pickle(path: Path) -> Classification:
    """The 27-letter task from the authors' pickle: a list of trials, each ``{"letter", "events"}``.

    ``events[taxel][polarity]`` is a list of times in s. A dictionary of the two lists is read too.
    Raises `InputError` for anything else.
    """
    raw = read_pickle(path)
    try:
        if isinstance(raw, dict):
            trials = list(zip(raw["letter"], raw["events"], strict=True))
        else:
            trials = [(trial["letter"], trial["events"]) for trial in raw]
        events = [_events_of(trial) for _, trial in trials]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not the pickled trials of {RECORD_27} ({type(error).__name__}: {error})") from None
    labels = sorted({str(letter) for letter, _ in trials}, key=lambda letter: (letter != "Space", letter))
    classes = np.array([labels.index(str(letter)) for letter, _ in trials])
    sample = np.repeat(np.arange(len(events)), [len(times) for _, times in events])
    channel, time_s = (np.concatenate([each[side] for each in events]) for side in (0, 1))
    frames = binned(sample, channel, time_s, len(trials))
    return classification(list(frames), classes, labels, path.name)


def _events_of(trial: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Channel and time of every event of a trial."""
    pairs = [(2 * taxel + polarity, time) for taxel, both in enumerate(trial) for polarity, times in enumerate(both) for time in times]  # fmt: skip  # noqa: E501
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0].astype(np.int64), table[:, 1]


def binned(sample: NDArray[Any], channel: NDArray[Any], time_s: NDArray[Any], trials: int) -> NDArray[np.float32]:
    """Counts (trials, 256, 24) of events given by `sample`, `channel` (2 taxel + polarity) and `time_s`, all (n,)."""
    frames = np.zeros((trials, BINS, CHANNELS_27), dtype=np.float32)
    bins = np.clip((time_s.astype(np.float64) / TRIAL_S * BINS).astype(np.int64), 0, BINS - 1)
    np.add.at(frames, (sample.astype(np.int64), bins, channel.astype(np.int64)), 1.0)
    return frames


def _checked(name: str, task: Classification) -> Classification:
    for part, expected in SPLIT_SHA256.get(name, {}).items():
        if (found := task.split[f"{part}_sha256"]) != expected:
            raise InputError(f"{name}: the {part} part came out as {found[:8]}..., expected {expected[:8]}...")
    return task


def _advice(name: str, record: str) -> str:
    return (
        f"{name} is not at hand; get it from {record} and put it into {cache_folder()} or the folder BRUNO_DATA names"
    )
