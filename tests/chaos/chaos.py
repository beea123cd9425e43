"""Simulations under everything that may happen to them from outside; no result may be lost or differ in one bit.

While `work.py` simulates in every simulator that is installed, its workers, their forks and itself get SIGKILL,
SIGSTOP, SIGINT and SIGTERM, stored results and compiled models are damaged bit by bit, and the disk with the store
fills up and empties again (a small tmpfs where that can be mounted, a limit on the size of files elsewhere). Where it
was ended it is started again, until it has run to its end.

    python tests/chaos/chaos.py COUNT [SEED [FIRST]]

FIRST: the job to go on at, where an earlier run was ended; a round's chance depends on its first job alone.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

WORK = Path(__file__).with_name("work.py")
ROOT = Path(__file__).parents[2]
ENTRY_BYTES = 16384
MODELS_BYTES = 2 << 20
HITS_PER_START = {"worker": 1.0, "parent": 0.3, "flip": 2.0, "disk": 0.2}
"""How often each happens in the time that a worker takes to start, or the parent: with more, none would live."""
MOST_STARTS = 200
ROUND = 500
"""Jobs with a store of their own: with more, what starts again would read what is stored for longer than it lives."""


@dataclass
class Outcome:
    """What disturbed jobs gave: how many results, which are lost or differ, and what was done to them."""

    results: int = 0
    wrong: list[str] = field(default_factory=list)
    starts: int = 0
    done: Counter[str] = field(default_factory=Counter)
    owed: list[tuple[str, signal.Signals]] = field(default_factory=list)
    """What must be done to each simulator at least once."""


def start(first: int, count: int, store: Path, *more: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "linked"), "OMP_NUM_THREADS": "1", "BRUNO_CACHE": str(store)}
    command = [sys.executable, str(WORK), str(first), str(count), str(store), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )


@dataclass
class Pace:
    """How long parent and worker take to start; said by each start, as other work on the machine comes and goes."""

    parent_s: float = 0.0
    worker_s: float = 0.0

    def keep(self, since_s: float, said: str) -> list[str]:
        """Take it from what a parent that was started at `since_s` says first; returns the simulators that it names."""
        took_s, *simulators = said.split()
        self.parent_s, self.worker_s = time.monotonic() - since_s, float(took_s)
        return simulators

    def rate_hz(self, kind: str) -> float:
        """How often `kind` happens."""
        return HITS_PER_START[kind] / (self.parent_s if kind == "parent" else self.worker_s)


@dataclass
class Calm:
    """What undisturbed jobs from number `first` gave: the digest of each, the pace, the simulators."""

    first: int
    digests: list[str]
    pace: Pace
    simulators: list[str]


def undisturbed(count: int, store: Path, first: int = 0) -> Calm:
    pace, started_s = Pace(), time.monotonic()
    with start(first, count, store) as work:
        simulators = pace.keep(started_s, work.stdout.readline().removeprefix("start"))
        lines = work.stdout.read().splitlines()
    assert lines[-1:] == ["done"], lines[-1:]
    found = dict(line.split(" ", 1) for line in lines[:-1])
    return Calm(first, [found[str(number)] for number in range(count)], pace, simulators)


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """Whether `folder` is a disk of its own of that size now."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in listed.split()]


