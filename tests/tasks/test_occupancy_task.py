"""What the occupancy task does with its loss, its parameters and its learning rate."""

import pytest
import torch
from fake_occformer import occformer_annotations, occformer_inputs, tiny_occformer
from torch import nn

from al_lightning.tasks import OccupancyTask
from al_lightning.types import Batch, OccupancyPrediction


class Fixed(nn.Module):
    """A network of one number."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(3.0))

    def forward(self, inputs):
        return OccupancyPrediction(self.level * torch.ones(2, 5, 1, 1, 1))


class Terms(nn.Module):
    def forward(self, prediction, annotations):
        return {"a": prediction.logits.mean(), "b": 2 * prediction.logits.max() * annotations.mask.any()}


def task(network, **arguments):
    subject = OccupancyTask(network, Terms(), None, **arguments)
    subject.log = lambda *_, **__: None
    return subject


def test_the_loss_is_the_sum_of_its_terms():
    batch = Batch(torch.arange(2), occformer_inputs(), occformer_annotations())
    loss = task(Fixed()).training_step(batch, 0)
    loss.backward()
    assert loss.item() == 9.0


class TestWeightDecay:
    def test_everything_decays_unless_asked_otherwise(self):
        groups = task(tiny_occformer())._parameter_groups()
        assert [set(group) for group in groups] == [{"params"}]

    def test_norms_and_named_parameters_are_spared(self):
        network = tiny_occformer()
        words = ("query_embed", "level_embed", "relative_position_bias_table")
        decayed, spared = task(network, undecayed=words)._parameter_groups()
        names = {parameter: name for name, parameter in network.named_parameters()}
        found = {names[parameter] for parameter in spared["params"]}
        assert spared["weight_decay"] == 0.0
        assert len(decayed["params"]) + len(found) == len(names)
        for name in (
            "img_backbone.layers.0.bn.weight",
            "img_view_transformer.depth_net.bn.bias",
            "img_bev_encoder_backbone.layers.1.0.downsample.1.weight",
            "img_bev_encoder_backbone.layers.0.1.bev_encoder.attn.w_msa.relative_position_bias_table",
            "img_bev_encoder_neck.encoder.layers.0.norms.1.bias",
            "pts_bbox_head.query_embed.weight",
            "pts_bbox_head.transformer_decoder.post_norm.weight",
        ):
            assert name in found
        assert not {name for name in found if "conv.weight" in name or "qkv" in name or "ffns" in name}
        assert "img_bev_encoder_neck.level_encoding.weight" not in found

    def test_a_name_that_nothing_has_is_refused(self):
        with pytest.raises(ValueError, match="undecayed: no parameter of the network has query_embedding"):
            task(tiny_occformer(), undecayed=["query_embedding"])


def test_steps_are_a_tenth_each_at_two_thirds_and_five_sixths():
    subject = task(Fixed(), warmup_steps=2, schedule="steps")
    factors = [subject._lr_factor(step, 30) for step in range(30)]
    assert factors == pytest.approx([1e-3, 0.5, *[1.0] * 18, *[0.1] * 5, *[0.01] * 5])
