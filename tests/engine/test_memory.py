"""Memory that stays with the process; in one of its own, for it cannot be undone."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from al_lightning.engine.memory import keep_freed_memory

def faults(size=2**26):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * size  # of tensors, which are aligned, small blocks nearby decide whether one fits into the gap of another
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = sum(faults() for _ in range(10))
kept = keep_freed_memory()
faults()
print(int(kept), usual, sum(faults() for _ in range(10)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux' C library keeps freed memory")
def test_kept_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, usual, after = map(int, done.stdout.split())
    if not kept:
        pytest.skip("the C library is not glibc")
    assert usual > 10 * 2**26 / 2**17  # pages have at most 128 KiB
    assert after * 10 < usual
