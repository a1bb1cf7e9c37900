import dataclasses
import itertools

import numpy as np
import pytest
import torch
from fake_driving import driving_annotations, driving_prediction, random_line
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.losses.agents import best_mode, box_codes, detection_losses, match_agents, motion_losses
from al_lightning.losses.map_elements import map_losses, match_elements
from al_lightning.losses.matching import focal_cost, match, sigmoid_focal
from al_lightning.losses.vad import VADLoss, planning_losses
from al_lightning.models.vad import BOUNDARY, DIVIDER, PED_CROSSING

EXTENT = torch.tensor([30.0, 60.0])


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_focal_loss_is_its_formula(seed):
    g = np.random.default_rng(seed)
    logits, targets = 3 * g.standard_normal((4, 3)), g.integers(0, 2, (4, 3))
    p = 1 / (1 + np.exp(-logits))
    expected = np.where(targets == 1, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).sum()
    ours = sigmoid_focal(torch.from_numpy(logits), torch.from_numpy(targets).double())
    assert ours.item() == pytest.approx(expected, rel=1e-9)


def test_focal_cost_is_the_change_of_the_loss_that_a_label_makes():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([2, 0])
    cost = focal_cost(logits, labels)
    for query, (truth, label) in itertools.product(range(4), enumerate(labels)):
        with_label = torch.nn.functional.one_hot(label, 3).double()
        change = sigmoid_focal(logits[query], with_label) - sigmoid_focal(logits[query], torch.zeros(3).double())
        assert cost[query, truth].item() == pytest.approx(change.item(), abs=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), truths=st.integers(0, 6))
def test_no_assignment_is_cheaper(seed, truths):
    cost = torch.from_numpy(np.random.default_rng(seed).random((4, truths)))
    queries, matched = match(cost)
    assert len(queries) == min(4, truths)
    if truths <= 4:
        cheapest = min(
            sum(cost[q, t].item() for t, q in enumerate(order)) for order in itertools.permutations(range(4), truths)
        )
    else:
        cheapest = min(
            sum(cost[q, t].item() for q, t in enumerate(order)) for order in itertools.permutations(range(truths), 4)
        )
    assert cost[queries, matched].sum().item() == pytest.approx(cheapest)


def test_a_prediction_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        match(torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="positive sides"):
        box_codes(torch.zeros(1, 9))


def exact_agents(annotations):
    """Queries that say exactly what is annotated: the truths, then two of background (logits, codes)."""
    codes = box_codes(annotations.boxes[0])
    logits = torch.full((len(codes) + 2, 10), -20.0)
    logits[torch.arange(len(codes)), annotations.labels[0]] = 20.0
    return logits, torch.cat((codes, torch.zeros(2, 10)))


def test_exact_agents_are_matched_to_themselves_and_cost_nothing():
    annotations = driving_annotations(agents=(8, 8))
    logits, codes = exact_agents(annotations)
    labels, truth = annotations.labels[0], box_codes(annotations.boxes[0])
    shuffled = torch.randperm(len(logits), generator=torch.Generator().manual_seed(1))
    queries, boxes = match_agents(logits[shuffled], codes[shuffled], labels, truth, 2.0, 0.25)
    assert torch.equal(shuffled[queries], boxes)
    losses = detection_losses(logits[shuffled][None], codes[shuffled][None], [labels], [truth], [(queries, boxes)])
    assert max(losses).item() < 1e-6


def test_velocities_take_no_part_in_the_matching():
    truth, codes = torch.zeros(2, 10), torch.zeros(2, 10)
    truth[1, 0], codes[0, 0] = 0.1, 0.1
    codes[0, 8], truth[0, 8] = 5.0, 5.0  # would match 0 to 0
    queries, boxes = match_agents(torch.zeros(2, 3), codes, torch.tensor([1, 1]), truth, 2.0, 0.25)
    assert boxes[queries.argsort()].tolist() == [1, 0]


