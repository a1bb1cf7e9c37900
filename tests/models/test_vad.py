import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from fake_driving import driving_inputs
from torch import nn

from al_lightning.models import ResNet
from al_lightning.models.vad import (
    VAD,
    VADSize,
    commanded_positions,
    deterministic,
    monte_carlo_dropout,
    vad_nano,
    vad_tiny,
)
from al_lightning.types import VoxelGrid

GRID = VoxelGrid((-15.0, -30.0, -2.0), (15.0, 30.0, 2.0), (10, 20, 4))
SIZE = VADSize(
    dims=32, heads=4, hidden=48, encoder_layers=2, decoder_layers=2, agents=8, lines=5, line_points=4, agent_classes=7
)


def small(seed=0, **options):
    """Tiny network whose map queries are certain enough to be shown to agents, with lively offsets and positions."""
    torch.manual_seed(seed)
    trunk = ResNet(block="basic", blocks=(1, 1, 1, 1), width=8)
    options = {"stride": 16, "frozen_trunk": False, "turning_point": None} | options
    network = VAD(GRID, trunk, SIZE, **options)
    with torch.no_grad():
        for branch in network.pts_bbox_head.map_cls_branches:
            branch[-1].bias.fill_(1.0)
        for name, parameter in network.named_parameters():
            if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
                parameter.normal_(std=0.3)
    return network


def row(inputs, b):
    """A batch of one sample."""
    fields = {f.name: getattr(inputs, f.name) for f in dataclasses.fields(inputs)}
    return type(inputs)(**{name: None if field is None else field[b : b + 1] for name, field in fields.items()})


def values(prediction):
    return {f.name: getattr(prediction, f.name) for f in dataclasses.fields(prediction)}


def same(a, b, **tolerance):
    return all(torch.allclose(x, values(b)[name], **tolerance) for name, x in values(a).items())


def test_shapes():
    network, inputs = small().eval(), driving_inputs(B=2)
    with torch.no_grad():
        prediction = network(inputs)
    shapes = {name: tuple(value.shape) for name, value in values(prediction).items()}
    assert shapes == {
        "bev": (2, 200, 32),
        "agent_logits": (2, 2, 8, 7),
        "agent_boxes": (2, 2, 8, 10),
        "agent_futures": (2, 8, 6, 6, 2),
        "agent_mode_logits": (2, 8, 6),
        "line_logits": (2, 2, 5, 3),
        "lines": (2, 2, 5, 4, 2),
        "plan": (2, 3, 6, 2),
    }
    positions = commanded_positions(prediction.plan, inputs.command)
    assert torch.equal(positions[0, 1], prediction.plan[0, inputs.command[0], :2].sum(dim=0))


