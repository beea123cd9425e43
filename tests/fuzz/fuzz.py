"""Read many damaged, hostile and odd files of every kind, and count what must not happen.

python tests/fuzz/fuzz.py COUNT [--seed N] [--jobs N] [--seconds S] [--kinds a,b] [--out FOLDER]
python tests/fuzz/fuzz.py 1 --kinds KIND --again SEED

Counted are tracebacks (an exception that is no sentence of the project, an exit code that is none of 0, 1, 2), hangs
(more than `LONGEST_S` of processor time, or `LONGEST_WAIT_S` in all), crashes of the process, commands that a file
brought with it and that ran, escape codes that reached what is printed, and numbers changed on disk that were taken for
good. Each input is drawn from its seed, so that it can be had again; those that fail are left in FOLDER as files.
Prints JSON; exit code 1 where anything was counted.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LONGEST_S = 30.0
LONGEST_WAIT_S = 150.0
"""Several times `LONGEST_S`, since other programs may hold the processor."""
MOST_BYTES = 12 << 30
FAULTS = ("traceback", "hang", "crash", "executed", "escape", "believed")


def one(kind_name: str, seed: int, folder: Path) -> dict[str, Any]:
    """What became of the input of `kind_name` that `seed` draws."""
    from kinds import KINDS, UNCHANGED, Believed
    from mutate import mutated

    kind, rng = KINDS[kind_name], random.Random(seed)
    canary = Path(os.environ["FUZZ_CANARY"])
    data = rng.choice(kind.seeds())
    if kind_name not in UNCHANGED:
        data = mutated(data, rng, list(kind.lines), str(canary))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    began, fault, said, code = time.monotonic(), "", "", None
    try:
        found = kind.read(folder, data, rng)
        said, code = found.err, found.code
        if found.code not in (0, 1, 2) or "Traceback" in found.err:
            fault = "traceback"
        elif "\x1b" in found.out + found.err:
            fault = "escape"
    except Believed as error:
        fault, said = "believed", str(error)
    except Exception:  # whatever escapes a reader is the fault that is looked for
        fault, said = "traceback", traceback.format_exc()
    if canary.exists():
        canary.unlink()
        fault = "executed"
    if any(folder.rglob("PWNED*")):
        fault = "executed"
    if fault and data:
        (folder.parent / "failed").mkdir(exist_ok=True)
        (folder.parent / "failed" / f"{kind_name}_{seed}").write_bytes(data)
    return {"fault": fault, "said": said[-3000:], "took_s": time.monotonic() - began, "code": code}


def prepared(folder: str, kinds: list[str]) -> None:
    """Make this process one that reads inputs of `kinds` in `folder`."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1] / "linked"), str(HERE.parents[1])]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.environ |= {"FUZZ_CANARY": f"{folder}/PWNED", "FUZZ_FOLDER": folder}
    from kinds import prepare

    prepare(kinds)


