"""Two processes with a sample each have, on average, the losses of one process with both samples."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fake_driving import driving_annotations, driving_prediction

from al_lightning.losses.matching import average_count, average_total
from al_lightning.losses.occformer_masks import MaskWeights, Truth, stage_losses
from al_lightning.losses.vad import VADLoss

SHAPE, K = (4, 4, 2), 4


def driving_batch():
    """Five objects and four lines in one sample, two and one in the other."""
    prediction, annotations = driving_prediction(B=2), driving_annotations(B=2)
    annotations.labels[1, 2:], annotations.line_labels[1, 1:] = -1, -1
    return prediction, annotations, torch.tensor([1, 2])


def driving_sample(b):
    prediction, annotations, command = driving_batch()
    layered = ("agent_logits", "agent_boxes", "line_logits", "lines")
    parts = {
        field.name: getattr(prediction, field.name)[(slice(None), [b]) if field.name in layered else [b]]
        for field in dataclasses.fields(prediction)
    }
    truth = {field.name: getattr(annotations, field.name) for field in dataclasses.fields(annotations)}
    truth = {name: None if value is None else value[[b]] for name, value in truth.items()}
    return type(prediction)(**parts), type(annotations)(**truth), command[[b]]


def mask_losses(rows):
    """Mask and dice losses of some of two samples with three classes and one, all voxels read."""
    g = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(2, 5, K + 1, generator=g), torch.randn(2, 5, *SHAPE, generator=g)
    semantics = torch.stack((torch.randint(3, SHAPE, generator=g), torch.full(SHAPE, 3)))
    truths = [Truth.of(semantics[b], torch.ones(SHAPE, dtype=torch.bool)) for b in rows]
    weight = torch.tensor([1.0, 2.0, 3.0, 7.0, 0.1])
    losses = stage_losses(classes[rows], masks[rows], truths, weight, torch.ones(K), 400, MaskWeights())
    return {"mask": losses[1].item(), "dice": losses[2].item()}


def measured(rank):
    found = {name: loss.item() for name, loss in VADLoss()(*driving_sample(rank)).items()}
    found |= mask_losses([rank])
    own = torch.tensor([1.0, 4.0][rank])
    found["total"], found["kept"] = average_total(own).item(), own.item()
    found["count"], found["none"] = average_count([1, 4][rank], own.device), average_count([0, 1][rank], own.device)
    return found


def take_part(rank, folder):
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    try:
        torch.save(measured(rank), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes finds; the second one is this one."""
    folder = tmp_path_factory.mktemp("losses")
    threads = torch.get_num_threads()
    other = mp.spawn(take_part, args=(str(folder),), nprocs=1, join=False)
    take_part(1, str(folder))
    other.join()
    torch.set_num_threads(threads)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_totals_are_averaged_and_left_alone(found):
    assert [one["total"] for one in found] == [2.5, 2.5]
    assert [one["kept"] for one in found] == [1.0, 4.0]
    assert [one["count"] for one in found] == [2.5, 2.5]
    assert [one["none"] for one in found] == [1.0, 1.0]
    assert average_total(torch.tensor(3.0)) == 3.0  # alone


def test_the_mean_of_the_processes_is_the_loss_of_the_whole_batch(found):
    whole = {name: loss.item() for name, loss in VADLoss()(*driving_batch()).items()} | mask_losses([0, 1])
    assert {name: (found[0][name] + found[1][name]) / 2 for name in whole} == pytest.approx(whole, rel=1e-5)
    assert {name for name, value in whole.items() if value == 0} <= {"plan_boundary"}