def test_a_sample_does_not_depend_on_its_batch():
    network, inputs = small().eval(), driving_inputs(B=3)
    inputs.new_scene = torch.tensor([False, True, False])
    inputs.lidar2img[2] = inputs.lidar2img[2].flip(0)
    history = torch.randn(3, 200, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = network(inputs, history)
        for b in range(3):
            alone = network(row(inputs, b), history[b : b + 1])
            for name, value in values(together).items():
                layered = value.dim() > 3 and value.shape[0] == 2 and value.shape[1] == 3
                ours = value[:, b : b + 1] if layered else value[b : b + 1]
                torch.testing.assert_close(values(alone)[name], ours, atol=2e-4, rtol=1e-3)


def test_the_past_is_looked_at_unless_a_scene_begins():
    network, inputs = small().eval(), driving_inputs(B=1)
    history = torch.randn(1, 200, 32, generator=torch.Generator().manual_seed(1))
    begins = dataclasses.replace(inputs, new_scene=torch.tensor([True]))
    with torch.no_grad():
        assert not same(network(inputs, history), network(inputs, None))
        assert not same(network(inputs, history), network(inputs, 2 * history))
        assert same(network(begins, history), network(begins, None))
        assert same(network(begins, None), network(inputs, None))


@pytest.mark.parametrize("name", ["images", "lidar2img", "can_bus"])
def test_every_sensor_matters_for_the_plan(name):
    network, inputs = small().eval(), driving_inputs()
    changed = dataclasses.replace(inputs, **{name: getattr(inputs, name).roll(1, dims=1)})
    with torch.no_grad():
        assert (network(inputs).plan - network(changed).plan).abs().max() > 1e-6


def test_what_vad_must_not_see_does_not_matter():
    network, inputs = small().eval(), driving_inputs()
    blind = dataclasses.replace(
        inputs,
        command=torch.tensor([(int(inputs.command) + 1) % 3]),
        ego_history=inputs.ego_history + 1,
        ego_status=inputs.ego_status + 1,
    )
    with torch.no_grad():
        assert same(network(inputs), network(blind), atol=0, rtol=0)


@pytest.mark.parametrize("stride", [16, 32])
def test_images_of_any_size(stride):
    network = small(stride=stride).eval()
    with torch.no_grad():
        for size in ((64, 176), (60, 100), (96, 96)):
            assert torch.isfinite(network(driving_inputs(image_size=size)).plan).all()


def test_mixed_precision_predicts_float32_and_stays_near():
    network, inputs = small().eval(), driving_inputs()
    history = torch.randn(1, 200, 32, generator=torch.Generator().manual_seed(1))
    full = network(inputs, history)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(inputs, history)
    sum(value.square().mean() for value in values(mixed).values()).backward()
    for name, value in values(mixed).items():
        assert name == "bev" or value.dtype == torch.float32
    assert (mixed.plan - full.plan).abs().max() < 0.1 * full.plan.abs().max()


def test_gradients_reach_every_parameter_that_learns():
    network, inputs = small().train(), driving_inputs(B=2)
    history = torch.randn(2, 200, 32, generator=torch.Generator().manual_seed(1))
    prediction = network(inputs, history)
    sum(value.square().mean() for value in values(prediction).values()).backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
    ]
    assert not dead


def test_a_layer_takes_the_reference_points_of_the_one_before_as_given():
    network = small().train()
    network(driving_inputs()).agent_boxes[-1].sum().backward()
    first, last = network.pts_bbox_head.reg_branches
    assert not any(parameter.grad.any() for parameter in first.parameters())
    assert all(parameter.grad.any() for parameter in last.parameters())


def test_a_frozen_trunk_learns_only_later_convolutions_and_keeps_its_statistics():
    network = small(frozen_trunk=True).train()
    trunk = network.img_backbone
    before = copy.deepcopy(dict(trunk.named_buffers()))
    sum(value.square().mean() for value in values(network(driving_inputs())).values()).backward()
    after = dict(trunk.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    learning = {name for name, parameter in trunk.named_parameters() if parameter.grad is not None}
    convolutions = {
        f"{name}.weight"
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d) and name.startswith(("layer2", "layer3", "layer4"))
    }
    assert learning == convolutions


def test_vad_tiny_starts_from_imagenets_trunk(tmp_path, monkeypatch):
    trunk = ResNet(width=8, blocks=(1, 1, 1, 1)).state_dict()
    torch.save(trunk | {"fc.weight": torch.ones(1000, 2048), "fc.bias": torch.ones(1000)}, tmp_path / "resnet.pth")
    monkeypatch.setattr("al_lightning.models.vad.network.ResNet", lambda: ResNet(width=8, blocks=(1, 1, 1, 1)))
    network = vad_tiny(backbone_checkpoint=str(tmp_path / "resnet.pth"), grid_mask=0.7)
    found = network.img_backbone.state_dict()
    assert found.keys() == trunk.keys()
    assert all(torch.equal(value, found[key]) for key, value in trunk.items())
    assert network.grid_mask.probability == 0.7
    assert network.frozen_trunk


def test_a_trunk_is_not_frozen_as_it_was_drawn():
    with pytest.raises(ValueError, match="must not start at random: give backbone_checkpoint"):
        vad_tiny()
    with torch.device("meta"):
        assert all(parameter.requires_grad for parameter in vad_tiny(frozen_trunk=False).parameters())


