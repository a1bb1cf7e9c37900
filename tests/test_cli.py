"""The command line on a tiny world: wrong use, the loop's files, resuming, external labels, tracking."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fake_occupancy import FakeFrames, write_experiment, write_frames
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.plugins.environments import SLURMEnvironment
from torch._dynamo.utils import counters
from wandb.proto import wandb_internal_pb2

from al_lightning import cli
from al_lightning.engine import ActiveLearningCallback
from al_lightning.tasks import OccupancyTask
from al_lightning.types import Summary

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_frames(tmp_path / "data")
    write_experiment(tmp_path / "configs")

    def start(*words: str) -> int:
        given = ["experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}"]
        return cli.main([*given, *words], tmp_path / "configs")

    return start


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_all_its_files(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    metrics = rows(tmp_path / "run/metrics.csv")
    assert list(metrics[0])[:4] == ["cycle", "labeled", "share", "mIoU"]
    assert [(row["cycle"], row["labeled"], row["share"]) for row in metrics] == [
        ("0", "3", "0.25"), ("1", "6", "0.5"), ("2", "9", "0.75")
    ]  # fmt: skip
    pool = {row["unit"]: int(row["acquired_at"]) for row in rows(tmp_path / "run/pool.csv")}
    assert [list(pool.values()).count(cycle) for cycle in (-1, 0, 1, 2)] == [3, 3, 3, 3]
    for cycle in (0, 1):
        folder = tmp_path / "run/cycles" / str(cycle)
        picks = rows(folder / "selection.csv")
        assert [pool[row["unit"]] for row in picks] == [cycle + 1] * 3
        scores = pq.read_table(folder / "scores.parquet").to_pylist()
        candidates = {unit for unit, since in pool.items() if since == -1 or since > cycle}
        assert {row["unit"] for row in scores} == candidates
        for name in ("inter", "intra", "uncertainty"):
            assert all(0 <= row[f"{name}_normalized"] <= 1 and np.isfinite(row[name]) for row in scores)
        assert {row["unit"]: row["pick"] for row in scores if row["pick"] >= 0} == {
            row["unit"]: int(row["pick"]) for row in picks
        }
    assert not (tmp_path / "run/cycles/2/selection.csv").exists()
    assert {row["unit"]: row["rows"] for row in rows(tmp_path / "run/rows.csv")} == dict.fromkeys(pool, "1")
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert saved["loop"] == {"cycles": 3, "seed_size": 3, "budget": 3, "weights": "scratch"}
    output = capsys.readouterr().out
    assert "cycle 2 of 0..2" in output
    assert "finished" in output


def test_data_are_prepared_before_they_are_read(tmp_path: Path) -> None:
    write_experiment(tmp_path / "configs")
    words = ["experiment=fake", f"data.root={tmp_path / 'made'}", f"run_dir={tmp_path / 'run'}"]
    assert cli.main([*words, "loop.cycles=1"], tmp_path / "configs") == 2  # there are no frames
    words.append("prepare={_target_: fake_occupancy.write_frames, root: '${data.root}', train: 5}")
    assert cli.main([*words, "loop.cycles=1"], tmp_path / "configs") == 0
    assert len(rows(tmp_path / "run/pool.csv")) == 5


def test_the_same_command_on_a_finished_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    assert run() == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert run() == 0
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_another_configuration_is_refused_with_its_keys(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("loop.cycles=1") == 0
    assert run("loop.cycles=2", "acquisition.weights.intra=0") == 2
    output = " ".join(capsys.readouterr().out.split())
    assert "loop.cycles: 1 -> 2" in output
    assert "acquisition.weights.intra: 1.0 -> 0" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loop.seed_size=13"], "'loop.seed_size' is 13, but the dataset has only 12 units"),
        (["loop.budget=5"], "'loop.budget' is too large: 3 + 5 x 2 cycles = 13, but the dataset has only 12"),
        (["acquisition.weights.intar=0"], "unknown key 'acquisition.weights.intar'; did you mean 'intra'"),
        (["acquisition.weights={inter: 0, intra: 0, uncertainty: 0}"], "acquisition:"),
        (["trainer.accelerator=gppu"], "trainer:"),
        (["trainer.precision=17"], "trainer:"),
        (["trainer.devices=2", "trainer.strategy=ddp_spawn"], "trainer: processes that are spawned or forked"),
        (["trainer.devices=2", "trainer.strategy=ddp_fork"], "trainer: processes that are spawned or forked"),
        (["trainer.devices=2", "trainer.strategy=deepspeed"], "trainer:"),
        (["task.lr=-1"], "task: lr must be positive"),
        (["task.lr=.nan"], "task: lr must be positive"),
        (["data={_target_: fake_occupancy.TinyNetwork}"], "'data' must be of the kind ActiveDataset"),
        (["acquisition.combiner={_target_: al_lightning.acquisition.RobustMinMax}"], "'acquisition.combiner' must be"),
        (["oracle=external", "summarizer.visibility=label_mask"], "'oracle=external' has no label files"),
        (["task.network.droput=0"], "unknown key 'task.network.droput'; did you mean 'dropout'"),
    ],
)
def test_wrong_use_ends_before_any_data_is_read(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: list[str], message: str,
) -> None:  # fmt: skip
    def sample(self, row, *, annotations=True, label_mask=False, generator=None):
        pytest.fail("data were read")

    monkeypatch.setattr(FakeFrames, "sample", sample)
    assert run(*words) == 2
    assert message in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "run/config.yaml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["summarizer.visibility=frustum", "summarizer.free_class=99"], "free_class must be one of the 3 classes"),
        (["acquisition.criteria.inter.field=class_histgram"], "no summary field 'class_histgram'"),
    ],
)
def test_parts_that_do_not_fit_show_before_training(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(*words) == 2
    assert message in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "run/config.yaml").exists()


def test_a_run_that_earned_nothing_may_start_anew(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fake_occupancy.CrossEntropy.forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("seed=1", "loop.cycles=1")
    assert (tmp_path / "run/config.yaml").exists()
    assert run("seed=2", "loop.cycles=1") == 0
    assert "has earned nothing yet" in caplog.text
    other = f"run_dir={tmp_path / 'fresh'}"
    assert run("seed=2", "loop.cycles=1", other) == 0
    assert (tmp_path / "run/pool.csv").read_bytes() == (tmp_path / "fresh/pool.csv").read_bytes()


def test_help_and_print_config(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    output = capsys.readouterr().out
    assert "loop.budget" in output
    assert "a tiny loop" in output
    assert run("--print-config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["loop"]["budget"] == 3


def test_the_pool_pass_opens_no_label_of_the_pool(run: Run, tmp_path: Path, openings: list[str]) -> None:
    assert run("loop.cycles=2") == 0
    opened = {Path(name).name.split(".")[0] for name in openings if name.endswith(".label.npy")}
    pool = {row["unit"]: int(row["acquired_at"]) for row in rows(tmp_path / "run/pool.csv")}
    validation = {"000", "001", "002"}
    assert {unit for unit, since in pool.items() if since >= 0} <= opened
    assert opened - validation <= {unit for unit, since in pool.items() if since >= 0}


def test_weights_of_the_previous_cycle(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    original = Trainer.fit

    def fit(self, model, *arguments, **keywords) -> None:
        starts.append({name: value.clone() for name, value in model.state_dict().items()})
        original(self, model, *arguments, **keywords)

    monkeypatch.setattr(Trainer, "fit", fit)
    assert run("loop.weights=previous") == 0
    for cycle in (1, 2):
        path = tmp_path / f"run/cycles/{cycle - 1}/checkpoint.ckpt"
        ended = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.equal(starts[cycle][name], ended[name]) for name in ended)
    assert not torch.equal(starts[0]["network.head.weight"], starts[1]["network.head.weight"])


def test_external_labels_are_asked_for_checked_and_awaited(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, drawer = tmp_path / "data/train", tmp_path / "drawer"
    drawer.mkdir()
    for path in folder.glob("*.label.npy"):  # nobody has labeled anything
        path.rename(drawer / path.name)

    def pending(name: str) -> list[str]:
        return [row["label"] for row in rows(tmp_path / f"run/requests/{name}.csv")]

    def pool() -> list[int]:
        path = tmp_path / "run/pool.csv"
        return sorted(int(row["acquired_at"]) for row in rows(path)) if path.exists() else []

    def answer(paths: list[str]) -> None:
        for path in paths:
            (drawer / Path(path).name).rename(tmp_path / "data" / path)

    assert run("oracle=external") == 0
    assert len(pending("seed")) == 3
    assert "labels of 3 units are requested" in " ".join(capsys.readouterr().out.split())
    answer(pending("seed"))
    assert run("oracle=external") == 0
    request = rows(tmp_path / "run/requests/cycle_0.csv")
    assert [row["unit"] for row in request] == [row["unit"] for row in rows(tmp_path / "run/cycles/0/selection.csv")]
    assert {"score", "inter", "uncertainty"} <= set(request[0])
    before = pool()
    answer(pending("cycle_0")[:1])
    (tmp_path / "data" / pending("cycle_0")[1]).write_bytes(b"half a lab")
    capsys.readouterr()
    assert run("oracle=external") == 1
    output = "".join(capsys.readouterr().out.split())
    assert "2labelscannotbeused" in output
    assert all(Path(path).name in output for path in pending("cycle_0")[1:])
    assert Path(pending("cycle_0")[0]).name not in output
    assert pool() == before
    (tmp_path / "data" / pending("cycle_0")[1]).unlink()
    answer(pending("cycle_0")[1:])
    assert run("oracle=external") == 0
    assert pool().count(1) == 3
    answer(pending("cycle_1"))
    assert run("oracle=external") == 0
    assert len(rows(tmp_path / "run/metrics.csv")) == 3


def test_a_request_for_labels_stands_though_now_another_selection_is_found(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on another machine, whose last bits are others."""
    assert run("oracle=external") == 0
    request, scores = tmp_path / "run/requests/cycle_0.csv", tmp_path / "run/cycles/0/scores.parquet"
    asked, before = [row["unit"] for row in rows(request)], scores.read_bytes()
    free = [row["unit"] for row in rows(tmp_path / "run/pool.csv") if row["acquired_at"] == "-1"]
    other = next(unit for unit in free if unit not in asked)
    request.write_text(request.read_text().replace(f"{asked[0]},", f"{other},"))
    assert run("oracle=external") == 0
    assert {row["unit"] for row in rows(tmp_path / "run/pool.csv") if row["acquired_at"] == "1"} == {other, *asked[1:]}
    assert "what was asked for stands" in caplog.text
    assert scores.read_bytes() == before
    request = tmp_path / "run/requests/cycle_1.csv"
    header, first, *others = request.read_text().splitlines()
    spoiled = {
        "asks for unknown units: unknown": [header, "unknown,", *others],
        "must ask for 3 unlabeled units, each once": [header, others[0], *others],
        "cycle_1.csv must ask for 3": [header, *others],
        "must ask for 3 unlabeled": [header, f"{other},", *others],
        "has no column 'unit'": [line.replace(",", ";") for line in (header, first, *others)],
    }
    for message, lines in spoiled.items():
        request.write_text("\n".join(lines))
        capsys.readouterr()
        assert run("oracle=external") == 1
        assert message in " ".join(capsys.readouterr().out.split())
    request.write_text("\ufeff" + "\n".join([header, *others[::-1], first]), "utf-8")  # saved by a spreadsheet
    caplog.clear()
    assert run("oracle=external") == 0
    assert "what was asked for stands" not in caplog.text
    assert (tmp_path / "run/cycles/1/gallery.npz").exists()


