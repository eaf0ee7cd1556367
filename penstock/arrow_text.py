"""Columns of text made in memory of ours and taken over by Polars as they are, by Arrow's C data interface.

The layout is Arrow's *Variable-size Binary View*: 16 bytes a text. Up to 12 bytes of text stand in them behind the
length; of a longer one its first 4 bytes, the number of a buffer and the place in it.
"""

import ctypes
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

INLINE_BYTES = 12
_NULLABLE = 2


def text_column(words: Words, lengths: Ints, there: Bools | None = None) -> pl.Series:
    """Return a String column without copying ``words``: a row a text, padded with zero bytes, of at least 16 bytes.

    The texts must be ASCII: neither Polars nor this function looks. Where not ``there`` is null.
    """
    size, width = len(words), 8 * words.shape[1]
    views = np.empty((size, 4), np.uint32)
    views[:, 0] = lengths
    views[:, 1:] = words.view(np.uint32)[:, :3]
    long = lengths > INLINE_BYTES
    if long.any():
        rows = np.flatnonzero(long)
        views[rows, 2] = 0
        views[rows, 3] = rows * width
    else:
        words = words[:0]
    return pl.Series(_Texts(views, words, there))


class _Schema(ctypes.Structure):
    """Arrow's ``ArrowSchema``."""

    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


class _Array(ctypes.Structure):
    """Arrow's ``ArrowArray``."""

    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.c_void_p),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


_lent: dict[int, tuple[Any, ...]] = {}
"""What Polars holds of ours, until it lets go."""
_tickets = count(1)


def _release_schema(address: int) -> None:
    _Schema.from_address(address).release = None


def _release_array(address: int) -> None:
    array = _Array.from_address(address)
    _lent.pop(array.private_data, None)
    array.release = None


_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_SCHEMA_RELEASE, _ARRAY_RELEASE = _Release(_release_schema), _Release(_release_array)
for _callback in (_SCHEMA_RELEASE, _ARRAY_RELEASE):
    # A column may be let go when this module is gone already, at the interpreter's end.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class _Texts:
    """An array that is handed over once."""

    def __init__(self, views: npt.NDArray[np.uint32], data: Words, there: Bools | None) -> None:
        self._views, self._data = views, data
        self._there = None if there is None else np.packbits(there, bitorder="little")
        self._nulls = 0 if there is None else int(len(there) - np.count_nonzero(there))

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        """Return the capsules of the schema and of the array (see Arrow's PyCapsule interface)."""
        ticket = next(_tickets)
        sizes = np.array([self._data.nbytes], np.int64)
        valid = None if self._there is None else self._there.ctypes.data
        buffers = (ctypes.c_void_p * 4)(valid, self._views.ctypes.data, self._data.ctypes.data, sizes.ctypes.data)
        schema = _Schema(b"vu", b"", None, _NULLABLE, 0, None, None, _address(_SCHEMA_RELEASE), None)
        array = _Array(
            len(self._views), self._nulls, 0, len(buffers), 0, ctypes.addressof(buffers), None, None,
            _address(_ARRAY_RELEASE), ticket,
        )  # fmt: skip
        self._structures = schema, array  # which the capsules point to
        _lent[ticket] = (self, buffers, sizes)
        return (
            _new_capsule(ctypes.addressof(schema), b"arrow_schema", None),
            _new_capsule(ctypes.addressof(array), b"arrow_array", None),
        )


def _address(callback: Any) -> int | None:
    return ctypes.cast(callback, ctypes.c_void_p).value
