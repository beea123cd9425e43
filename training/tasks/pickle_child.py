"""A program of its own (`training.tasks.pickles` runs it): a pickle on standard input, its plain data as JSON on
standard output.

A pickle can call any function by its name; this reader knows plain containers, numbers, text and numpy arrays and
refuses every other name (Python documentation, "Restricting Globals"). A damaged one can still crash numpy, or ask for
all memory there is: so it has little of it, and can neither write a file nor start a process.
"""

import io
import json
import pickle
import resource
import sys
from typing import Any

import numpy as np

MOST_MEMORY_BYTES = 1 << 29
MOST_SECONDS = 20
ALLOWED = {
    ("builtins", "list"), ("builtins", "dict"), ("builtins", "tuple"),
    ("builtins", "int"), ("builtins", "float"), ("builtins", "str"),
    ("__builtin__", "list"), ("__builtin__", "dict"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"), ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip


class PlainUnpickler(pickle.Unpickler):
    """Knows the names in `ALLOWED` only."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, or `pickle.UnpicklingError`."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")
        return super().find_class(module, name)


def plain(value: Any) -> Any:
    """What JSON does not know by itself: arrays and numbers of numpy."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"it holds a {type(value).__name__}, which is no plain data")


def limit() -> None:
    """Little memory and time, no files, no processes; never more than there was."""
    for what, most in (
        (resource.RLIMIT_AS, MOST_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MOST_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def main() -> None:
    """Read, write; what is wrong goes to standard error, in one line."""
    content = sys.stdin.buffer.read()
    limit()
    try:
        text = json.dumps(PlainUnpickler(io.BytesIO(content), encoding="latin1").load(), default=plain)
    except BaseException as error:  # numpy raises what it likes on damaged data
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
