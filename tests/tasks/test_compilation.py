"""Networks as kernels of `torch.compile`: what is traced, and that it stays the same network."""

import copy
import dataclasses

import pytest
import torch
from fake_driving import driving_inputs
from fake_occformer import occformer_inputs, tiny_occformer
from fake_occupancy import TinyNetwork
from torch import nn
from torch._dynamo.utils import counters

from al_lightning.models import EgoStatusPlanner, flashocc_nano, vad_nano
from al_lightning.tasks import OccupancyTask, compile_network
from al_lightning.types import CameraInputs, VoxelGrid


def flashocc():
    torch.manual_seed(0)
    grid = VoxelGrid((-16.0, -16.0, -2.0), (16.0, 16.0, 4.4), (16, 16, 2))
    return flashocc_nano(grid, 5, (32, 64), (2.0, 18.0, 2.0))


def camera_inputs():
    inputs = occformer_inputs(samples=1)
    return dataclasses.replace(inputs, images=torch.randn(*inputs.images.shape[:3], 32, 64))


CASES = {
    "flashocc": (flashocc, camera_inputs),
    "occformer": (tiny_occformer, occformer_inputs),
    "vad": (vad_nano, driving_inputs),
    "status": (EgoStatusPlanner, driving_inputs),
}


@pytest.fixture
def traced(monkeypatch):
    """Networks are traced as for kernels, but run as they are: what can be traced shows in seconds."""
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: setattr(
        self, "_compiled_call_impl", torch.compile(self._call_impl, backend="eager")
    ))  # fmt: skip
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_networks_are_traced_but_for_what_depends_on_values(name, training, traced):
    make, inputs = CASES[name]
    network = make().train(training)
    subject = OccupancyTask(copy.deepcopy(network), None, None)
    compile_network(subject)
    given = inputs()
    with torch.set_grad_enabled(training):
        torch.manual_seed(0)
        expected = network(given)
        torch.manual_seed(0)
        found = subject(given)
    for value, other in zip(vars(expected).values(), vars(found).values(), strict=True):
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(other, value)
    assert counters["stats"]["unique_graphs"] > 0
    assert all("torch.compiler.disable" in reason for reason in counters["graph_break"]), counters["graph_break"]


def test_a_task_without_a_network_is_refused():
    with pytest.raises(TypeError, match="Identity has no network"):
        compile_network(nn.Identity())


def test_kernels_give_the_same_with_the_same_random_numbers():
    inputs = CameraInputs(torch.randn(4, 1, 3, 8, 8), *[torch.zeros(())] * 5)
    tasks = [OccupancyTask(TinyNetwork(), None, None) for _ in range(2)]
    tasks[1].load_state_dict(tasks[0].state_dict())
    compile_network(tasks[1])
    assert list(tasks[0].state_dict()) == list(tasks[1].state_dict())
    found = []
    for task in tasks:
        torch.manual_seed(0)
        prediction = task(inputs).logits
        prediction.square().sum().backward()
        found.append((prediction.detach(), [p.grad for p in task.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-4)
