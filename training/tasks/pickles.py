"""Reading foreign pickles without running what is in them.

A pickle can call any function by its name; this reader knows plain containers, numbers, text and numpy arrays and
refuses every other name. (Python documentation, "Restricting Globals".)
"""

import io
import pickle
from pathlib import Path
from typing import Any

from devices.errors import InputError

ALLOWED = {
    ("builtins", "list"), ("builtins", "dict"), ("builtins", "set"), ("builtins", "tuple"),
    ("builtins", "int"), ("builtins", "float"), ("builtins", "str"), ("builtins", "bytes"), ("builtins", "complex"),
    ("__builtin__", "list"), ("__builtin__", "dict"), ("__builtin__", "set"),
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


def read_pickle(path: Path) -> Any:
    """What is in the pickle at `path`, if it is plain data. Raises `InputError` otherwise."""
    try:
        return PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, IndexError, ImportError) as error:
        raise InputError(f"{path}: refused as a pickle of plain data ({error})") from None
