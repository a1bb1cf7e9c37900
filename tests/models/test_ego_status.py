import pytest
import torch
from fake_driving import driving_inputs

from al_lightning.driving import commanded_positions
from al_lightning.models import EgoStatusPlanner
from al_lightning.models.vad import monte_carlo_dropout


def test_an_untrained_planner_drives_on_as_before() -> None:
    inputs = driving_inputs(4, image_size=(2, 2))
    plan = EgoStatusPlanner()(inputs).plan
    assert plan.shape == (4, 3, 6, 2)
    assert torch.equal(plan, inputs.ego_history[:, None, -1:].expand(4, 3, 6, 2))


def test_an_untrained_planner_begins_a_scene_at_the_measured_speed() -> None:
    inputs = driving_inputs(4, image_size=(2, 2), new_scene=True)
    plan = EgoStatusPlanner()(inputs).plan
    assert (plan[..., 0] == 0).all()
    assert torch.equal(plan[..., 1], (0.5 * inputs.can_bus[:, 13])[:, None, None].expand(4, 3, 6))


@pytest.mark.parametrize("new_scene", [False, True])
def test_it_looks_at_what_was_measured_by_then_and_at_nothing_else(new_scene: bool) -> None:
    """At the start of a scene the history is made from the future; the sign of the steering depends on the town."""
    torch.manual_seed(0)
    planner = EgoStatusPlanner().eval()
    torch.nn.init.normal_(planner.correction.weight)
    plan = planner(driving_inputs(3, image_size=(2, 2), new_scene=new_scene)).plan
    assert not torch.allclose(plan[:, 0], plan[:, 1])
    moves = {("can_bus", k): 7 <= k < 16 for k in range(18)} | {("ego_status", k): False for k in range(9)}
    moves |= {("ego_history", k): not new_scene for k in range(2)}
    for (name, position), moved in {**moves, ("images", 0): False, ("ego_future", 0): False}.items():
        changed = driving_inputs(3, image_size=(2, 2), new_scene=new_scene)
        getattr(changed, name)[1, position] += 1
        other = planner(changed, torch.randn(3, 0, 0)).plan
        assert torch.equal(other[1], plan[1]) != moved, (name, position)
        assert torch.equal(other[0], plan[0])


def test_it_learns_to_brake_within_seconds() -> None:
    torch.manual_seed(0)
    planner = EgoStatusPlanner(dropout=0.0)
    optimizer = torch.optim.AdamW(planner.parameters(), lr=3e-3)
    inputs = driving_inputs(64, image_size=(2, 2))
    pace = inputs.ego_history[:, -1].norm(dim=1)[:, None, None]
    truth = (pace * torch.linspace(1, 0, 6)[:, None] * torch.tensor([0.0, 1.0])).cumsum(1)
    errors = []
    for _ in range(300):
        error = (commanded_positions(planner(inputs).plan, inputs.command) - truth).norm(dim=-1).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]


def test_dropout_makes_passes_differ_and_nothing_is_carried() -> None:
    torch.manual_seed(0)
    planner = EgoStatusPlanner(hidden=(32,), dropout=0.5)
    torch.nn.init.normal_(planner.correction.weight)
    inputs = driving_inputs(2, image_size=(2, 2))
    with monte_carlo_dropout(planner):
        assert not torch.equal(planner(inputs).plan, planner(inputs).plan)
    planner.eval()
    assert torch.equal(planner(inputs).plan, planner(inputs).plan)
    assert planner.carry(inputs).shape == planner(inputs).bev.shape == (2, 0, 0)


@pytest.mark.parametrize("arguments", [{"hidden": ()}, {"hidden": (8, 0)}, {"steps": 0}, {"dropout": 1.0}])
def test_wrong_sizes_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        EgoStatusPlanner(**arguments)
