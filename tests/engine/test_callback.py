from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_occupancy import CLASSES, SHAPE, Accuracy, CrossEntropy, FakeFrames, TinyNetwork, write_frames
from pytorch_lightning import Callback, Trainer

from al_lightning.acquisition import Acquisition, Random, VoxelSummarizer
from al_lightning.data import ActiveLearningDataModule, LabelPool
from al_lightning.engine import ActiveLearningCallback, BatchSeed, SubsetMetrics, VoxelMajority, derive_seed
from al_lightning.tasks import OccupancyTask
from al_lightning.types import Summary, VoxelGrid, stack

GRID = VoxelGrid((0, 0, 0), (4, 4, 2), SHAPE)


@pytest.fixture
def datamodule(tmp_path: Path) -> ActiveLearningDataModule:
    write_frames(tmp_path)
    train, val = (FakeFrames(str(tmp_path), split) for split in ("train", "val"))
    pool = LabelPool(train.units)
    pool.acquire([1, 5, 8])
    return ActiveLearningDataModule(train, val, pool, batch_size=2, predict_batch_size=5, seed=3)


def make_task(**arguments) -> OccupancyTask:
    torch.manual_seed(0)
    return OccupancyTask(TinyNetwork(), CrossEntropy(), Accuracy(), **arguments)


def make_trainer(*callbacks, **arguments) -> Trainer:
    return Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, callbacks=list(callbacks), reload_dataloaders_every_n_epochs=1,
                   **arguments)  # fmt: skip


def make_callback(train: FakeFrames) -> ActiveLearningCallback:
    return ActiveLearningCallback(VoxelSummarizer(GRID, "all"), Acquisition({"random": Random()}), train)


def test_the_pool_pass_summarizes_every_unit_like_the_network_run_by_hand(datamodule: ActiveLearningDataModule) -> None:
    task, callback = make_task(), make_callback(datamodule.train)
    make_trainer(callback).predict(task, datamodule=datamodule, return_predictions=False)
    assert callback.summary is not None
    assert callback.summary.units.tolist() == list(range(12))
    task.eval()
    for row in range(12):
        logits = task.network(stack([datamodule.train.sample(row).inputs])).logits[0].detach()
        counts = torch.bincount(logits.argmax(0).flatten(), minlength=3)
        assert torch.allclose(callback.summary["class_histogram"][row], counts / counts.sum())


def test_annotations_in_the_pool_pass_are_refused(datamodule: ActiveLearningDataModule) -> None:
    callback = make_callback(datamodule.train)
    with pytest.raises(RuntimeError, match="was given annotations"):
        make_trainer(callback).predict(make_task(), datamodule.val_dataloader())


def test_selection_takes_unlabeled_units_only_and_needs_a_summary_of_all(datamodule: ActiveLearningDataModule) -> None:
    callback, pool = make_callback(datamodule.train), datamodule.pool
    summary = Summary(torch.arange(12).flip(0), {"x": torch.rand(12)})
    selection = callback.select(summary, pool, 9, torch.Generator().manual_seed(0))
    assert sorted(selection.units.tolist()) == pool.unlabeled.tolist()
    with pytest.raises(ValueError, match="not each of 12 units once"):
        callback.select(summary.take(torch.arange(11)), pool, 2, torch.Generator())


