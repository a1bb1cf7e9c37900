import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.driving import commanded
from al_lightning.losses.planning import (
    plan_boundary,
    plan_collision,
    plan_direction,
    plan_regression,
)

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "vad_plan_losses.npz"
KNOWN = torch.ones(1, 6, dtype=torch.bool)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file}


def arguments(golden):
    """Inputs of the golden file in our terms: metres, command as a number, masks of bool."""
    return {
        "command": golden["ego_fut_cmd"].argmax(dim=1),
        "mask": golden["ego_fut_masks"].bool(),
        "lines": golden["lane_preds"] * torch.tensor([30.0, 60.0]) + torch.tensor([-15.0, -30.0]),
    }


def losses(golden, plan):
    a = arguments(golden)
    trajectory = commanded(plan, a["command"])
    agents = [golden[name] for name in ("agent_preds", "agent_fut", "agent_scores", "agent_mode_scores")]
    return {
        "plan_reg": plan_regression(plan, a["command"], golden["ego_fut_gt"], a["mask"]),
        "plan_bound": plan_boundary(trajectory, a["mask"], a["lines"], golden["lane_scores"][..., 2]),
        "plan_col": plan_collision(trajectory, a["mask"], *agents),
        "plan_dir": 0.5 * plan_direction(trajectory, a["mask"], a["lines"], golden["lane_scores"][..., 0]),
    }


@pytest.mark.parametrize("name", ["plan_reg", "plan_bound", "plan_col", "plan_dir"])
def test_values_and_gradients_are_the_official_ones(golden, name):
    plan = golden["ego_fut_preds"].clone().requires_grad_()
    loss = losses(golden, plan)[name]
    loss.backward()
    assert loss.item() == pytest.approx(golden[f"loss_{name}"].item(), rel=1e-6)
    expected = golden[f"grad_loss_{name}"]
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(plan.grad, expected, atol=1e-7, rtol=1e-5)


def straight(speed=2.0):
    """Six steps forward (1, 6, 2)."""
    return torch.tensor([0.0, speed]).repeat(1, 6, 1)


def line_at(x, y=(-30.0, 30.0)):
    """A straight line along y, 100 points (1, 1, 100, 2)."""
    return torch.stack((torch.full((100,), x), torch.linspace(*y, 100)), dim=-1)[None, None]


CERTAIN = torch.ones(1, 1)


def test_a_boundary_within_the_margin_costs_what_is_missing():
    loss = plan_boundary(straight(60 / 99), KNOWN, line_at(0.25, (0.0, 60.0)), CERTAIN)
    assert loss.item() == pytest.approx(0.75, abs=1e-5)
    assert plan_boundary(straight(), KNOWN, line_at(1.5), CERTAIN) == 0
    assert plan_boundary(straight(), KNOWN, line_at(0.25), 0.4 * CERTAIN) == 0


def test_after_a_crossing_boundaries_cost_nothing():
    across = line_at(0.0).flip(-1)  # along x at y = 0
    way = torch.zeros(1, 6, 2)
    way[0, :, 1] = torch.tensor([0.5, 0.0, -1.0, 0.0, 0.0, 0.0])
    way[0, 0, 0] = 0.3030303
    start_above = plan_boundary(way, KNOWN, across + torch.tensor([0.0, 0.1]), CERTAIN)
    assert start_above == 0  # the first step crosses already
    unmoved = plan_boundary(way, KNOWN, across - torch.tensor([0.0, 0.1]), CERTAIN)
    assert unmoved.item() == pytest.approx((2 * (1 - 0.6)) / 6, abs=1e-3)


@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_a_boundary_belong_to_it(end):
    """The first step runs exactly through the first, or the last, point of the line."""
    way = torch.zeros(1, 6, 2)
    way[0, 0, 1] = 0.5
    line = line_at(0.25, (0.0, 30.0)).flip(-1)
    line = line.flip(2) if end else line
    assert plan_boundary(way, KNOWN, line, CERTAIN) == 0
    aside = plan_boundary(way, KNOWN, line + torch.tensor([0.125, 0.0]), CERTAIN)
    assert aside.item() == pytest.approx(1 - math.hypot(0.125, 0.25), rel=1e-5)


def agents(*rows):
    """Vehicles (x, y, vx, vy) of one mode (class 0, certain)."""
    rows = torch.tensor(rows)
    futures = rows[:, 2:].view(1, -1, 1, 1, 2).expand(-1, -1, -1, 6, -1)
    scores = torch.zeros(1, len(rows), 10)
    scores[..., 0] = 0.9
    return rows[None, :, :2], futures, scores, torch.ones(1, len(rows), 1)


