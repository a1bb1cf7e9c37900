"""What the reader of pickles takes, and what it refuses to touch."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from al_lightning.data.pickles import read_pickle
from al_lightning.types import DataFileError

PLAIN = {
    "text": "ä", "bytes": b"\x00\xff", "numbers": [1, -2, 2**70, 0.5, True, None], "pair": (1, [2]),
    "boxes": np.arange(12, dtype=np.float32).reshape(3, 4), "columns": np.asfortranarray(np.eye(3)),
    "names": np.array(["car", "ped"]), "valid": np.array([True, False]), "empty": np.zeros((0, 7)),
    "scalar": np.float64(2.5), "time": np.datetime64("2026-01-01"),
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "file.pkl"
        path.write_bytes(content)
        return read_pickle(path, "keyframes")

    return read


def same(a, b):
    """Whether two plain values are equal in type, dtype, order of keys and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)  # velocities may be NaN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_of_every_protocol_are_read(read, protocol):
    assert same(read(pickle.dumps(PLAIN, protocol)), PLAIN)


def test_what_numpy_2_writes_is_read(read):
    content = pickle.dumps(PLAIN["boxes"], 2).replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert same(read(content), PLAIN["boxes"])


class Call:
    """A pickle of it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "payload",
    [Call(os.system, "false"), Call(eval, "1"), Call(getattr, "", "upper"), Call(io.BytesIO, b""), os.path.join,
     [np.array([Call(eval, "1")], dtype=object)]],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 4])
def test_functions_and_classes_are_refused(read, payload, protocol):
    with pytest.raises(DataFileError, match=r"keyframes of .*file\.pkl: it holds .*not only plain values and arrays"):
        read(pickle.dumps([payload], protocol))


def test_a_codec_other_than_that_of_bytes_is_refused(read):
    content = pickle.dumps(b"\xff", 2).replace(b"X\x06\x00\x00\x00latin1", b"X\x05\x00\x00\x00rot13")
    assert b"rot13" in content
    with pytest.raises(DataFileError, match="bytes as 'rot13'"):
        read(content)


@pytest.mark.parametrize("kind", ["O8", "V8", "i4,O"])
def test_arrays_of_forged_memory_are_refused(read, kind):
    """Such a dtype, told by its state that it holds no objects, would take these bytes for the address of one."""
    content = pickle.dumps(np.frombuffer(struct.pack("<q", 0x41414141), "f8"), 2)
    content = content.replace(b"X\x02\x00\x00\x00f8", b"X" + struct.pack("<I", len(kind)) + kind.encode())
    assert kind.encode() in content
    with pytest.raises(DataFileError, match="it holds an array of"):
        read(content)


@pytest.mark.parametrize("content", [b"", b"\x80\x04no pickle", pickle.dumps(PLAIN)[:-9], pickle.dumps(PLAIN)[:50]])
def test_damage_is_named(read, content):
    with pytest.raises(DataFileError, match=r"cannot read the keyframes of .*file\.pkl"):
        read(content)
