"""Pickles that may hold plain values and arrays, read without running anything else that a pickle could ask for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.core import multiarray, numeric

from al_lightning.types import DataFileError

PLAIN_KINDS = "biufcSUmM"
"""Arrays of truth values, numbers, text, bytes, dates; not of objects or records, whose memory a pickle can forge."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain containers, text, numbers and NumPy arrays, and refuses everything else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}".replace("numpy._core.", "numpy.core.")  # NumPy 2 writes the first
        if name not in MAKERS:
            raise pickle.UnpicklingError(f"it holds {module_name}.{global_name}, not only plain values and arrays")
        return MAKERS[name]


def _dtype(kind: str, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    made = np.dtype(kind, align, copy)
    if made.kind not in PLAIN_KINDS:
        raise pickle.UnpicklingError(f"it holds an array of {made}, not only plain values and arrays")
    return made


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes as {encoding!r}, not as latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


MAKERS = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": multiarray._reconstruct,  # type: ignore[attr-defined]
    "numpy.core.multiarray.scalar": multiarray.scalar,  # type: ignore[attr-defined]
    "numpy.core.numeric._frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]
    # bytes in the protocols up to 2, which mmcv and mmengine write
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _no_bytes,
}


def read_pickle(path: Path, what: str) -> Any:
    """Read a pickle of plain containers, text, numbers and NumPy arrays.

    Args:
        path: the file.
        what: is read, for messages.

    Raises:
        DataFileError: the file is missing or damaged, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(0)
            return _PlainUnpickler(file).load()
    except OSError as error:
        raise DataFileError(f"cannot read the {what} of {path}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        doubt = "" if start.startswith(pickle.PROTO) else f"; it begins with {start!r}: is it a pickle?"
        raise DataFileError(f"cannot read the {what} of {path}: {error}{doubt}") from error
