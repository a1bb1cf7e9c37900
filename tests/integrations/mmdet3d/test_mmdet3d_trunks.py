"""Backbones and necks of mmdet and mmdet3d inside FlashOcc and VAD, by YAML."""

import pytest
import torch
import yaml

from al_lightning.config import ConfigError, instantiate
from al_lightning.config.components import check_component
from al_lightning.models import ResNet
from al_lightning.types import CameraInputs, DataFileError

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")

from al_lightning.integrations.mmdet3d import MMBackbone, MMNeck

FLASHOCC = """
_target_: al_lightning.models.FlashOcc
grid:
  _target_: al_lightning.types.VoxelGrid
  lower: [-40.0, -40.0, -1.0]
  upper: [40.0, 40.0, 5.4]
  shape: [16, 16, 4]
image_size: [64, 128]
depth: [1.0, 45.0, 4.0]
neck_channels: 32
context_channels: 8
bev_channels: 16
backbone:
  _target_: al_lightning.integrations.mmdet3d.MMBackbone
  type: mmdet.SwinTransformer
  arguments: {embed_dims: 12, depths: [1, 1, 1, 1], num_heads: [1, 2, 2, 4], out_indices: [2, 3]}
neck:
  _target_: al_lightning.integrations.mmdet3d.MMNeck
  type: mmdet.FPN
  arguments: {in_channels: [48, 96], out_channels: 32, num_outs: 2}
"""


def build(text, **changes):
    node = yaml.safe_load(text)
    for key, value in changes.items():
        part, _, name = key.partition("__")
        node[part] = value if not name else node[part] | {name: value}
    check_component(node, "network")
    return instantiate(node, "network")


def cameras(height, width):
    eye = torch.eye(4).expand(1, 2, 4, 4)
    intrinsics = torch.tensor([[60.0, 0, width / 2], [0, 60.0, height / 2], [0, 0, 1]]).expand(1, 2, 3, 3)
    rotation, translation = torch.eye(3).expand(1, 2, 3, 3), torch.zeros(1, 2, 3)
    return CameraInputs(torch.randn(1, 2, 3, height, width), eye, intrinsics, rotation, translation, eye[:, 0])


def test_flashocc_on_a_swin_transformer_and_a_pyramid():
    network = build(FLASHOCC)
    assert network.img_backbone.strides == (16, 32)
    prediction = network(cameras(64, 128))
    assert prediction.logits.shape == (1, 18, 16, 16, 4)
    prediction.logits.sum().backward()
    assert network.img_backbone.body.patch_embed.projection.weight.grad.abs().sum() > 0
    assert network.img_neck.body.lateral_convs[1].conv.weight.grad.abs().sum() > 0


def test_the_official_neck_behind_any_backbone():
    network = build(FLASHOCC, neck=None)
    assert network.img_neck.in_channels == (48, 96)
    assert network(cameras(64, 128)).logits.shape == (1, 18, 16, 16, 4)


def test_flashocc_on_parts_of_mmdet3d():
    second = {"in_channels": 3, "out_channels": [8, 16, 24], "layer_nums": [1, 1, 1], "layer_strides": [4, 2, 2]}
    fpn = {"in_channels": [8, 16, 24], "out_channels": [10, 11, 11], "upsample_strides": [0.25, 0.5, 1]}
    network = build(
        FLASHOCC,
        backbone={"_target_": "al_lightning.integrations.mmdet3d.MMBackbone", "type": "mmdet3d.SECOND",
                  "arguments": second},
        neck={"_target_": "al_lightning.integrations.mmdet3d.MMNeck", "type": "mmdet3d.SECONDFPN",
              "arguments": {**fpn, "use_conv_for_no_stride": True}},
    )  # fmt: skip
    assert (network.img_backbone.strides, network.img_neck.scale) == ((4, 8, 16), 4)
    assert network(cameras(64, 128)).logits.shape == (1, 18, 16, 16, 4)