def test_boundaries_and_dividers_are_told_apart():
    """A trajectory forward, slightly askew, along one certain map element."""
    prediction, annotations = driving_prediction(layers=1, lines=1), driving_annotations()
    with torch.no_grad():
        prediction.plan[:] = torch.tensor([0.2, 2.0])
        prediction.lines[0, 0, 0] = torch.stack((torch.full((20,), 0.9), torch.linspace(0, 12, 20)), dim=-1)
        prediction.agent_logits[:] = -9.0
        seen = {}
        for kind in (DIVIDER, PED_CROSSING, BOUNDARY):
            prediction.line_logits[:] = -9.0
            prediction.line_logits[..., kind] = 9.0
            losses = planning_losses(prediction, annotations, torch.tensor([0]))
            seen[kind] = (losses["plan_boundary"] > 0, losses["plan_direction"] > 0)
    assert seen == {DIVIDER: (False, True), PED_CROSSING: (False, False), BOUNDARY: (True, False)}


def test_box_loss_is_a_weighted_l1_distance_divided_by_the_boxes():
    truth = torch.zeros(2, 10)
    codes = torch.zeros(1, 3, 10)
    codes[0, 0] = torch.arange(10.0)
    pairs = (torch.tensor([0, 2]), torch.tensor([0, 1]))
    _, loss = detection_losses(torch.zeros(1, 3, 4), codes, [torch.tensor([1, 2])], [truth], [pairs])
    assert loss.item() == pytest.approx((sum(range(8)) + 0.2 * (8 + 9)) / 2)


def test_class_loss_counts_every_query_and_is_divided_by_the_boxes():
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    pairs = (torch.tensor([1, 3]), torch.tensor([0, 1]))
    loss, _ = detection_losses(logits, torch.zeros(1, 5, 10), [torch.tensor([2, 0])], [torch.zeros(2, 10)], [pairs])
    targets = torch.zeros(5, 4)
    targets[1, 2] = targets[3, 0] = 1.0
    assert loss.item() == pytest.approx(sigmoid_focal(logits[0], targets).item() / 2)


def test_the_best_mode_ends_nearest_or_is_the_first_where_the_end_is_unknown():
    futures = torch.zeros(1, 3, 6, 2)
    futures[0, :, :, 0] = torch.tensor([[1.0], [2.0], [3.0]])
    truth = torch.zeros(1, 6, 2)
    truth[0, :, 0] = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0, 4.0])  # ends at 13, though it begins like no mode
    known = torch.ones(1, 6, dtype=torch.bool)
    assert best_mode(futures, truth, known).tolist() == [1]
    known[0, 5] = False
    assert best_mode(futures, truth, known).tolist() == [0]


def test_motion_losses_look_at_known_steps_of_the_best_mode():
    g = torch.Generator().manual_seed(0)
    futures, truth = torch.randn(1, 4, 3, 6, 2, generator=g), torch.randn(1, 2, 6, 2, generator=g)
    known = torch.rand(1, 2, 6, generator=g) < 0.5
    logits = torch.randn(1, 4, 3, generator=g)
    pairs = (torch.tensor([0, 3]), torch.tensor([1, 0]))
    future_loss, mode_loss = motion_losses(futures, logits, [truth[0]], [known[0]], [pairs])
    mode = best_mode(futures[0, [0, 3]], truth[0, [1, 0]], known[0, [1, 0]])
    total, targets = 0.0, torch.zeros(4, 3)
    for query, box, m in zip((0, 3), (1, 0), mode.tolist(), strict=True):
        total += float(((futures[0, query, m] - truth[0, box]).abs() * known[0, box, :, None]).sum())
        targets[query, m] = 1.0
    assert future_loss.item() == pytest.approx(total / 2, rel=1e-5)
    assert mode_loss.item() == pytest.approx(sigmoid_focal(logits[0], targets).item() / 2)


@pytest.mark.parametrize("closed", [False, True])
def test_any_order_of_a_line_is_as_good(closed):
    orders = random_line(torch.Generator().manual_seed(2), closed)
    logits = torch.tensor([[-20.0, -20.0, -20.0], [-20.0, 20.0, -20.0]])
    for index in range(19 if closed else 2):
        lines = torch.stack((torch.zeros(20, 2), orders[index]))
        (queries, elements), target = match_elements(
            logits, lines / EXTENT, torch.tensor([1]), orders[None] / EXTENT, 2.0, 1.0
        )
        assert (queries.tolist(), elements.tolist()) == ([1], [0])
        torch.testing.assert_close(target[0] * EXTENT, orders[index])
        losses = map_losses(logits[None], lines[None], [torch.tensor([1])], [orders[None]], EXTENT, 2.0, 1.0)
        assert max(losses).item() < 1e-4


