"""The torchmetrics classes: accumulation, keys, and behaviour inside a training loop."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.utilities import dim_zero_sum

from al_lightning.metrics import Occ3DMeanIoU, RayIoU, SemanticSceneCompletion
from al_lightning.metrics.functional import occ3d_miou, semantic_scene_completion, voxel_confusion
from al_lightning.types import VoxelGrid

NAMES = ("others", "car", "road", "free")
GRID = VoxelGrid((-4, -4, -1), (4, 4, 1), (8, 8, 2))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Rays are many small steps: on busy cores, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(seed, size=2, shape=(8, 8, 2), K=4):
    generator = torch.Generator().manual_seed(seed)
    prediction, semantics = (torch.randint(0, K, (size, *shape), generator=generator) for _ in range(2))
    return prediction, semantics.to(torch.uint8), torch.rand((size, *shape), generator=generator) < 0.7


METRICS = {
    "occ3d": lambda: Occ3DMeanIoU(NAMES),
    "completion": lambda: SemanticSceneCompletion(NAMES),
    "ray": lambda: RayIoU(NAMES, GRID, origins=[(0.1, 0.1, 0.1)]),
}


@pytest.mark.parametrize("make", METRICS.values(), ids=METRICS.keys())
def test_batches_add_up_and_order_does_not_matter(make):
    batches = [batch(seed) for seed in range(3)]
    one_by_one, backwards, at_once = make(), make(), make()
    for items in batches:
        one_by_one.update(*items)
    for items in reversed(batches):
        backwards(*items)  # forward(), which torchmetrics implements by merging states
    at_once.update(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    assert one_by_one.compute() == at_once.compute() == backwards.compute()
    assert make().update(*batches[0]) is None
    one_by_one.reset()
    one_by_one.update(*batches[0])
    fresh = make()
    fresh.update(*batches[0])
    assert one_by_one.compute() == fresh.compute()


@pytest.mark.parametrize("make", METRICS.values(), ids=METRICS.keys())
def test_values_are_finite_float_scalars(make):
    """Lightning warns of logged integers, and a NaN would hide in a chart."""
    metric = make()
    metric.update(*batch(0))
    for name, value in metric.compute().items():
        assert value.shape == (), name
        assert value.is_floating_point(), name
        assert value.isfinite(), name
        assert 0 <= value <= (3 if name == "classes_present" else 1), name


@pytest.mark.parametrize("make", METRICS.values(), ids=METRICS.keys())
def test_states_are_integers_summed_over_processes_and_survive_pickling(make):
    metric = make()
    metric.update(*batch(0))
    assert all(value.dtype == torch.int64 for value in metric.metric_state.values())
    assert set(metric._reductions.values()) == {dim_zero_sum}
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_classes_wrap_the_functions(seed):
    items = batch(seed, size=1, shape=(3, 2, 2))
    confusion = voxel_confusion(items[0], items[1], 4, items[2])
    occ3d, completion = Occ3DMeanIoU(NAMES), SemanticSceneCompletion(NAMES)
    occ3d.update(*items)
    completion.update(*items)
    expected = occ3d_miou(confusion)
    values = occ3d.compute()
    assert values["mIoU"] == expected.miou
    assert values["classes_present"] == expected.classes_present
    per_class = {f"IoU/{name}": iou.item() for name, iou in zip(NAMES[:-1], expected.iou, strict=False) if iou == iou}
    assert {k: v.item() for k, v in values.items() if k.startswith("IoU/")} == per_class
    scores, values = semantic_scene_completion(confusion), completion.compute()
    assert values.pop("mIoU") == scores.miou
    assert values.pop("classes_present") == scores.classes_present
    assert values.pop("IoU") == scores.completion_iou
    assert values.pop("precision") == scores.precision
    assert values.pop("recall") == scores.recall
    assert values == {f"IoU/{name}": scores.iou[c] for c, name in enumerate(NAMES) if c > 0}


def test_absent_classes_are_left_out_or_zero_as_each_benchmark_has_it():
    volume = torch.full((1, 2, 2, 2), 1)
    occ3d, completion = Occ3DMeanIoU(NAMES), SemanticSceneCompletion(NAMES)
    occ3d.update(volume, volume)
    completion.update(volume, volume)
    assert occ3d.compute() == {"mIoU": 1.0, "classes_present": 1.0, "IoU/car": 1.0}
    values = completion.compute()
    assert values["mIoU"].item() == pytest.approx(1 / 3, abs=1e-5)
    assert values["classes_present"] == 1
    assert values["IoU/road"] == values["IoU/free"] == 0


def test_groups_are_means_over_their_classes_that_occur():
    prediction, truth = torch.tensor([[[[0, 0, 1, 1]]]]), torch.tensor([[[[0, 1, 1, 3]]]])
    occ3d = Occ3DMeanIoU(NAMES, groups={"rare": ["others", "road"], "both": ["others", "car"], "none": ["road"]})
    occ3d.update(prediction, truth)
    values = occ3d.compute()
    assert values["rare/mIoU"].item() == pytest.approx(1 / 2)  # road occurs nowhere
    assert values["both/mIoU"].item() == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert "none/mIoU" not in values


def test_classes_in_truth_alone_make_the_mean_and_the_groups():
    prediction, truth = torch.tensor([[[[0, 2, 1, 1]]]]), torch.tensor([[[[0, 1, 1, 3]]]])
    occ3d = Occ3DMeanIoU(NAMES, groups={"rare": ["others", "road"]}, mean_over="in_truth")
    occ3d.update(prediction, truth)
    values = {name: value.item() for name, value in occ3d.compute().items()}
    expected = {"mIoU": (1 + 1 / 3) / 2, "classes_present": 2, "rare/mIoU": 1, "IoU/others": 1, "IoU/car": 1 / 3}
    assert values == pytest.approx(expected)
    with pytest.raises(ValueError, match="mean_over"):
        Occ3DMeanIoU(NAMES, mean_over="true")


@pytest.mark.parametrize("members", [[], ["car", "plane"], ["free"]])
def test_a_group_of_unknown_classes_is_refused(members):
    with pytest.raises(ValueError, match=r"groups\.rare"):
        Occ3DMeanIoU(NAMES, groups={"rare": members})


def test_without_any_counted_voxel_there_is_no_miou():
    occ3d = Occ3DMeanIoU(NAMES)
    occ3d.update(torch.zeros(1, 2, 2, 2, dtype=torch.int64), torch.full((1, 2, 2, 2), 255))
    assert occ3d.compute() == {"classes_present": 0.0}


@pytest.mark.parametrize("metric", [Occ3DMeanIoU, SemanticSceneCompletion])
def test_counts_beyond_float32(metric):
    """In float32 a count would stay at 2^24 for ever, one voxel at a time."""
    truth = torch.ones(1, 1, 1, 1, dtype=torch.uint8)
    subject, float32 = metric(NAMES), torch.tensor(2.0**24)
    subject.confusion[1, 1] = 2**24
    for _ in range(3):
        subject.update(truth, truth)
        float32 += 1
    assert float32 == 2**24
    assert subject.confusion[1, 1] == 2**24 + 3


def test_ray_iou_of_a_wall():
    """A wall of cars before the origin, predicted in its place and then one voxel (1 m) behind."""
    semantics = torch.full((1, 8, 8, 2), 3)
    semantics[:, 6] = 1
    shifted = semantics.roll(1, dims=1)
    metric = METRICS["ray"]()
    metric.update(semantics, semantics)
    perfect = metric.compute()
    assert perfect["RayIoU"] == perfect["RayIoU@1"] == perfect["RayIoU/car"] == 1
    assert perfect["classes_present"] == 1
    assert "RayIoU/road" not in perfect
    metric.reset()
    metric.update(shifted, semantics)
    values = metric.compute()
    assert values["RayIoU@1"] < values["RayIoU@2"] <= values["RayIoU@4"] < 1
    assert values["RayIoU@1"] < 0.2  # straight ahead every depth is off by a metre or more


def test_ray_iou_takes_the_origins_of_each_sample():
    prediction, semantics, mask = batch(3)
    own = torch.tensor([[[0.1, 0.1, 0.1]], [[1.1, -2.1, 0.3]]])
    together, alone = METRICS["ray"](), METRICS["ray"]()
    together.update(prediction, semantics, mask, own)
    for b in range(2):
        alone.update(prediction[b : b + 1], semantics[b : b + 1], origins=own[b : b + 1])
    assert together.compute() == alone.compute()
    default = METRICS["ray"]()
    default.update(prediction, semantics)
    assert default.compute() != together.compute()


def test_wrong_arguments_are_refused():
    for names in ("car", ["car"], ["car", "car", "free"]):
        with pytest.raises(ValueError, match="class_names"):
            Occ3DMeanIoU(names)
    with pytest.raises(ValueError, match="origins"):
        RayIoU(NAMES, GRID, origins=[])
    prediction, semantics, _ = batch(0)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        SemanticSceneCompletion(NAMES).update(prediction + 1, semantics)
