"""Open-loop planning: the official numbers, the worked examples, and a scalar rasterizer."""

import math
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vad_infos import agents_of

from al_lightning.metrics.functional import (
    agent_raster,
    box_collision,
    displacement_error,
    plan_collision,
    planning_scores,
)
from al_lightning.metrics.functional.agent_raster import fill_polygons

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"


def vad_agents(boxes, attributes):
    """Footprints and presence of agents from boxes (A, 9) and attribute rows (A, 34)."""
    boxes, attributes = torch.as_tensor(boxes).float(), torch.as_tensor(np.asarray(attributes))
    displacements = attributes[:, :12].unflatten(1, (6, 2))
    return agents_of(boxes, displacements, attributes[:, 12:18], attributes[:, 28:], attributes[:, 27])


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "planning_metrics.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def rasters(golden):
    agents = [
        vad_agents(boxes[:n], attributes[:n])
        for boxes, attributes, n in zip(golden["boxes"], golden["attr"], golden["n_agents"], strict=True)
    ]
    return torch.stack([agent_raster(*agent) for agent in agents])


def test_rasters_are_the_official_ones(golden, rasters):
    official = np.unpackbits(golden["occ_first12_packed"], axis=1).reshape(12, 6, 200, 200)
    assert official.any()
    np.testing.assert_array_equal(rasters[:12], official)


def test_every_step_has_the_official_distance_and_collisions(golden, rasters):
    plan, truth = (torch.from_numpy(golden[name]).cumsum(1) for name in ("pred_offsets", "gt_offsets"))
    np.testing.assert_allclose(displacement_error(plan, truth), golden["out_l2"], atol=1e-6)
    np.testing.assert_array_equal(box_collision(truth, rasters), golden["out_gt_coll"])
    np.testing.assert_array_equal(box_collision(plan, rasters), golden["out_pred_coll"])
    np.testing.assert_array_equal(plan_collision(plan, truth, rasters), golden["out_counted"])


