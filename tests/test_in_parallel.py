import subprocess
import sys
import threading

import pytest
import torch

from al_lightning import compiled
from al_lightning.compiled import in_parallel


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=["torch's threads", "others"], autouse=True)
def team(request, monkeypatch):
    if request.param == "others":
        monkeypatch.setattr(compiled, "_TEAM", None)
    elif compiled._TEAM is None:
        pytest.skip("torch has no threads of OpenMP here")


def test_each_item_is_worked_on_once(threads):
    done = []
    in_parallel(done.append, (i for i in range(1000)))
    assert sorted(done) == list(range(1000))


def test_all_threads_work(threads):
    together = threading.Barrier(threads)
    in_parallel(lambda item: together.wait(timeout=60), range(threads))


def test_an_error_of_any_thread_is_raised(threads):
    def work(item):
        if item == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        in_parallel(work, range(20))


def test_an_interrupt_that_c_drops_is_raised(monkeypatch):
    monkeypatch.setattr(compiled, "_TEAM", lambda *_: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        in_parallel(print, range(3))


FORKED = """
import os, torch
from al_lightning.compiled import in_parallel
torch.set_num_threads(3)
in_parallel(lambda item: None, range(9))
child = os.fork()
if not child:
    done = []
    in_parallel(done.append, range(9))
    os._exit(len(done))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert done.stdout == "9\n", done.stderr
