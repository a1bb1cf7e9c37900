import multiprocessing
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.data import LabelPool
from al_lightning.engine import AtomicCheckpointIO, RunDirectory, RunDirectoryError
from al_lightning.engine.run_directory import write_atomically
from al_lightning.types import Summary


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError("disk full"), RunDirectoryError),
        (RuntimeError("unexpected pos 64 vs 0"), RunDirectoryError),
        (KeyboardInterrupt("disk full"), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    path = tmp_path / "deep" / "file.csv"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file) -> None:
        file.write(b"half of the n")
        raise error

    with pytest.raises(raised, match=str(error)) as caught:
        write_atomically(path, fail)
    assert (str(path) in str(caught.value)) == (raised is RunDirectoryError)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_an_error_with_a_name(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(RunDirectoryError, match=r"checkpoint\.ckpt cannot be written"):
            AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(10_000)}, tmp_path / "checkpoint.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_pool_of_another_dataset_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_pool(["a", "b"]) is None
    pool = LabelPool(["a", "b"])
    pool.acquire([1])
    run.write_pool(pool)
    again = run.read_pool(["a", "b"])
    assert again is not None
    assert again.acquired_at.tolist() == [-1, 0]
    with pytest.raises(RunDirectoryError, match=r"another dataset: 2 units, now 2; for example b"):
        run.read_pool(["a", "c"])
    with pytest.raises(RunDirectoryError, match="in another order"):
        run.read_pool(["b", "a"])


def test_a_foreign_directory_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunDirectoryError, match=r"is not empty and no run: it holds thesis\.tex"):
        RunDirectory(tmp_path).read_config()


def test_summaries_come_back_exactly(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_summaries(2) is None
    summary = Summary(torch.tensor([4, 1]), {"entropy": torch.rand(2), "class_histogram": torch.rand(2, 3).double()})
    run.write_summaries(2, summary)
    again = run.read_summaries(2)
    assert again is not None
    assert torch.equal(again.units, summary.units)
    for name, values in summary.fields.items():
        assert torch.equal(again[name], values)
        assert again[name].dtype == values.dtype


def test_metrics_csv_has_one_row_a_cycle_and_leaves_unknown_values_empty(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_metrics(0, {"cycle": 0, "labeled": 4, "mIoU": 0.125})
    run.write_metrics(1, {"cycle": 1, "labeled": 8, "mIoU": 0.25, "IoU/car": 0.5})
    assert (tmp_path / "metrics.csv").read_text() == "cycle,labeled,mIoU,IoU/car\n0,4,0.125,\n1,8,0.25,0.5\n"


def test_how_the_representation_was_learned_is_kept_and_its_worth_is_in_metrics_csv(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_metrics(0, {"cycle": 0, "labeled": 4, "mIoU": 0.125})
    run.write_representation(0, {"loss": torch.tensor([3.0, 0.5]), "rate": torch.tensor([1.0, 0.25])}, {"worth": 0.75})
    run.write_metrics(1, {"cycle": 1, "labeled": 8, "mIoU": 0.25})
    assert run.cycle(0, "representation.csv").read_text() == "epoch,loss,rate\n0,3.0,1.0\n1,0.5,0.25\n"
    assert (tmp_path / "metrics.csv").read_text() == "cycle,labeled,mIoU,worth\n0,4,0.125,0.75\n1,8,0.25,\n"
    assert run.read_metrics(0) == {"cycle": 0, "labeled": 4, "mIoU": 0.125}


def _hold(root: Path, ready, leave) -> None:
    with RunDirectory(root).lock():
        ready.set()
        leave.wait(30)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready, leave))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(RunDirectoryError, match="another process"), RunDirectory(tmp_path).lock(patience=0.3):
        pass
    holder.kill()  # no clean-up of its own: the system frees the lock
    holder.join()
    with RunDirectory(tmp_path).lock():
        pass


def test_saved_scores_can_be_read_by_anyone(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run = RunDirectory(tmp_path)
    run.write_scores(0, {"unit": ["a", "b"], "score": np.array([0.5, 1.0])})
    assert pq.read_table(run.cycle(0, "scores.parquet")).to_pydict() == {"unit": ["a", "b"], "score": [0.5, 1.0]}


def test_what_cannot_be_a_run_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(RunDirectoryError, match=f"{place} cannot be a run directory"), RunDirectory(place).lock():
            pass


@pytest.mark.parametrize("content", ["a: [1", "just words"])
def test_a_broken_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"config\.yaml"):
        RunDirectory(tmp_path).read_config()


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    path = RunDirectory(tmp_path).checkpoint(1)
    path.parent.mkdir(parents=True)
    torch.save({"weights": torch.zeros(1000)}, path)
    assert RunDirectory(tmp_path).checkpoint(1) == path
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RunDirectoryError, match=r"1/checkpoint\.ckpt is broken"):
        RunDirectory(tmp_path).checkpoint(1)