class TestMonteCarloDropout:
    @pytest.fixture(scope="class")
    def network(self):
        return small().train()

    def passes(self, network, attention_probabilities):
        inputs = driving_inputs()
        torch.manual_seed(0)
        with torch.no_grad(), monte_carlo_dropout(network, attention_probabilities):
            features = [network.extract(inputs.images) for _ in range(2)]
            assert torch.equal(*features)
            return [network.drive(features[0], inputs) for _ in range(2)]

    def test_passes_differ_and_repeat_with_their_seed(self, network):
        first, second = self.passes(network, False)
        assert (first.plan - second.plan).abs().max() > 1e-4
        again, _ = self.passes(network, False)
        assert same(first, again, atol=0, rtol=0)

    def test_attention_probabilities_are_dropped_only_on_demand(self, network):
        active = []
        attentions = [module for module in network.modules() if isinstance(module, nn.MultiheadAttention)]
        for attention_probabilities in (False, True):
            with monte_carlo_dropout(network, attention_probabilities):
                active.append({attention.training for attention in attentions})
                norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
                assert not any(norm.training for norm in norms)
        assert active == [{False}, {True}]
        literal, everything = (self.passes(network, option)[0] for option in (False, True))
        assert not same(literal, everything)

    def test_modes_come_back_even_after_an_error(self, network):
        before = [module.training for module in network.modules()]
        with pytest.raises(RuntimeError), monte_carlo_dropout(network):
            raise RuntimeError
        with deterministic(network):
            assert not any(module.training for module in network.modules())
        assert [module.training for module in network.modules()] == before

    def test_the_carried_view_is_the_same_in_every_mode(self, network):
        inputs = driving_inputs()
        history = torch.randn(1, 200, 32, generator=torch.Generator().manual_seed(1))
        carried = network.carry(inputs, history)
        with monte_carlo_dropout(network, attention_probabilities=True):
            assert torch.equal(network.carry(inputs, history), carried)
        with deterministic(network), torch.no_grad():
            assert torch.equal(network(inputs, history).bev, carried)
        assert not carried.requires_grad


def test_initial_weights():
    torch.manual_seed(0)
    network = vad_nano()
    head = network.pts_bbox_head
    for branch in (*head.cls_branches, *head.map_cls_branches, *head.traj_cls_branches):
        torch.testing.assert_close(branch[-1].bias.sigmoid(), torch.full_like(branch[-1].bias, 0.01))
    temporal, spatial = head.transformer.encoder.layers[0].attentions
    offsets = temporal.sampling_offsets.bias.view(4, 2, 4, 2)  # head, slot, point, xy
    right, forward = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for slot, point in np.ndindex(2, 4):
        torch.testing.assert_close(offsets[0, slot, point], (point + 1) * right, atol=1e-6, rtol=0)
        torch.testing.assert_close(offsets[1, slot, point], (point + 1) * forward, atol=1e-6, rtol=0)
    inner = spatial.deformable_attention
    for layer in (temporal, inner, head.transformer.decoder.layers[0].attentions[1]):
        assert not layer.sampling_offsets.weight.any()
        assert not layer.attention_weights.weight.any()
        assert not layer.attention_weights.bias.any()
        assert not layer.value_proj.bias.any()
    modes = head.motion_mode_query.weight
    torch.testing.assert_close(modes @ modes.T, torch.eye(6), atol=1e-5, rtol=0)
    assert 0.9 < head.transformer.cams_embeds.std() < 1.1
    bound = math.sqrt(6 / (64 + 128))
    assert 0.95 * bound < head.transformer.encoder.layers[0].ffns[0].layers[1].weight.abs().max() <= bound


def test_two_runs_are_equal_to_the_bit():
    def gradients():
        network = small().train()
        torch.manual_seed(1)
        network(driving_inputs(B=2)).plan.square().mean().backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


def test_what_does_not_fit_is_refused():
    trunk = ResNet(block="basic", blocks=(1, 1, 1, 1), width=8)
    with pytest.raises(ValueError, match="stride"):
        VAD(GRID, trunk, SIZE, stride=8)
    with pytest.raises(ValueError, match="heights"):
        VAD(VoxelGrid(GRID.lower, GRID.upper, (10, 20, 3)), trunk, SIZE)
    with pytest.raises(ValueError, match="twice the heads"):
        VADSize(dims=36, heads=8)
    network, inputs = small(), driving_inputs()
    with pytest.raises(ValueError, match="images must be"):
        network.extract(inputs.images[:, :5])
    inputs.lidar2img[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="lidar2img"):
        network(inputs)