def test_a_request_for_the_seed_set_stands(run: Run, tmp_path: Path) -> None:
    labels = {path: path.read_bytes() for path in (tmp_path / "data/train").glob("*.label.npy")}
    for path in labels:
        path.unlink()
    assert run("oracle=external") == 0
    for path, content in labels.items():
        path.write_bytes(content)
    request = tmp_path / "run/requests/seed.csv"
    asked = [row["unit"] for row in rows(request)]
    other = next(name for path in labels if (name := path.name.split(".")[0]) not in asked)
    request.write_text(request.read_text().replace(f"{asked[0]},", f"{other},"))
    assert run("oracle=external") == 0
    assert {row["unit"] for row in rows(tmp_path / "run/pool.csv") if row["acquired_at"] == "0"} == {other, *asked[1:]}


def test_external_labels_give_the_run_that_labels_on_disk_give(run: Run, tmp_path: Path) -> None:
    assert run() == 0
    other = f"run_dir={tmp_path / 'external'}"
    for _ in range(3):
        assert run("oracle=external", other) == 0
    assert (tmp_path / "external/metrics.csv").read_bytes() == (tmp_path / "run/metrics.csv").read_bytes()
    assert (tmp_path / "external/pool.csv").read_bytes() == (tmp_path / "run/pool.csv").read_bytes()