def worker(pipe: Connection, folder: str, kinds: list[str]) -> None:
    """Read inputs as they are named, until the pipe closes."""
    log = os.open(f"{folder}/worker.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    prepared(folder, kinds)
    pipe.send(None)
    while True:
        try:
            kind, seed = pipe.recv()
        except EOFError:
            return
        pipe.send(one(kind, seed, Path(folder) / "input"))


class Process:
    """A worker and the input that it has."""

    def __init__(self, out: Path, kinds: list[str]) -> None:
        self.folder = tempfile.mkdtemp(prefix="fuzz-", dir=out)
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=worker, args=(theirs, self.folder, kinds), daemon=False)
        self.process.start()
        theirs.close()
        self.task: tuple[str, int] | None = None
        self.began, self.began_cpu_s = time.monotonic(), 0.0

    def give(self, task: tuple[str, int]) -> None:
        """Let it read the input `task`."""
        self.task, self.began, self.began_cpu_s = task, time.monotonic(), self.cpu_s()
        self.pipe.send(task)

    def cpu_s(self) -> float:
        """Processor time so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def hangs(self) -> bool:
        """Whether it has its input for too long."""
        waited = time.monotonic() - self.began
        return waited > LONGEST_WAIT_S or (waited > LONGEST_S and self.cpu_s() - self.began_cpu_s > LONGEST_S)

    def end(self, out: Path) -> None:
        """Kill it and keep the inputs that failed in it."""
        self.process.kill()
        self.process.join()
        failed = Path(self.folder) / "failed"
        if failed.is_dir():
            shutil.copytree(failed, out / "failed", dirs_exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def fuzz(
    count: int, seed: int, jobs: int, kinds: list[str], out: Path, seconds: float = float("inf")
) -> dict[str, Any]:
    """Read `count` inputs in `jobs` processes, or those of `seconds`; what must not happen, and the first of them."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1] / "linked"), str(HERE.parents[1])]
    from kinds import KINDS

    weights = [KINDS[name].weight for name in kinds]
    drawn = random.Random(seed).choices(kinds, weights, k=count)
    tasks = iter([(name, seed * 10_000_000 + n) for n, name in enumerate(drawn)])
    counts, faults, codes = Counter[str](), list[dict[str, Any]](), Counter[str]()
    slowest: tuple[float, str] = (0.0, "")
    done, began, said_at = 0, time.monotonic(), time.monotonic()
    workers = [Process(out, kinds) for _ in range(jobs)]
    while workers:
        for at, each in enumerate(workers):
            result: dict[str, Any] | None = None
            try:
                if each.pipe.poll(0.02):
                    result = each.pipe.recv()
                elif each.task and each.hangs():
                    result = {"fault": "hang", "said": "", "took_s": LONGEST_S}
                else:
                    continue
            except (EOFError, OSError):
                result = {"fault": "crash", "said": f"exit code {each.process.exitcode}", "took_s": 0.0}
            if each.task and result is not None:
                name, number = each.task
                done += 1
                counts[name] += 1
                slowest = max(slowest, (round(result["took_s"], 1), f"{name} {number}"))
                codes[f"{name} {result.get('code')}"] += 1
                if result["fault"]:
                    faults.append({"kind": name, "seed": number, **result})
                if result["fault"] in ("hang", "crash"):
                    each.end(out)
                    workers[at] = each = Process(out, kinds)
                    continue
                each.task = None
            task = next(tasks, None) if time.monotonic() - began < seconds else None
            if task is None:
                each.end(out)
                workers.remove(each)
                break
            each.give(task)
        if sys.stderr.isatty() and time.monotonic() - said_at > 1:
            said_at = time.monotonic()
            sys.stderr.write(f"\r{done} of {count} inputs, {len(faults)} faults, {said_at - began:.0f} s ")
    by_fault = Counter(fault["fault"] for fault in faults)
    return {
        "inputs": done,
        "seconds": round(time.monotonic() - began, 1),
        "slowest": slowest,
        "counts": {name: by_fault[name] for name in FAULTS},
        "kinds": dict(counts),
        "exit_codes": dict(sorted(codes.items())),
        "faults": faults[:200],
    }


def main() -> int:
    """Read the command line and fuzz."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1] / "linked"), str(HERE.parents[1])]
    from kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--again", type=int, help="read the one input of --kinds that this seed draws, here")
    parser.add_argument("--out", type=Path, default=Path("reports/fuzz"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.again is not None:
        folder = tempfile.mkdtemp(prefix="fuzz-", dir=options.out.resolve())
        prepared(folder, [options.kinds])
        again = one(options.kinds, options.again, Path(folder) / "input")
        print(f"{again}\nthe input is in {folder}")
        return 1 if again["fault"] else 0
    found = fuzz(
        options.count, options.seed, options.jobs, options.kinds.split(","), options.out.resolve(), options.seconds
    )
    (options.out / "fuzz.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: value for key, value in found.items() if key != "faults"}, indent=1))
    for fault in found["faults"][:20]:
        print(f"{fault['fault']}: {fault['kind']} {fault['seed']}: {fault['said'][-300:]}")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