def test_x_and_y_gaps_are_those_of_different_agents():
    standing = torch.zeros(1, 6, 2)
    both = agents([0.5, 2.5, 0.0, 0.0], [2.5, 0.25, 0.0, 0.0])
    loss = plan_collision(standing, KNOWN, *both)
    assert loss.item() == pytest.approx(((1.5 - 0.5) + (3.0 - 0.25)) / 2, abs=1e-6)
    assert plan_collision(standing, KNOWN, *agents([0.5, 3.1, 0.0, 0.0])) == 0  # out of reach


def test_only_certain_vehicles_count_and_only_in_their_likeliest_mode():
    standing = torch.zeros(1, 6, 2)
    where, futures, scores, modes = agents([0.5, 0.5, 0.0, 0.0])
    assert plan_collision(standing, KNOWN, where, futures, scores, modes) > 0
    assert plan_collision(standing, KNOWN, where, futures, scores / 2, modes) == 0
    assert plan_collision(standing, KNOWN, where, futures, scores.roll(8, dims=-1), modes) == 0  # a pedestrian
    away = torch.cat((futures, futures + 50.0), dim=2)
    assert plan_collision(standing, KNOWN, where, away, scores, torch.tensor([[[0.2, 0.8]]])) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_the_angle_to_a_divider_ignores_its_sense(turned):
    divider = line_at(0.5)
    divider = divider.flip(2) if turned else divider
    way = 2.0 * torch.tensor([math.sin(0.3), math.cos(0.3)]).repeat(1, 6, 1)
    way[:, 1:, 0] *= -1  # zigzag back, so that it stays near: the first step is never looked at
    loss = plan_direction(way, KNOWN, divider, CERTAIN)
    near = (way.cumsum(dim=1)[0, :, 0] - 0.5).abs() < 1.999
    assert loss.item() == pytest.approx(0.3 * near.float().mean().item(), abs=1e-4)
    assert plan_direction(way, KNOWN, line_at(10.0), CERTAIN) == 0
    assert plan_direction(0.05 * way, KNOWN, divider, CERTAIN) == 0


def test_at_its_end_a_divider_points_as_its_last_piece():
    bent = torch.tensor([[-2.0, -3.0], [-1.0, -3.0], [0.0, -2.0]])[None, None]  # ends with 45 degrees
    loss = plan_direction(straight(0.5) * torch.tensor([0.0, 0.5]), KNOWN, bent + torch.tensor([0.0, 2.0]), CERTAIN)
    assert loss.item() == pytest.approx(math.pi / 4, abs=1e-5)


@pytest.mark.parametrize("plan", [torch.zeros(1, 6, 2), straight(), torch.full((1, 6, 2), 1e-20)])
def test_gradients_are_finite_where_nothing_moves(plan):
    plan = plan.clone().requires_grad_()
    lines = torch.zeros(1, 2, 20, 2).requires_grad_()  # all points of an element in one place
    scores = torch.ones(1, 2)
    where, futures, classes, modes = agents([0.0, 0.0, 0.0, 0.0])
    loss = (
        plan_boundary(plan, KNOWN, lines, scores)
        + plan_direction(plan, KNOWN, lines, scores)
        + plan_collision(plan, KNOWN, where, futures, classes, modes)
    )
    loss.backward()
    assert torch.isfinite(plan.grad).all()
    assert torch.isfinite(lines.grad).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_masks_remove_steps_and_averages_keep_their_denominator(seed):
    g = torch.Generator().manual_seed(seed)
    plan, target = torch.randn(2, 3, 6, 2, generator=g), torch.randn(2, 6, 2, generator=g)
    command = torch.randint(0, 3, (2,), generator=g)
    mask = torch.rand(2, 6, generator=g) < 0.5
    total = sum(
        abs(float(plan[b, command[b], t, c] - target[b, t, c]))
        for b in range(2)
        for t in range(6)
        for c in range(2)
        if mask[b, t]
    )
    assert plan_regression(plan, command, target, mask).item() == pytest.approx(total / (2 * 3 * 6 * 2), rel=1e-5)


def test_gradients_reach_agents_and_boundaries():
    lines = line_at(0.25).requires_grad_()
    plan_boundary(straight(), KNOWN, lines, CERTAIN).backward()
    where, futures, scores, modes = agents([0.5, 1.0, 0.0, 2.0])
    where.requires_grad_()
    plan_collision(straight(), KNOWN, where, futures, scores, modes).backward()
    assert lines.grad.abs().max() > 0
    assert where.grad.abs().max() > 0