def test_workers_change_nothing(run: Run, tmp_path: Path) -> None:
    assert run("loop.cycles=2") == 0
    assert run("loop.cycles=2", "loader.num_workers=2", f"run_dir={tmp_path / 'workers'}") == 0
    assert (tmp_path / "workers/metrics.csv").read_bytes() == (tmp_path / "run/metrics.csv").read_bytes()


def test_kernels_of_the_network_give_the_same_run(run: Run, tmp_path: Path) -> None:
    assert run("loop.cycles=2") == 0
    counters.clear()
    assert run("loop.cycles=2", "trainer.compile=true", f"run_dir={tmp_path / 'compiled'}") == 0
    assert counters["stats"]["unique_graphs"] > 0
    assert counters["frames"]["ok"] == counters["frames"]["total"]
    assert (tmp_path / "compiled/pool.csv").read_bytes() == (tmp_path / "run/pool.csv").read_bytes()
    files = (tmp_path / name / "cycles/1/checkpoint.ckpt" for name in ("run", "compiled"))
    weights = [torch.load(file, weights_only=True)["state_dict"]["network.head.weight"] for file in files]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-4)


def test_summaries_refuse_what_is_no_number() -> None:
    with pytest.raises(ValueError, match=r"'entropy' is not finite for units \[7\]"):
        Summary(torch.tensor([3, 7]), {"entropy": torch.tensor([0.1, float("nan")])})