def test_map_losses_are_their_formulas():
    orders = random_line(torch.Generator().manual_seed(3), closed=False)
    moved = orders[1] + torch.tensor([0.3, -0.6])
    stretched = orders[0] * torch.tensor([1.0, 2.0])
    for points in (moved, stretched):
        _, point_loss, direction_loss = map_losses(
            torch.zeros(1, 1, 3), points[None, None], [torch.tensor([0])], [orders[None]], EXTENT, 2.0, 1.0
        )
        best = min(orders[:2], key=lambda order: float(((points - order).abs() / EXTENT).sum()))
        assert point_loss.item() == pytest.approx(float(((points - best).abs() / EXTENT).sum()), rel=1e-4)
        a, b = points.diff(dim=0), best.diff(dim=0)
        cosine = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
        assert direction_loss.item() == pytest.approx(float((1 - cosine).sum()), abs=1e-4)


def test_rows_that_only_fill_up_change_nothing():
    prediction, annotations = driving_prediction(B=2), driving_annotations(B=2)
    command = torch.tensor([0, 2])
    losses = VADLoss()(prediction, annotations, command)
    spoiled = dataclasses.replace(annotations, boxes=annotations.boxes.clone(), lines=annotations.lines.clone())
    spoiled.boxes[:, 5:] = float("nan")
    spoiled.lines[:, 4:] = float("nan")
    again = VADLoss()(prediction, spoiled, command)
    assert all(torch.equal(losses[name], again[name]) for name in losses)


def test_empty_scenes_teach_background_and_the_plan():
    prediction = driving_prediction(B=2)
    annotations = driving_annotations(B=2, agents=(0, 3), lines=(0, 2))
    losses = VADLoss()(prediction, annotations, torch.tensor([1, 2]))
    sum(losses.values()).backward()
    expected = sum(sigmoid_focal(logits, torch.zeros_like(logits)) for logits in prediction.agent_logits)
    assert losses["agent_class"].item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert all(losses[name] == 0 for name in ("agent_box", "future", "line_point", "line_direction"))
    assert losses["plan"] > 0


def test_the_weights_are_those_of_the_official_end_to_end_training():
    assert VADLoss().weights == {
        "agent_class": 2.0, "agent_box": 0.25, "future": 0.2, "mode": 0.2, "line_class": 2.0, "line_point": 1.0,
        "line_direction": 0.005, "plan": 1.0, "plan_boundary": 1.0, "plan_collision": 1.0, "plan_direction": 0.5,
    }  # fmt: skip
    assert VADLoss().extent == (30.0, 60.0)


def test_weights_scale_their_loss_and_all_layers_count():
    prediction, annotations, command = driving_prediction(), driving_annotations(), torch.tensor([1])
    once, without = VADLoss()(prediction, annotations, command), VADLoss(plan=0.0)(prediction, annotations, command)
    assert without["plan"] == 0
    assert once["plan"] > 0
    single = dataclasses.replace(
        prediction,
        agent_logits=prediction.agent_logits[[1, 1, 1]],
        agent_boxes=prediction.agent_boxes[[1, 1, 1]],
    )
    last = dataclasses.replace(
        prediction, agent_logits=prediction.agent_logits[1:], agent_boxes=prediction.agent_boxes[1:]
    )
    three, one = (VADLoss()(p, annotations, command) for p in (single, last))
    for name in ("agent_class", "agent_box"):
        assert three[name].item() == pytest.approx(3 * one[name].item(), rel=1e-5)
    assert torch.equal(three["future"], one["future"])


def test_gradients_reach_every_prediction():
    prediction = driving_prediction(B=2, seed=4)
    with torch.no_grad():
        prediction.agent_logits[..., 0] += 4.0
        prediction.line_logits += 2.0
    sum(VADLoss()(prediction, driving_annotations(B=2), torch.tensor([0, 1])).values()).backward()
    for field in dataclasses.fields(prediction):
        gradient = getattr(prediction, field.name).grad
        if field.name == "bev":
            assert gradient is None
        else:
            assert torch.isfinite(gradient).all(), field.name
            assert gradient.abs().max() > 0, field.name