def program(pid: int) -> str:
    """The simulator that the process is a worker of, or is itself; empty for one that has just ended or started."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return "vacask" if b"vacask" in line else "ngspice" if b"ngspice_worker" in line else ""


class Disturber(threading.Thread):
    """Lets things happen to `work`, which stores its results in `store`, until it is told to stop."""

    def __init__(
        self, work: "subprocess.Popen[str]", store: Path, calm: Calm, dice: random.Random, outcome: Outcome
    ) -> None:
        super().__init__()
        self.work, self.store, self.dice, self.outcome = work, store, dice, outcome
        self.pace = calm.pace
        self.over = threading.Event()

    def run(self) -> None:
        next_s = time.monotonic()
        while not self.over.wait(0.005 if self.outcome.owed else max(next_s - time.monotonic(), 0)):
            with contextlib.suppress(OSError, IndexError):  # whom it was meant for has gone
                self.surely()
                if time.monotonic() >= next_s:
                    kinds = list(HITS_PER_START)
                    rates_hz = [self.pace.rate_hz(kind) for kind in kinds]
                    next_s = time.monotonic() + self.dice.expovariate(sum(rates_hz))
                    getattr(self, f"hit_{self.dice.choices(kinds, rates_hz)[0]}")()

    def surely(self) -> None:
        """Of each simulator one worker is killed and one stopped in the midst of a job."""
        working = {program(worker): worker for worker in children(self.work.pid) if children(worker)}
        for name, number in list(self.outcome.owed):
            if name in working and self.send(working.pop(name), number):
                self.outcome.owed.remove((name, number))

    def send(self, victim: int, number: signal.Signals) -> bool:
        """Whether `victim` was still a worker, or what one runs; one just killed has no command line any more."""
        name = program(victim)
        if not name:
            return False
        os.kill(victim, number)
        self.outcome.done[f"{number.name} to a worker of {name}"] += 1
        return True

    def hit_worker(self) -> None:
        victim = self.dice.choice(children(self.work.pid))
        if self.dice.random() < 0.5:
            victim = self.dice.choice([victim, *children(victim)])
        number = self.dice.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM])
        self.send(victim, number)
        if number == signal.SIGSTOP and self.dice.random() < 0.5:
            self.over.wait(self.dice.uniform(0.0, 1.0))
            os.kill(victim, signal.SIGCONT)

    def hit_parent(self) -> None:
        number = self.dice.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM])
        self.work.send_signal(number)
        self.outcome.done[f"{number.name} to their parent"] += 1
        if number == signal.SIGSTOP:
            self.over.wait(self.dice.uniform(0.0, 2.0))
            self.work.send_signal(signal.SIGCONT)

    def hit_flip(self) -> None:
        kinds = {".wave": "stored result", ".osdi": "compiled model"}
        chosen = self.dice.choice([path for suffix in kinds for path in self.store.glob(f"??/*{suffix}")])
        kind = kinds[chosen.suffix]
        self.outcome.done[f"flipped bit in a {kind}"] += flip(chosen, self.dice)

    def hit_disk(self) -> None:
        ballast = self.store / "ballast"
        if not os.path.ismount(self.store):
            return
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
                file.flush()
        self.outcome.done["full disk"] += 1
        self.over.wait(self.dice.uniform(0.5, 3.0))
        ballast.unlink()


def flip(path: Path, dice: random.Random) -> bool:
    """Change one bit of the file at `path`; whether it has any: what a full disk left over may be empty."""
    data = bytearray(path.read_bytes())
    if not data:
        return False
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    with path.open("r+b") as file:
        file.write(data)
    return True


def disturbed(folder: Path, calm: Calm, dice: random.Random) -> Outcome:
    """Run the jobs of `calm` to their end with a store in `folder`, whatever happens, and compare.

    Then once more in peace, with a bit flipped in every fifth stored result.
    """
    outcome = Outcome(owed=[(name, how) for name in calm.simulators for how in (signal.SIGKILL, signal.SIGSTOP)])
    store = folder / "store"
    with small_disk(store, len(calm.digests) * ENTRY_BYTES + MODELS_BYTES) as mounted:
        finished = False
        while not finished or outcome.owed:
            for path in store.glob("??/*.wave") if finished else ():
                path.unlink()  # all came before what is owed: once more
            outcome.starts += 1
            assert outcome.starts < MOST_STARTS, "it never comes to its end"
            limited = not mounted and outcome.starts % 2 == 1
            outcome.done["full disk"] += limited
            with start(calm.first, len(calm.digests), store, *(["512"] if limited else [])) as work:
                disturber = Disturber(work, store, calm, dice, outcome)
                disturber.start()
                finished = compare(work, calm, outcome)
                disturber.over.set()
                disturber.join()
        for path in sorted(store.glob("??/*.wave"))[::5]:
            flip(path, dice)
        with start(calm.first, len(calm.digests), store) as work:
            if not compare(work, calm, outcome):
                outcome.wrong.append("no end in peace")
        if outcome.wrong:
            evidence = Path(tempfile.mkdtemp(prefix="bruno-chaos-"))
            shutil.copytree(folder, evidence, dirs_exist_ok=True)
            print(f"  what undisturbed and disturbed jobs stored lies in {evidence}", flush=True)
    return outcome


def compare(work: "subprocess.Popen[str]", calm: Calm, outcome: Outcome) -> bool:
    """Take the results of `work`, just started, as they come; whether it came to its end. Then none may be missing."""
    seen = set()
    finished, started_s = False, time.monotonic()
    for line in work.stdout:
        first, _, said = line.strip().partition(" ")
        if first == "start" and len(said.split()) == 1 + len(calm.simulators):
            calm.pace.keep(started_s, said)
        if first.isdigit() and (len(said) == len(calm.digests[0]) or said.startswith("lost")):  # not cut short
            seen.add(int(first))
            if said != calm.digests[int(first)]:
                outcome.wrong.append(line.strip())
        finished = first == "done"
    outcome.results += len(seen)
    if finished:
        outcome.wrong += [f"{number} missing" for number in range(len(calm.digests)) if number not in seen]
    return finished


def main() -> None:
    count, seed, begin = (int(given) for given in (*sys.argv[1:], "0", "0")[:3])
    total = Outcome()
    for first in range(begin, count, ROUND):
        dice = random.Random(f"{seed} {first}")
        with tempfile.TemporaryDirectory() as name:
            folder, started_s = Path(name), time.monotonic()
            calm = undisturbed(min(ROUND, count - first), folder / "calm", first)
            calm_s, started_s = time.monotonic() - started_s, time.monotonic()
            outcome = disturbed(folder, calm, dice)
        names, disturbed_s = " and ".join(calm.simulators), time.monotonic() - started_s
        print(
            f"{first + len(calm.digests)} of {count} jobs in {names}: undisturbed {calm_s:.0f} s, disturbed "
            f"{disturbed_s:.0f} s, {outcome.results} results in {outcome.starts} starts, "
            f"{len(outcome.wrong)} lost or different",
            flush=True,
        )
        for line in outcome.wrong[:20]:
            print(f"  {line}", flush=True)
        total.results += outcome.results
        total.starts += outcome.starts
        total.wrong += outcome.wrong
        total.done += outcome.done
    print(f"{count - begin} jobs: {total.results} disturbed results in {total.starts} starts")
    print(", ".join(f"{number} times {what}" for what, number in total.done.items()))
    print(f"{len(total.wrong)} lost or different")
    sys.exit(bool(total.wrong))


if __name__ == "__main__":
    main()