def leveldb_records(content: bytes, header: int = 7, block: int = 32768) -> Iterator[bytes]:
    """Records of a log in LevelDB's format, which W&B writes: (crc 4, length 2, type 1, data) in blocks of 32 KiB."""
    position, parts = header, b""
    while position + 7 <= len(content):
        if block - position % block < 7:
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        if position + 7 + length > len(content):
            return  # still being written
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_offline_run(folder: Path) -> tuple[list[dict], list[str]]:
    """Logged rows and the files of the tables of an offline W&B run."""
    deadline = time.monotonic() + 60
    while True:  # W&B's own process may still be writing when the run has been told to finish
        logged, ended = [], False
        files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
        for data in (data for file in files for data in leveldb_records(file.read_bytes())):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            ended |= record.WhichOneof("record_type") == "exit"
            if record.WhichOneof("record_type") == "history":
                items = {(item.key or ".".join(item.nested_key)): item.value_json for item in record.history.item}
                logged.append({key: json.loads(value) for key, value in items.items()})
        if ended or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return logged, [str(table) for table in folder.rglob("*.table.json")]


def test_tracking_offline_can_be_read_back(run: Run, tmp_path: Path) -> None:
    assert run("tracking.mode=offline", "trainer.log_every_n_steps=2") == 0
    logged, tables = read_offline_run(tmp_path / "run")
    cycles = [entry for entry in logged if "mIoU" in entry]
    for entry, row in zip(cycles, rows(tmp_path / "run/metrics.csv"), strict=True):
        assert (entry["cycle"], entry["labeled"]) == (int(row["cycle"]), int(row["labeled"]))
        assert entry["mIoU"] == pytest.approx(float(row["mIoU"]))
        assert entry["IoU/road"] == pytest.approx(float(row["IoU/road"]))
    selections = [entry for entry in logged if "selected/share/car" in entry]
    assert [entry["cycle"] for entry in selections] == [0, 1]
    for entry in selections:
        assert sum(entry[f"selected/share/{name}"] for name in FakeFrames.class_names) == pytest.approx(1)
    found = [json.loads(Path(table).read_text()) for table in tables if "units" in table]
    units = {tuple(row[1] for row in table["data"]) for table in found}
    assert units == {
        tuple(row["unit"] for row in rows(tmp_path / f"run/cycles/{cycle}/selection.csv")) for cycle in (0, 1)
    }
    progress = [entry["train/cycle"] for entry in logged if "train/loss" in entry]
    assert progress == sorted(progress)
    assert 0 < progress[0] <= 1 < progress[-1] <= 3


def test_a_run_survives_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    write_frames(tmp_path / "data")
    write_experiment(tmp_path / "configs")
    words = [
        "experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}", "loop.cycles=1",
        "tracking.mode=online", "tracking.timeout=1",
    ]  # fmt: skip
    code = f"import sys; from pathlib import Path; from al_lightning.cli import main; sys.exit(main({words}, Path({str(tmp_path / 'configs')!r})))"  # noqa: E501
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"} | {
        "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tracked offline" in " ".join(done.stdout.split())
    assert len(rows(tmp_path / "run/metrics.csv")) == 1
    assert len([entry for entry in read_offline_run(tmp_path / "run")[0] if "mIoU" in entry]) == 1