VAD = """
_target_: al_lightning.models.VAD
grid:
  _target_: al_lightning.types.VoxelGrid
  lower: [-15.0, -30.0, -2.0]
  upper: [15.0, 30.0, 2.0]
  shape: [10, 20, 4]
cameras: 2
stride: 32
backbone:
  _target_: al_lightning.integrations.mmdet3d.MMBackbone
  type: mmdet.ResNet
  arguments: {depth: 18, base_channels: 8, frozen_stages: 1}
neck:
  _target_: al_lightning.integrations.mmdet3d.MMNeck
  type: mmdet.FPN
  arguments: {in_channels: [32, 64], out_channels: 256, num_outs: 2}
  level: 1
"""


def test_vad_on_a_frozen_resnet_of_mmdet():
    network = build(VAD).train()
    features = network.extract(torch.randn(1, 2, 3, 64, 96))
    assert features.shape == (1, 2, 256, 2, 3)
    trunk = network.img_backbone
    assert not any(module.training for module in trunk.modules())
    learning = {name for name, value in trunk.named_parameters() if value.requires_grad}
    assert learning
    assert not any("bn" in name or "layer1" in name or name == "body.conv1.weight" for name in learning)


def test_mmdets_resnet_is_ours():
    """The same weights, by the same names, the same maps."""
    theirs, ours = MMBackbone("mmdet.ResNet", {"depth": 18}), ResNet(block="basic", blocks=(2, 2, 2, 2))
    ours.load_state_dict(theirs.body.state_dict())
    assert (theirs.out_channels, theirs.strides) == (ours.out_channels, ours.strides)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for made, expected in zip(theirs.eval()(images), ours.eval()(images), strict=True):
            torch.testing.assert_close(made, expected)


def test_pretrained_weights_are_loaded(tmp_path):
    sizes = {"embed_dims": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]}
    source = MMBackbone("mmdet.SwinTransformer", sizes).body
    weights = {f"backbone.{name}": value for name, value in source.state_dict().items()}  # as of mmdet's detectors
    torch.save({"state_dict": weights}, tmp_path / "swin.pth")
    pretrained = {"type": "Pretrained", "checkpoint": str(tmp_path / "swin.pth")}
    loaded = MMBackbone("mmdet.SwinTransformer", {**sizes, "init_cfg": pretrained}).body
    for name, value in loaded.named_parameters():
        torch.testing.assert_close(value, source.get_parameter(name))
    with pytest.raises(DataFileError, match=r"absent\.pth"):
        MMBackbone("mmdet.SwinTransformer", {**sizes, "init_cfg": {"type": "Pretrained", "checkpoint": "absent.pth"}})


def test_trying_a_part_leaves_no_trace():
    torch.manual_seed(0)
    body = MMBackbone("mmdet.ResNet", {"depth": 18, "base_channels": 8}).body
    assert body.training
    assert int(body.bn1.num_batches_tracked) == 0
    assert not body.bn1.running_mean.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neck_channels": 64}, r"network: the neck must give 64 channels at stride 16, it gives 32 at 16"),
        ({"neck__level": 1}, r"it gives 32 at 32: the backbone's maps have strides \(16, 32\)"),
        ({"neck__level": 2}, r"network.neck: mmdet.FPN makes 2 maps, there is no level 2"),
        ({"neck__arguments": {"in_channels": [48, 64], "out_channels": 32, "num_outs": 2}},
         r"takes maps of \(48, 64\) channels, the backbone's last ones have \(48, 96\)"),
        ({"backbone__type": "mmdet.SwimTransformer"}, "network.backbone: mmdet.SwimTransformer cannot be built"),
        ({"backbone__type": "SwinTransformer"}, "must begin with 'mmdet.' or 'mmdet3d.'"),
        ({"backbone__arguments": {"embed_dim": 12}}, "cannot be built.*embed_dim"),
        ({"backbone__type": "mmdet.FPN", "backbone__arguments": {"in_channels": [3], "out_channels": 8, "num_outs": 1}},
         "must make feature maps"),
        ({"backbone__arguments": {"embed_dims": 12, "num_heads": [5, 5, 5, 5]}}, "network.backbone: mmdet.SwinTran"),
    ],
)  # fmt: skip
def test_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(FLASHOCC, **changes)


def test_a_neck_of_one_map():
    neck = MMNeck("mmdet.ChannelMapper", {"in_channels": [24], "out_channels": 8, "num_outs": 1})
    assert neck(torch.randn(2, 24, 5, 7)).shape == (2, 8, 5, 7)
