"""Read noise of cells that were left alone: how much, how slow, and whether it is a telegraph signal.

Of N reads g_n of a cell, x_n = g_n - <g>, with the autocorrelation  a_k = sum_n x_n x_(n+k) / sum_n x_n^2.

    fast part       sigma_f^2 = sigma^2 (1 - a_0'),   a_0' = 2 a_1 - a_2: what the slow part would have at lag 0
    slow part       the rest; its correlation time is where a_k first falls below a_0' / e
    telegraph       two states: means m_0, m_1 of the reads on either side of the threshold that parts them best
                    (Otsu, IEEE Trans. SMC 9, 62, 1979), taken for states where  D = sqrt(2) (m_1 - m_0) /
                    sqrt(s_0^2 + s_1^2) > 4  (D of Ashman, Bird, Zepf, Astron. J. 108, 2348, 1994) and the cell goes to
                    and fro between them; it is in a state once a read comes within a quarter of the way of its mean
"""

from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Array
from bruno_spice.calibration.measured.text import content
from bruno_spice.calibration.measured.units import UNITS, plain_unit
from bruno_spice.calibration.rram.tables import LARGEST_S, sound
from bruno_spice.devices.cards.measured import CellNoise, ReadNoise
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import MOST_CELLS, NUMBER

EXP_1 = float(np.exp(-1.0))
LEAST_READS = 200
LEAST_VISITS = 3
"""Of either state, for a telegraph signal."""
APART = 4.0
"""D from which two means are two states: the halves of a normal distribution have 2.6, of an even one 3.5."""
MOST_FILE_CELLS = 200


def read_traces(path: Path, unit: str = "S") -> Array:
    """The reads (cells, reads) in S of the file at `path`: a cell a line, or, where that is more, a cell a column."""
    where = printable(str(path))
    si, factor = UNITS.get(plain_unit(unit), ("", 1.0))
    if si != "S":
        raise InputError(f"--noise-unit {shown(unit)}: reads are conductances, in S, mS, uS or nS")
    text = content(path).decode("utf-8-sig", "replace")
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.replace(",", " ").replace(";", " ").split()
        if odd := next((cell for cell in cells if not NUMBER.fullmatch(cell)), None):
            raise InputError(
                f"{where}: line {number}: {shown(odd)} is not a number; reads stand alone, without a header"
            )
        if cells:
            rows.append(cells)
        if len(rows) * len(rows[0] if rows else []) > MOST_CELLS:
            raise InputError(f"{where}: more than {MOST_CELLS:,} reads")
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"{where}: lines of unequal length; each cell needs as many reads as the others")
    reads = np.array(rows, dtype=np.float64) * factor
    reads = reads if reads.shape[1] >= reads.shape[0] else reads.T
    if reads.shape[1] < LEAST_READS or len(reads) > MOST_FILE_CELLS:
        raise InputError(f"{where}: {len(reads)} cells of {reads.shape[1]} reads; noise needs {LEAST_READS} of each")
    if not np.all(np.abs(reads) <= LARGEST_S) or np.any(reads.mean(axis=1) <= 0.0):
        raise InputError(f"{where}: a read beyond {LARGEST_S:g} S, or a cell whose mean is not above 0 S")
    return reads


def read_noise(reads: Array, rate_hz: float) -> ReadNoise:
    """Of cells with `reads` (cells, reads) in S, `rate_hz` a second; no two of the same mean conductance."""
    with sound("--noise"):
        cells = [cell_noise(each, rate_hz) for each in reads]
        return ReadNoise(rate_hz=rate_hz, cells=sorted(cells, key=lambda each: each.conductance_s))


def cell_noise(reads: Array, rate_hz: float) -> CellNoise:
    """Of one cell with `reads` (n,) in S."""
    mean, sigma = float(reads.mean()), float(reads.std())
    if sigma == 0.0:
        return CellNoise(conductance_s=mean, sigma=0.0, fast_sigma=0.0)
    correlation = autocorrelation(reads)
    slow = float(np.clip(2 * correlation[1] - correlation[2], 0.0, 1.0))
    below = np.flatnonzero(correlation < slow * EXP_1)
    significant = slow > 3.0 / len(reads) ** 0.5 and below.size > 0
    jump_s, dwell_s = telegraph(reads, rate_hz)
    return CellNoise(
        conductance_s=mean,
        sigma=sigma / mean,
        fast_sigma=sigma / mean * (1.0 - slow) ** 0.5,
        correlation_time_s=float(below[0]) / rate_hz if significant else None,
        jump_s=jump_s,
        dwell_s=dwell_s,
    )


def autocorrelation(reads: Array) -> Array:
    """a_k of `reads` (n,), k = 0...n/2, by a Fourier transform."""
    x = reads - reads.mean()
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    whole = np.fft.irfft(power)[: len(x) // 2]
    return np.asarray(whole / whole[0])


def telegraph(reads: Array, rate_hz: float) -> tuple[float | None, list[float] | None]:
    """Height in S and mean dwell times in s (lower, upper) of two states; None where there are none."""
    values = np.sort(reads)
    count, sums, squares = np.arange(1, len(values)), np.cumsum(values)[:-1], np.cumsum(values**2)[:-1]
    below = sums / count
    above = (values.sum() - sums) / (len(values) - count)
    cut = int(np.argmax(count * (len(values) - count) * (above - below) ** 2))
    low, high = float(below[cut]), float(above[cut])
    var_low = squares[cut] / count[cut] - low**2
    var_high = ((values**2).sum() - squares[cut]) / (len(values) - count[cut]) - high**2
    if high - low <= APART * (max(var_low + var_high, 0.0) / 2) ** 0.5:
        return None, None
    state = _states(reads, low, high)
    edges = np.flatnonzero(np.diff(state)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(state)]]))
    which = state[np.concatenate([[0], edges])]
    visits = [runs[which == each] for each in (0, 1)]
    if min(map(len, visits)) < LEAST_VISITS:
        return None, None
    return high - low, [float(each.mean()) / rate_hz for each in visits]


def _states(reads: Array, low: float, high: float) -> Array:
    """0 or 1 at every read; it changes where the reads come within a quarter of the way to the other state's mean."""
    quarter = (high - low) / 4
    seen = np.where(reads < low + quarter, 0.0, np.where(reads > high - quarter, 1.0, np.nan))
    known = np.flatnonzero(~np.isnan(seen))
    last = np.searchsorted(known, np.arange(len(reads)), side="right") - 1
    return np.asarray(seen[known[np.maximum(last, 0)]])
