import re
import warnings

import pytest
import torch
from torch import nn

from al_lightning.models import ResNet, flashocc_m0, load_checkpoint
from al_lightning.models.checkpoint import load_backbone
from al_lightning.types import DataFileError, VoxelGrid


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def source():
    source = network(seed=1)
    source(torch.randn(8, 3))  # moves the BN statistics
    return source


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 24}},
        lambda state: {"epoch": 24, "state_dict": state, "updates": 42_240},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {key: value.double() if value.is_floating_point() else value for key, value in state.items()},
    ],
    ids=["plain", "wrapped", "ema", "module prefix", "wrapped module prefix", "float64"],
)
def test_layouts(tmp_path, source, wrap):
    torch.save(wrap(source.state_dict()), tmp_path / "weights.pth")
    target = network()
    assert not equal(target, source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(target, tmp_path / "weights.pth")
    assert equal(target, source)


def test_prefix_of_some_keys_stays(tmp_path, source):
    state = source.state_dict()
    state["module.0.weight"] = state.pop("0.weight")
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"1 missing: 0.weight; 1 unexpected: module.0.weight$"):
        load_checkpoint(network(), tmp_path / "weights.pth")


def mixed(source):
    state = source.state_dict()
    state["2.weight"] = torch.zeros(7, 4)
    state["head.bias"] = torch.zeros(2)
    del state["0.bias"]
    return state


def test_strict_names_every_problem_and_changes_nothing(tmp_path, source):
    torch.save(mixed(source), tmp_path / "weights.pth")
    target = network()
    message = (
        "1 missing: 0.bias; 1 unexpected: head.bias; 1 of another shape: 2.weight (7, 4), needs (2, 4)"  # one line
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_checkpoint(target, tmp_path / "weights.pth")
    assert equal(target, network())


def test_not_strict_loads_what_fits_and_warns(tmp_path, source):
    torch.save(mixed(source), tmp_path / "weights.pth")
    target = network()
    with pytest.warns(UserWarning, match="loaded in part: 1 missing: 0.bias; 1 unexpected: head.bias; 1 of another"):
        load_checkpoint(target, tmp_path / "weights.pth", strict=False)
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[1].running_mean, source[1].running_mean)
    assert torch.equal(target[2].weight, network()[2].weight)


def test_long_lists_are_abbreviated(tmp_path):
    torch.save({"fc.weight": torch.zeros(1), "conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "weights.pth")
    backbone = ResNet("basic", (1, 1, 1, 1), width=8)
    missing = sum("num_batches" not in key for key in backbone.state_dict()) - 1
    with pytest.raises(ValueError, match=rf"{missing} missing: (\S+, ){{10}}and {missing - 10} more; 1 unexpected"):
        load_checkpoint(backbone, tmp_path / "weights.pth")


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_something_else_are_an_error_in_any_case(tmp_path, strict):
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"nothing in checkpoint .*weights\.pth fits"):
        load_checkpoint(network(), tmp_path / "weights.pth", strict=strict)


class Payload:
    """Unpickling this would run code."""

    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("content", ["nothing", "garbage", "truncated", "empty", "code", "number", "no tensors"])
def test_unreadable_files_are_named(tmp_path, source, content, capsys):
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    whole = path.read_bytes()
    if content == "nothing":
        path.unlink()
    elif content in ("garbage", "truncated", "empty"):
        path.write_bytes({"garbage": b"no checkpoint", "truncated": whole[: len(whole) // 2], "empty": b""}[content])
    else:
        torch.save({"code": Payload(), "number": 3, "no tensors": {"state_dict": {"epoch": 3}}}[content], path)
    with pytest.raises(DataFileError, match=r"weights\.pth"):
        load_checkpoint(network(), path)
    assert "code ran" not in capsys.readouterr().out


def test_a_named_size_starts_from_a_file(tmp_path):
    grid = VoxelGrid((-8.0, -8.0, -1.0), (8.0, 8.0, 5.4), (8, 8, 2))
    arguments = {"num_classes": 3, "image_size": (32, 32), "depth": (1.0, 9.0, 1.0)}
    trained = flashocc_m0(grid, **arguments)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "weights.pth")
    again = flashocc_m0(grid, **arguments, checkpoint=str(tmp_path / "weights.pth"))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in trained.state_dict().items())


def test_flashocc_starts_as_official_training_does(tmp_path):
    """From a classifier's trunk as old files hold it, then from a detector: no head of ours, other depth bins."""
    grid = VoxelGrid((-8.0, -8.0, -1.0), (8.0, 8.0, 5.4), (8, 8, 2))
    arguments = {"num_classes": 3, "image_size": (32, 32), "depth": (1.0, 9.0, 1.0)}
    torch.manual_seed(1)
    other = flashocc_m0(grid, **arguments)
    trunk = {key: value for key, value in other.img_backbone.state_dict().items() if "num_batches" not in key}
    torch.save(trunk | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, tmp_path / "resnet.pth")
    detector = {key: value for key, value in other.state_dict().items() if key.startswith("img_bev_encoder_backbone")}
    detector["img_bev_encoder_backbone.layers.0.0.conv1.weight"] += 1
    detector |= {"img_view_transformer.depth_net.bias": torch.zeros(9), "pts_bbox_head.bias": torch.zeros(2)}
    torch.save({"state_dict": detector}, tmp_path / "detector.pth")
    files = {"backbone_checkpoint": str(tmp_path / "resnet.pth"), "pretrained": str(tmp_path / "detector.pth")}
    torch.manual_seed(2)
    with pytest.warns(UserWarning, match=r"in part.*pts_bbox_head.bias.*depth_net.bias \(9,\)"):
        found = flashocc_m0(grid, **arguments, **files).state_dict()
    expected = {f"img_backbone.{key}": value for key, value in trunk.items()} | detector
    for key, value in expected.items():
        if key in found and found[key].shape == value.shape:
            assert torch.equal(found[key], value), key
    assert not torch.equal(found["occ_head.predicter.0.weight"], other.state_dict()["occ_head.predicter.0.weight"])


def test_a_trunk_that_is_no_resnet_is_refused(tmp_path):
    trunk = ResNet(block="basic", blocks=(1, 1, 1, 1), width=8)
    torch.save(trunk.state_dict() | {"classifier.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"1 unexpected: classifier.weight$"):
        load_backbone(trunk, tmp_path / "other.pth")


def test_a_part_of_a_larger_network_by_its_prefix(tmp_path, source):
    state = {f"backbone.{key}": value for key, value in source.state_dict().items()} | {"head.fc.weight": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    target = network()
    load_checkpoint(target, tmp_path / "weights.pth", prefix="backbone.")
    assert equal(target, source)
    with pytest.raises(ValueError, match="nothing in checkpoint"):
        load_checkpoint(target, tmp_path / "weights.pth", prefix="trunk.")