def test_the_majority_is_the_most_frequent_label_of_each_voxel(
    datamodule: ActiveLearningDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = torch.stack([datamodule.train.sample(row).annotations.semantics for row in (1, 5, 8)])
    right = count = 0
    truths = [datamodule.val.sample(row).annotations.semantics for row in range(3)]
    for voxel in np.ndindex(SHAPE):
        votes = Counter(labels[:, *voxel].tolist())
        majority = min(votes, key=lambda label: (-votes[label], label))
        right += sum(int(truth[voxel]) == majority for truth in truths)
        count += len(truths)
    monkeypatch.setattr(datamodule.train, "sample", lambda *_, **__: pytest.fail("labels alone are enough"))
    trainer = make_trainer(VoxelMajority(len(CLASSES)))
    trainer.validate(make_task(), datamodule=datamodule, verbose=False)
    assert trainer.callback_metrics["majority/mIoU"].item() == pytest.approx(right / count)


def test_subsets_have_the_metric_of_their_samples_alone(
    datamodule: ActiveLearningDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    datamodule.val.subsets = {
        "odd": np.array([False, True, False]),
        "even": np.array([True, False, True]),
        "none": np.zeros(3, dtype=bool),
    }
    task = make_task().eval()
    trainer = make_trainer(SubsetMetrics(("mIoU", "IoU/road")))
    trainer.validate(task, datamodule=datamodule, verbose=False)
    metrics = trainer.callback_metrics
    for name, rows in {"odd": [1], "even": [0, 2]}.items():
        samples = [datamodule.val.sample(row) for row in rows]
        classes = [task.network(stack([sample.inputs])).logits[0].argmax(0) for sample in samples]
        hits = [(found == sample.annotations.semantics).float() for found, sample in zip(classes, samples, strict=True)]
        assert metrics[f"{name}/mIoU"].item() == pytest.approx(torch.stack(hits).mean().item())
        assert metrics[f"{name}/IoU/road"] == metrics[f"{name}/mIoU"] / 2
    assert "none/mIoU" not in metrics
    assert "subset 'none'" in caplog.text


def test_subsets_are_updated_by_every_batch(datamodule: ActiveLearningDataModule) -> None:
    """States that are lists could not be gathered from a process that holds nothing of a subset otherwise."""
    task, subsets = make_task(), SubsetMetrics()
    datamodule.predict_batch_size = 1
    make_trainer(subsets).validate(task, datamodule=datamodule, verbose=False)
    assert {name: metric.update_count for name, metric in subsets._metrics.items()} == {"odd": 3}


@pytest.mark.parametrize("reporter", [SubsetMetrics(("miou", "mIoU")), VoxelMajority(len(CLASSES), ("miou", "mIoU"))])
def test_a_metric_that_is_not_there_is_warned_of_before_training_and_left_out(
    datamodule: ActiveLearningDataModule, caplog: pytest.LogCaptureFixture, reporter: Callback
) -> None:
    class Started(Callback):
        def on_train_start(self, *_) -> None:
            assert "the first validation batch gives no metric 'miou', only IoU/road, mIoU" in caplog.text
            assert "no metric 'mIoU'" not in caplog.text
            caplog.clear()

    task, trainer = make_task(), make_trainer(reporter, Started(), max_epochs=1, num_sanity_val_steps=1)
    trainer.fit(task, datamodule=datamodule)
    trainer.validate(task, datamodule=datamodule, verbose=False)
    assert "metric 'miou', only IoU/road, mIoU" in caplog.text
    assert {name.split("/")[-1] for name in trainer.callback_metrics} == {"mIoU", "road"}
    assert len(trainer.callback_metrics) == 3


def test_batches_depend_on_seed_cycle_epoch_and_position_alone(
    datamodule: ActiveLearningDataModule,
) -> None:
    class Spy(OccupancyTask):
        seen: list[tuple[int, list[int], float]]

        def training_step(self, batch, batch_idx):
            self.seen.append((self.current_epoch, batch.index.tolist(), batch.inputs.images.sum().item()))
            return super().training_step(batch, batch_idx)

    def train(start: int) -> list[tuple[int, list[int], float]]:
        task = Spy(TinyNetwork(), CrossEntropy(), Accuracy())
        task.seen = []
        torch.manual_seed(start)  # whatever the global stream does
        make_trainer(BatchSeed(0, 0), max_epochs=3, limit_val_batches=0).fit(task, datamodule=datamodule)
        return task.seen

    first, second = train(1), train(2)
    assert first == second
    epochs = [[row for epoch, rows, _ in first if epoch == number for row in rows] for number in range(3)]
    assert all(sorted(rows) == [1, 5, 8] for rows in epochs)
    assert len({total for *_, total in first}) == len(first)


def test_seeds_differ_in_every_part() -> None:
    parts = [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0)]
    seeds = {derive_seed(*part) for part in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1e-3, 0.5, 1.0, 1.0, 1.0, 1.0]), ("cosine", [1e-3, 0.5, 1.0, 0.8535534, 0.5, 0.1464466])],
)
def test_the_learning_rate_warms_up_and_then_follows_its_schedule(
    datamodule: ActiveLearningDataModule, schedule: str, expected: list[float]
) -> None:
    rates = []

    class Spy(OccupancyTask):
        def on_train_batch_start(self, batch, batch_idx):
            rates.append(self.trainer.optimizers[0].param_groups[0]["lr"] / self.lr)

    task = Spy(TinyNetwork(), CrossEntropy(), Accuracy(), lr=0.5, warmup_steps=2, schedule=schedule)
    make_trainer(max_epochs=3, limit_val_batches=0).fit(task, datamodule=datamodule)
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(("size", "least", "most"), [(None, 1, 1), (2, 0, 1), (7, 2, 3)])
def test_an_epoch_of_fixed_size_goes_round_the_labeled_rows(
    datamodule: ActiveLearningDataModule, size: int | None, least: int, most: int
) -> None:
    datamodule.samples_per_epoch = size
    drawn = Counter(row for batch in datamodule.train_dataloader() for row in batch.index.tolist())
    assert sum(drawn.values()) == (size or 3)
    assert all(least <= drawn[row] <= most for row in (1, 5, 8))
    images = [image for batch in datamodule.train_dataloader() for image in batch.inputs.images]
    assert len({image.sum().item() for image in images}) == len(images)  # the rounds are augmented anew
