"""Ten stochastic passes of VAD with the image trunk run once, beside one whole pass and beside ten."""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.driving import DrivingInputs, commanded_positions
from al_lightning.losses import VADLoss
from al_lightning.metrics import OpenLoopPlanning
from al_lightning.models import vad_nano, vad_tiny
from al_lightning.models.vad import monte_carlo_dropout
from al_lightning.tasks import PlanningTask
from al_lightning.tasks.frames import PlanningBatch
from al_lightning.tasks.planning import pass_seed
from al_lightning.types import Batch
from benchmarks.harness import Result, interleaved, seconds
from benchmarks.rig import driving_inputs


@torch.inference_mode()
def run(full: bool) -> list[Result]:
    """VAD-tiny at its images' size, or VAD-nano at small ones."""
    torch.manual_seed(0)
    if full:
        name, network, inputs, passes = "VAD-tiny", vad_tiny(frozen_trunk=False), driving_inputs((384, 640)), 10
    else:
        name, network, inputs, passes = "VAD-nano", vad_nano(), driving_inputs((32, 64)), 2
    task = PlanningTask(network.eval(), VADLoss(), OpenLoopPlanning(), passes=passes)
    batch: PlanningBatch = Batch(index=torch.tensor([0]), inputs=inputs)

    def shared() -> Tensor:
        task.frame_by_frame.restart()
        return task.predict_step(batch, 0)

    torch.testing.assert_close(shared()[0], _whole_passes(task, inputs), rtol=1e-4, atol=1e-4)
    name = f"{name}, the plan and {passes} stochastic ones"
    features = network.extract(inputs.images)
    trunk, rest = seconds(lambda: network.extract(inputs.images)), seconds(lambda: network.drive(features, inputs))
    note = f"a pass: image trunk {trunk:.2f} s, what follows {rest:.2f} s"
    one = interleaved(shared, lambda: network(inputs), rounds=3)
    whole = interleaved(shared, lambda: _whole_passes(task, inputs), rounds=1)
    return [Result(name, *one, "one whole pass", note), Result(name, *whole, f"{passes + 1} whole passes")]


def _whole_passes(task: PlanningTask, inputs: DrivingInputs) -> Tensor:
    """Plans (1 + K, T, 2), the network run from the images each time."""
    plans = [task(inputs).plan]
    with torch.random.fork_rng([]), monte_carlo_dropout(task.network):
        for number in range(task.passes):
            torch.manual_seed(pass_seed(task.seed, 0, number))
            plans.append(task(inputs).plan)
    return torch.cat([commanded_positions(plan, inputs.command) for plan in plans])
