"""Bach's four-part chorales out of the corpus that the package music21 carries, as piano rolls on a quarter grid.

The stand-in where the canonical file cannot be had. Parsing takes about a minute on two cores, so the rolls are
kept in the cache. A piece belongs to train, valid or test (60/20/20) by the SHA-256 of its name: the split
needs no file and does not move when pieces are added.
"""

import hashlib
import io
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.training.tasks.base import PARTS
from bruno_spice.training.tasks.sources import cache_folder, load_arrays

LOWEST_MIDI_KEY = 21
OCTAVE_UP = 12
"""The canonical file has every piece an octave above its notation; so do these rolls."""
KEYS = 88
VOICES = 4
REPORT_EVERY = 60


def part_of(name: str) -> str:
    """Train, valid or test, from the SHA-256 of the piece's `name`."""
    share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8
    return "train" if share < 0.6 else "valid" if share < 0.8 else "test"


def corpus_rolls(report: Callable[[str], None]) -> tuple[dict[str, list[NDArray[np.uint8]]], str]:
    """Piano rolls (frames, 88) of each part, and the name of their source."""
    import music21

    version = music21.__version__
    cached = cache_folder() / f"chorales_music21_{version}.npz"
    table = _kept(cached, report)
    if table is None:
        table = _parse_all(cached.parent, report)
        _keep(cached, table, report)
    rolls: dict[str, list[NDArray[np.uint8]]] = {part: [] for part in PARTS}
    for name in sorted(table):
        rolls[part_of(name)].append(table[name])
    return rolls, f"music21 {version} corpus (the canonical file was not at hand)"


def _kept(cached: Path, report: Callable[[str], None]) -> dict[str, NDArray[np.uint8]] | None:
    """The rolls that were kept at `cached`; None where there are none or they are damaged (zip has a checksum)."""
    if not cached.is_file():
        return None
    try:
        return load_arrays(cached)
    except InputError as error:
        report(f"{error}; parsed anew")
        return None


def _keep(cached: Path, table: dict[str, NDArray[np.uint8]], report: Callable[[str], None]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **table)  # type: ignore[arg-type]  # numpy takes any ** for allow_pickle
    try:
        write_atomic(cached, buffer.getvalue())
    except OSError as error:
        report(f"the parsed chorales are used but not kept: cannot write to {cached.parent} ({error.strerror})")


def _parse_all(folder: Path, report: Callable[[str], None]) -> dict[str, NDArray[np.uint8]]:
    from music21 import corpus

    paths = sorted({str(path) for path in corpus.getComposer("bach")})
    report(f"parsing {len(paths)} files of the music21 corpus, about a minute; the result is kept in {folder}")
    rolls: dict[str, NDArray[np.uint8]] = {}
    workers = min(2, os.cpu_count() or 1)
    for done, (path, roll) in enumerate(zip(paths, _parsed(paths, workers), strict=True), 1):
        if roll is not None:
            rolls[Path(path).name] = roll
        if done % REPORT_EVERY == 0:
            report(f"parsed {done} of {len(paths)} files")
    if not rolls:
        raise BrunoError("the music21 corpus holds no four-part chorale that could be read")
    return rolls


def _parsed(paths: list[str], workers: int) -> Iterator[NDArray[np.uint8] | None]:
    """`piano_roll` of each of `paths` from that many processes. Ctrl-C, which reaches them too, is left to this one."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(piano_roll, paths, chunksize=4)  # starts the processes, which keep the blocked signal
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield from results
    except BrokenProcessPool:
        raise BrunoError("a process that parsed the music21 corpus was killed; run the command again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def piano_roll(path: str) -> NDArray[np.uint8] | None:
    """Keys that sound on each quarter, (frames, 88), of the four-part piece at `path`; None for any other piece."""
    from music21 import converter

    score = converter.parse(path)
    voices = [part.flatten().notes for part in getattr(score, "parts", ())]
    if len(voices) != VOICES or any(len(voice) == 0 for voice in voices):
        return None
    end = max(float(note.offset + note.quarterLength) for voice in voices for note in voice)
    roll = np.zeros((int(np.ceil(end)), KEYS), dtype=np.uint8)
    for voice in voices:
        for note in voice:
            start, stop = float(note.offset), float(note.offset + note.quarterLength)
            for pitch in note.pitches:
                key = int(pitch.midi) + OCTAVE_UP - LOWEST_MIDI_KEY
                if 0 <= key < KEYS:
                    roll[int(np.ceil(start)) : int(np.ceil(stop)), key] = 1
    return roll
