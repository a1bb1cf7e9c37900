import math

import pytest
import torch
from fake_driving import driving_annotations, driving_inputs

from al_lightning.acquisition import ErrorWindows
from al_lightning.acquisition.functional import soft_collision
from al_lightning.driving import BOUNDARY, PADDING, DrivingAnnotations, footprints
from al_lightning.types import Batch, Summary

PASSES, STEPS = 3, 6


def batch(rows: int, known=None) -> Batch:
    inputs = driving_inputs(rows, image_size=(2, 2))
    inputs.ego_future = torch.randn(rows, STEPS, 2, generator=torch.Generator().manual_seed(1))
    inputs.ego_future_mask = torch.ones(rows, STEPS, dtype=torch.bool) if known is None else known
    return Batch(torch.arange(10, 10 + rows), inputs)


def plans(rows: int) -> torch.Tensor:
    return torch.randn(rows, 1 + PASSES, STEPS, 2, generator=torch.Generator().manual_seed(2))


def test_rows_become_scenes_with_the_window_that_deviates_most() -> None:
    known = torch.ones(7, STEPS, dtype=torch.bool)
    known[[2, 6], 4] = False  # neither of these has five known steps
    given, planned = batch(7, known), plans(7)
    summarizer = ErrorWindows(horizon=5)
    rows = Summary(torch.tensor([4, 4, 4, 9, 9, 9, 9]), summarizer(given, planned))
    scenes = summarizer.group(rows)
    assert scenes.units.tolist() == [4, 9]
    error = planned - given.inputs.ego_future.cumsum(1)[:, None]  # (R, 1 + K, T, 2)
    for scene, candidates in enumerate(([0, 1], [3, 4, 5])):
        for number in range(1 + PASSES):
            worst = max(candidates, key=lambda row: error[row, number, :5].square().sum())
            window = scenes["error_window"] if number == 0 else scenes["error_window_samples"][:, number - 1]
            assert torch.allclose(window[scene], error[worst, number, :5].double(), atol=1e-5)
            if number == 0:
                assert scenes["reference_row"][scene] == 10 + worst
                assert torch.equal(scenes["reference_plan"][scene], planned[worst, 0])


def test_a_scene_without_a_known_window_and_a_batch_without_its_way_are_refused() -> None:
    summarizer = ErrorWindows()
    known = torch.zeros(2, STEPS, dtype=torch.bool)
    with pytest.raises(ValueError, match="unit 3 is too short: of none of its keyframes the next 5 steps"):
        summarizer.group(Summary(torch.tensor([3, 3]), summarizer(batch(2, known), plans(2))))
    blind = batch(2)
    blind.inputs.ego_future = None
    with pytest.raises(ValueError, match="the dataset gives none"):
        summarizer(blind, plans(2))
    with pytest.raises(ValueError, match="plans must be"):
        summarizer(batch(2), plans(2)[:, 0])
    with pytest.raises(ValueError, match="horizon must be positive"):
        ErrorWindows(horizon=0)


def labeled_scenes() -> Summary:
    fields = {"reference_row": torch.tensor([7, 3]), "reference_plan": plans(2)[:, 0].cumsum(1)}
    return Summary(torch.tensor([5, 1]), fields)


@pytest.mark.parametrize("boundaries", [True, False])
def test_the_safety_state_is_measured_at_the_reference_row_alone(boundaries: bool) -> None:
    asked = []

    def annotations(row: int) -> DrivingAnnotations:
        asked.append(row)
        return one(driving_annotations(1, seed=row))

    summarizer = ErrorWindows(horizon=4, scale=2.0, boundaries=boundaries, safety_weights=(1.0, 1.0, 0.5, 0.0))
    scenes = summarizer.with_labels(labeled_scenes(), annotations)
    assert asked == [7, 3]
    for scene, row in enumerate(asked):
        truth = one(driving_annotations(1, seed=row))
        agents, present = footprints(truth)
        pieces = [
            torch.stack((line[0, i], line[0, i + 1]))
            for line, label in zip(truth.lines, truth.line_labels, strict=True)
            if label == BOUNDARY
            for i in range(19)
        ]
        assert pieces
        cost = soft_collision(
            scenes["reference_plan"][scene], agents, present, 2.0, torch.stack(pieces) if boundaries else None
        )
        expected = cost[:4] * torch.tensor([1.0, 1.0, 0.5, 0.0])
        assert torch.allclose(scenes["safety"][scene], expected)


def test_a_scene_with_nothing_around_is_safe() -> None:
    truth = one(driving_annotations(1))
    truth.labels[:], truth.line_labels[:] = PADDING, PADDING
    scenes = ErrorWindows().with_labels(labeled_scenes(), lambda row: truth)
    assert torch.equal(scenes["safety"], torch.zeros(2, 5, dtype=torch.float64))


def test_a_plan_into_a_car_costs_one_and_a_plan_beside_it_what_its_distance_says() -> None:
    truth = one(driving_annotations(1))
    truth.labels[1:], truth.line_labels[:] = PADDING, PADDING
    truth.boxes[0] = torch.tensor([0.0, 10.0, 0.0, 2.0, 4.0, 1.5, -math.pi, 0.0, 0.0])  # along +y: yaw 90 degrees
    truth.futures[0], truth.future_mask[0] = 0.0, True
    plan = torch.tensor([[0.0, 2.0], [0.0, 7.0], [0.0, 9.0], [3.0, 10.0], [0.0, 15.0], [9.0, 9.0]])
    scenes = Summary(torch.tensor([0]), {"reference_row": torch.tensor([0]), "reference_plan": plan[None]})
    distance = torch.tensor([6.0, 1.0, 0.0, 2.0, 3.0], dtype=torch.float64)
    found = ErrorWindows().with_labels(scenes, lambda row: truth)["safety"][0]
    assert torch.allclose(found, torch.exp(-distance), atol=1e-5)


def one(annotations: DrivingAnnotations) -> DrivingAnnotations:
    """The only sample of a batch."""
    values = {name: getattr(annotations, name) for name in annotations.__dataclass_fields__}
    return DrivingAnnotations(**{name: None if value is None else value[0] for name, value in values.items()})
