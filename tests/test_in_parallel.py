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