def at_step(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_both_conventions():
    scores = planning_scores(at_step(1, 2, 3, 4, 5, 6), at_step(0, 0, 0, 1, 0, 0))
    assert [scores[f"L2_avg_{s}s"].item() for s in (1, 2, 3)] == [1.5, 2.5, 3.5]
    assert [scores[f"L2_at_{s}s"].item() for s in (1, 2, 3)] == [2, 4, 6]
    assert [scores[f"collision_avg_{s}s"].item() for s in (1, 2, 3)] == [0, 1 / 4, pytest.approx(1 / 6)]
    assert [scores[f"collision_at_{s}s"].item() for s in (1, 2, 3)] == [0, 1, 0]


CAR_AHEAD = (0, 12, math.pi / 2, 1.9, 4.6, 17)
TURNING = {"vx": 0.2, "vy": 0.5, "yawrate": 0.2, "nvalid": 4}
EXAMPLES = {  # agent, its motion, plan step, true step, L2 at 1 2 3 s, truth hits, plan hits, counted
    "A": (CAR_AHEAD, {}, (0, 2.0), (0, 1.5), (0.75, 1.25, 1.75), "000011", "000111", "000100"),
    "B": (CAR_AHEAD, {}, (0, 1.5), (0, 2.0), (0.75, 1.25, 1.75), "000111", "000011", "000000"),
    "C": (CAR_AHEAD, {}, (0, 2.0), (0, 2.0), (0, 0, 0), "000111", "000111", "000000"),
    "D": ((0, 5.5, 0, 0.7, 0.7, 2), {}, (0, 1.0), (0, 0.4), (0.9, 1.5, 2.1), "000000", "001111", "001111"),
    "E": ((0, 5, 0, 0.4, 0.4, 12), {}, (0, 1.0), (0, 0.4), (0.9, 1.5, 2.1), "000000", "000000", "000000"),
    "H": (
        (2.6, 6, math.pi / 4, 1.9, 4.6, 23),
        TURNING,
        (0.25, 1.3),
        (-0.6, 1.2),
        (1.283793, 2.139655, 2.995518),
        "000000",
        "011100",
        "011100",
    ),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_worked_examples(example):
    agent, motion, plan, truth, distance, truth_hits, plan_hits, counted = example
    box, attributes = recipes.make_agent(*agent, **motion)
    raster = agent_raster(*vad_agents([box], [attributes]))
    plan, truth = (torch.tensor(step).expand(6, 2).cumsum(0) for step in (plan, truth))
    scores = planning_scores(displacement_error(plan[None], truth[None])[0], at_step(*map(int, counted)))
    np.testing.assert_allclose([scores[f"L2_avg_{s}s"] for s in (1, 2, 3)], distance, atol=1e-6)
    assert box_collision(truth, raster).int().tolist() == list(map(int, truth_hits))
    assert box_collision(plan, raster).int().tolist() == list(map(int, plan_hits))
    assert plan_collision(plan[None], truth[None], raster[None]).int().tolist() == [list(map(int, counted))]


def test_sizes_of_the_worked_rasters():
    raster = agent_raster(*vad_agents(*zip(recipes.make_agent(*CAR_AHEAD), strict=True)))
    rows, columns = raster[0].nonzero().unbind(1)
    assert raster.sum((1, 2)).tolist() == [55] * 6
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (71, 81, 98, 102)
    turning = agent_raster(*vad_agents(*zip(recipes.make_agent(*EXAMPLES["H"][0], **TURNING), strict=True)))
    assert turning.sum((1, 2)).tolist() == [44, 51, 47, 43, 0, 0]


def test_boxes_are_not_modified():
    """The official code turns the angles of the caller's boxes in place, so that a second call sees other boxes."""
    box, attributes = recipes.make_agent(*EXAMPLES["H"][0])
    boxes = torch.tensor([box])
    before = boxes.clone()
    first, second = (agent_raster(*vad_agents(boxes, [attributes])) for _ in range(2))
    assert torch.equal(boxes, before)
    assert torch.equal(first, second)


def line_cells(a, b):
    """Bresenham's line from the left end point, cell by cell."""
    (x, y), (u, v) = sorted((a, b), key=lambda point: point[0])
    down = 1 if v > y else -1
    dx, dy = u - x, abs(v - y)
    major, minor = max(dx, dy), min(dx, dy)
    error = major - 2 * minor
    for _ in range(major + 1):
        yield x, y
        aside = error < 0
        error += 2 * major * aside - 2 * minor
        x, y = (x + aside, y + down) if dy > dx else (x + 1, y + down * aside)


def scalar_fill(corners):
    """The fill rule written out for one polygon: set of (column, row)."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    cells = {cell for a, b in edges for cell in line_cells(a, b)}
    for row in range(min(y for _, y in corners), max(y for _, y in corners)):
        crossings = []
        for a, b in edges:
            (xa, ya), (xb, yb) = (a, b) if a[1] < b[1] else (b, a)
            if ya <= row < yb:
                slope = int(((xb - xa) * 65536) / (yb - ya))
                crossings.append(xa * 65536 + (row - ya) * slope)
        crossings.sort()
        for left, right in zip(crossings[::2], crossings[1::2], strict=True):
            cells |= {(x, row) for x in range(-(-left // 65536), right // 65536 + 1)}
    return {(x, y) for x, y in cells if 0 <= x < 200 and 0 <= y < 200}


coordinate = st.integers(-30, 230)
corner = st.tuples(coordinate, coordinate)


@settings(max_examples=60)
@given(polygons=st.lists(st.lists(corner, min_size=4, max_size=4), min_size=1, max_size=4))
def test_any_quadrilaterals_are_filled_as_the_scalar_rule_says(polygons):
    """Also self-intersecting ones, which tiny rotated boxes round to."""
    layer = torch.arange(len(polygons)) % 2
    raster = fill_polygons(torch.tensor(polygons), layer, 2)
    for index in range(2):
        cells = set().union(*(scalar_fill(p) for p, at in zip(polygons, layer, strict=True) if at == index))
        assert {(x, y) for y, x in raster[index].nonzero().tolist()} == cells


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31))
def test_agents_add_up_in_any_order(seed):
    rng = np.random.default_rng(seed)
    footprints = torch.from_numpy(rng.uniform((-20, -30, -4, 0.3, 0.3), (20, 40, 4, 12, 3), (5, 6, 5)))
    present = torch.from_numpy(rng.random((5, 6)) < 0.7)
    together = agent_raster(footprints, present)
    alone = torch.stack([agent_raster(footprints[i : i + 1], present[i : i + 1]) for i in range(5)]).any(0)
    order = torch.from_numpy(rng.permutation(5))
    assert torch.equal(together, alone)
    assert torch.equal(together, agent_raster(footprints[order], present[order]))
    assert torch.equal(agent_raster(footprints[None], present[None])[0], together)


def test_absent_agents_may_hold_anything():
    footprints = torch.full((2, 6, 5), math.nan)
    assert not agent_raster(footprints, torch.zeros(2, 6, dtype=torch.bool)).any()
    assert agent_raster(torch.zeros(0, 6, 5), torch.zeros(0, 6, dtype=torch.bool)).shape == (6, 200, 200)
    for anything in (footprints, torch.full((2, 6, 5), 2e6), torch.full((2, 6, 5), -math.inf)):
        with pytest.raises(ValueError, match="not finite"):
            agent_raster(anything, torch.ones(2, 6, dtype=torch.bool))


def test_ego_box_at_the_origin_and_at_the_edges():
    def touched(position):
        """Cells whose occupation makes a collision."""
        hits = []
        for row in range(200):
            raster = torch.zeros(200, 200, 200, dtype=torch.bool)
            raster[torch.arange(200), row, torch.arange(200)] = True
            hit = box_collision(torch.tensor(position).expand(200, 2), raster)
            hits += [(row, int(column)) for column in hit.nonzero()]
        return hits

    origin = touched((0.0, 0.0))
    assert origin == [(row, column) for row in range(96, 104) for column in range(98, 102)]
    beyond = touched((0.0, 90.0))
    assert beyond == [(0, column) for column in range(98, 102)]  # smeared along the edge
    assert touched((1e30, 0.0)) == [(row, 199) for row in range(96, 104)]


def test_wrong_input_is_refused():
    good, raster = torch.zeros(2, 6, 2), torch.zeros(2, 6, 200, 200, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"must be \(B, 6, 2\)"):
        displacement_error(good[:, :5], good[:, :5])
    with pytest.raises(ValueError, match="truth is not finite"):
        displacement_error(good, good * math.nan)
    with pytest.raises(ValueError, match="raster"):
        box_collision(good, raster[:1])
    with pytest.raises(ValueError, match="present"):
        agent_raster(torch.zeros(2, 6, 5), torch.zeros(2, 5, dtype=torch.bool))