def test_control_c_ends_with_a_word_and_the_run_goes_on_later(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fake_occupancy.Accuracy.update", interrupt)  # in the midst of validation
        handler = signal.getsignal(signal.SIGINT)
        assert run() == 130
        signal.signal(signal.SIGINT, handler)
    assert "goes on from here" in capsys.readouterr().out
    assert run() == 0
    assert len(rows(tmp_path / "run/metrics.csv")) == 3


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (OccupancyTask, "training_step"),
        (OccupancyTask, "validation_step"),
        (OccupancyTask, "predict_step"),
        (ActiveLearningCallback, "select"),
    ],
)
def test_a_terminated_run_does_not_say_that_it_is_done(
    run: Run,
    owner: type,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    method = getattr(owner, name)
    calls = []

    def terminated(self: Any, *arguments: Any) -> Any:
        if owner is not OccupancyTask or self._trainer is not None:  # not in the rehearsal
            calls.append(name)
            signal.raise_signal(signal.SIGTERM)
        return method(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, terminated)
        handler = signal.getsignal(signal.SIGTERM)
        assert run() == 143
        signal.signal(signal.SIGTERM, handler)
    assert len(calls) == 1
    assert "goes on from here" in capsys.readouterr().out
    assert run() == 0
    assert len(rows(tmp_path / "run/metrics.csv")) == 3


@pytest.mark.parametrize(
    ("hook", "left"),
    [
        ("on_train_end", "checkpoint.ckpt"),
        ("on_validation_end", "metrics.json"),
        ("on_predict_epoch_end", "summaries.npz"),
    ],
)
def test_a_run_terminated_in_the_last_moment_of_a_stage_saves_its_result_and_ends(
    run: Run, hook: str, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Callback):
        def __getattribute__(self, name: str) -> Any:
            return self.told if name == hook else super().__getattribute__(name)

        def told(self, trainer: Trainer, *_: Any) -> None:
            if not trainer.sanity_checking:
                signal.raise_signal(signal.SIGTERM)

    callbacks = cli._callbacks
    with monkeypatch.context() as patch:
        patch.setattr(cli, "_callbacks", lambda resolved: [*callbacks(resolved), Told()])
        handler = signal.getsignal(signal.SIGTERM)
        assert run("loop.cycles=2", "trainer.max_epochs=1") == 143
        signal.signal(signal.SIGTERM, handler)
    files = ["checkpoint.ckpt", "metrics.json", "summaries.npz", "selection.csv"]
    there = [name for name in files if (tmp_path / "run/cycles/0" / name).exists()]
    assert there == files[: files.index(left) + 1]
    assert run("loop.cycles=2", "trainer.max_epochs=1") == 0


def test_what_touches_no_result_may_change_while_a_run_goes_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("loop.cycles=1") == 0
    words = ("loader.num_workers=1", "trainer.progress_bar=true", "tracking.project=other", "description=other")
    assert run("loop.cycles=1", *words) == 0
    assert "finished before" in capsys.readouterr().out


def test_a_run_of_a_version_without_a_key_goes_on(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("loop.cycles=1") == 0
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert saved["trainer"].pop("compile") is False
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(saved))
    assert run("loop.cycles=1") == 0
    assert "finished before" in capsys.readouterr().out
    assert run("loop.cycles=1", "trainer.compile=true") == 2
    assert "trainer.compile: False -> True" in " ".join(capsys.readouterr().out.split())


def test_a_run_goes_on_over_as_many_devices_as_it_was_begun_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    words = ("trainer.devices=auto", "loader.batch_size=1", "trainer.accumulate_grad_batches=2")
    with monkeypatch.context() as patch:
        patch.setattr(OccupancyTask, "validation_step", lambda self, *_: 1 / 0)
        patch.setattr(Trainer, "_run_sanity_check", lambda self: None)
        with pytest.raises(ZeroDivisionError):
            run(*words)
    assert "1 process on cpu, 2 samples to an optimizer step: 1 x 1 x 2 batches" in caplog.text
    monkeypatch.setattr(CPUAccelerator, "auto_device_count", staticmethod(lambda: 2))
    assert run(*words) == 2
    output = " ".join(capsys.readouterr().out.split())
    assert "was begun with 1 process on cpu, and this would go on with 2 processes on cpu" in output


def test_slurm_never_saves_or_loads_a_checkpoint_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "1", "NTASKS_PER_NODE": "1", "JOB_NAME": "al", "JOB_ID": "1", "PROCID": "0",
                        "LOCALID": "0", "NODEID": "0", "NODELIST": "n1"}.items():  # fmt: skip
        monkeypatch.setenv(f"SLURM_{name}", value)
    stages = []
    original = Trainer._run

    def spy(self: Trainer, *arguments: Any, **keywords: Any) -> Any:
        stages.append((self._accelerator_connector.cluster_environment, signal.getsignal(signal.SIGUSR1)))
        (tmp_path / "run/hpc_ckpt_1.ckpt").write_bytes(b"of another cycle")
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Trainer, "_run", spy)
    assert run("loop.cycles=2", "trainer.max_epochs=1") == 0
    assert len(stages) == 5
    for environment, handler in stages:
        assert isinstance(environment, SLURMEnvironment)
        assert not environment.auto_requeue
        assert handler is signal.SIG_DFL
