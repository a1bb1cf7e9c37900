import math

import pytest
import torch
from fake_driving import driving_annotations, driving_inputs

from al_lightning.acquisition import ErrorWindows
from al_lightning.acquisition.functional import soft_collision
from al_lightning.driving import BOUNDARY, PADDING, DrivingAnnotations, OtherAgents, footprints
from al_lightning.types import Batch, Summary

PASSES, STEPS = 3, 6


def batch(rows: int, known=None, inside=None) -> Batch:
    inputs = driving_inputs(rows, image_size=(2, 2))
    inputs.ego_future = torch.randn(rows, STEPS, 2, generator=torch.Generator().manual_seed(1))
    inputs.ego_future_mask = torch.ones(rows, STEPS, dtype=torch.bool) if known is None else known
    inputs.unit_mask = inside
    return Batch(torch.arange(10, 10 + rows), inputs)


def plans(rows: int) -> torch.Tensor:
    return torch.randn(rows, 1 + PASSES, STEPS, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("reference", ["own", "plan"])
@pytest.mark.parametrize("clips", [True, False])
def test_rows_become_scenes_with_the_window_that_deviates_most(reference: str, clips: bool) -> None:
    known = torch.ones(16, STEPS, dtype=torch.bool)
    known[[1, 9], 4] = False  # neither of these has five known steps
    left = torch.tensor([*range(6, -1, -1), *range(8, -1, -1)])  # keyframes that follow in the unit
    inside = torch.arange(STEPS) < left[:, None] if clips else None
    given, planned = batch(16, known, inside), plans(16)
    summarizer = ErrorWindows(horizon=5, reference=reference)
    rows = Summary(torch.tensor([4] * 7 + [9] * 9), summarizer(given, planned))
    scenes = summarizer.group(rows)
    assert scenes.units.tolist() == [4, 9]
    error = planned - given.inputs.ego_future.cumsum(1)[:, None]  # (R, 1 + K, T, 2)
    # Five more keyframes follow the first two of seven and the first four of nine.
    counted = ([0], [7, 8, 10]) if clips else ([0, *range(2, 7)], [7, 8, *range(10, 16)])
    for scene, candidates in enumerate(counted):
        worst = [max(candidates, key=lambda row: error[row, k, :5].square().sum()) for k in range(1 + PASSES)]
        assert scenes["reference_row"][scene] == 10 + worst[0]
        assert torch.equal(scenes["reference_plan"][scene], planned[worst[0], 0])
        assert torch.allclose(scenes["error_window"][scene], error[worst[0], 0, :5].double(), atol=1e-5)
        for k in range(PASSES):
            moment = worst[1 + k] if reference == "own" else worst[0]
            window = scenes["error_window_samples"][scene, k]
            assert torch.allclose(window, error[moment, 1 + k, :5].double(), atol=1e-5)


def test_error_weights_choose_the_moment_and_scale_the_pattern() -> None:
    """Eq. 2: squares are weighted to find t*, deviations to make e_i, both with a_d."""
    given, planned, weights = batch(9), plans(9), torch.tensor([0.0, 4.0, 0.5, 0.0])
    windows = ErrorWindows(horizon=4, error_weights=tuple(weights.tolist()))
    scene = windows.group(Summary(torch.zeros(9).long(), windows(given, planned)))
    error = (planned - given.inputs.ego_future.cumsum(1)[:, None])[:, :, :4]
    size = (weights * error.square().sum(-1)).sum(-1)  # (R, 1 + K)
    worst = size.argmax(0).tolist()
    assert int(scene["reference_row"]) == 10 + worst[0] != 10 + int(error[:, 0].square().sum((1, 2)).argmax())
    assert torch.allclose(scene["error_window"][0], (weights[:, None] * error[worst[0], 0]).double(), atol=1e-5)
    for k in range(1, 1 + PASSES):
        found = scene["error_window_samples"][0, k - 1]
        assert torch.allclose(found, (weights[:, None] * error[worst[k], k]).double(), atol=1e-5)


def test_rows_of_units_may_be_mixed() -> None:
    windows, units = ErrorWindows(), torch.arange(40) % 5
    rows = Summary(units, windows(batch(40), plans(40)))
    parts = [windows.group(rows.take((units == unit).nonzero()[:, 0])) for unit in range(5)]
    scenes, expected = windows.group(rows), Summary.concatenate(parts)
    assert scenes.units.tolist() == expected.units.tolist() == list(range(5))
    assert all(torch.equal(scenes[name], expected[name]) for name in expected.fields)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_no_length_is_refused_when_it_is_named(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        ErrorWindows(scale=scale)


@pytest.mark.parametrize("name", ["error_weights", "safety_weights"])
@pytest.mark.parametrize("weights", [(1.0,) * 4, (1.0, 1.0, 1.0, 1.0, -0.5), (1.0, 1.0, 1.0, 1.0, math.inf)])
def test_weights_that_do_not_fit_are_refused_when_they_are_named(name: str, weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 5 finite numbers that are not negative"):
        ErrorWindows(**{name: weights})


def test_without_passes_there_are_no_samples() -> None:
    summarizer = ErrorWindows()
    scene = summarizer.group(Summary(torch.zeros(6).long(), summarizer(batch(6), plans(6)[:, :1])))
    assert scene["error_window_samples"].shape == (1, 0, 5, 2)


def test_a_scene_without_a_known_window_and_a_batch_without_its_way_are_refused() -> None:
    summarizer = ErrorWindows()
    known = torch.zeros(8, STEPS, dtype=torch.bool)
    with pytest.raises(ValueError, match="unit 3 is too short: of none of its 8 keyframes the next 5 steps"):
        summarizer.group(Summary(torch.full((8,), 3), summarizer(batch(8, known), plans(8))))
    inside = torch.arange(STEPS).expand(5, -1) < 4
    with pytest.raises(ValueError, match="unit 3 is too short: of none of its 5 keyframes"):
        summarizer.group(Summary(torch.full((5,), 3), summarizer(batch(5, inside=inside), plans(5))))
    blind = batch(2)
    blind.inputs.ego_future = None
    with pytest.raises(ValueError, match="the dataset gives none"):
        summarizer(blind, plans(2))
    with pytest.raises(ValueError, match="plans must be"):
        summarizer(batch(2), plans(2)[:, 0])
    with pytest.raises(ValueError, match="horizon must be positive"):
        ErrorWindows(horizon=0)
    with pytest.raises(ValueError, match="objects must be one of all, targets, got 'near'"):
        ErrorWindows(objects="near")
    with pytest.raises(ValueError, match="reference must be one of own, plan"):
        ErrorWindows(reference="mean")


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


@pytest.mark.parametrize("objects", ["all", "targets"])
def test_an_object_that_is_no_target_can_make_a_plan_dangerous(objects: str) -> None:
    """A truck 40 m ahead, beyond what VAD is trained with, that the plan has reached after two seconds."""
    truth = one(driving_annotations(1))
    truth.labels[:], truth.line_labels[:] = PADDING, PADDING
    boxes = torch.zeros(2, 9)
    boxes[0, :7] = torch.tensor([0.0, 40.0, 0.0, 2.0, 4.0, 1.5, -math.pi])
    truth.others = OtherAgents(
        boxes, torch.tensor([1, PADDING]), torch.zeros(2, 6, 2), torch.ones(2, 6).bool(), torch.zeros(2, 6)
    )
    plan = torch.stack((torch.zeros(6), 10.0 * torch.arange(1, 7)), dim=1)
    fields = {"reference_row": torch.tensor([0]), "reference_plan": plan[None]}
    windows = ErrorWindows(objects=objects)
    found = windows.with_labels(Summary(torch.tensor([0]), fields), lambda row: truth)["safety"][0]
    expected = torch.exp(-torch.tensor([28.0, 18.0, 8.0, 0.0, 8.0], dtype=torch.float64))
    assert torch.allclose(found, expected if objects == "all" else torch.zeros(5, dtype=torch.float64))
    shown = windows.true_portrait(Summary(torch.tensor([0]), fields), truth)
    assert torch.equal(shown["safety"], found)
    assert shown["agent_labels"].tolist() == ([1] if objects == "all" else [])
    assert shown["agents"].shape[1:] == (7, 5)
    assert shown["present"].all()


def one(annotations: DrivingAnnotations) -> DrivingAnnotations:
    """The only sample of a batch."""
    values = {name: getattr(annotations, name) for name in annotations.__dataclass_fields__}
    return DrivingAnnotations(**{name: None if value is None else value[0] for name, value in values.items()})
