"""Every option of the Trainer arrives, and the paper-size experiments say what their papers and codes say."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from al_lightning import cli
from al_lightning.config import compose, options
from al_lightning.losses import OccFormerLoss, OccupancyCrossEntropy
from al_lightning.tasks import PlanningTask

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def built(monkeypatch: pytest.MonkeyPatch, *words: str, cycle: int = 0) -> dict[str, Any]:
    """Arguments of the Trainer that a cycle gets."""
    monkeypatch.setattr(cli, "Trainer", lambda **arguments: arguments)
    return cli._trainer(compose(CONFIGS, ["run_dir=runs/x", *words])[0], None, [], cycle)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("accelerator=gpu", "gpu"),
        ("devices=[0, 2]", [0, 2]),
        ("strategy=ddp", "ddp"),
        ("precision=bf16-mixed", "bf16-mixed"),
        ("gradient_clip_val=7.5", 7.5),
        ("gradient_clip_val=null", None),
        ("accumulate_grad_batches=3", 3),
        ("sync_batchnorm=true", True),
        ("log_every_n_steps=4", 4),
        ("deterministic=false", False),
        ("max_epochs=5", 5),
    ],
)
def test_an_option_is_what_the_trainer_gets(monkeypatch: pytest.MonkeyPatch, word: str, expected: Any) -> None:
    name = word.split("=")[0]
    assert built(monkeypatch, f"trainer.{word}")[name] == expected
    assert built(monkeypatch)[name] != expected


def test_what_no_option_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = built(monkeypatch, "trainer.max_epochs=5", "trainer.later_epochs=2", "trainer.progress_bar=false")
    assert trainer["default_root_dir"] == Path("runs/x/cycles")
    assert (trainer["logger"], trainer["callbacks"], trainer["enable_progress_bar"]) == (False, [], False)
    assert trainer["check_val_every_n_epoch"] > trainer["max_epochs"]
    assert built(monkeypatch, "trainer.max_epochs=5", "trainer.later_epochs=2", cycle=1)["max_epochs"] == 2
    assert built(monkeypatch, "trainer.max_epochs=5", cycle=1)["max_epochs"] == 5
    assert len(built(monkeypatch, "trainer.progress_bar=true")["callbacks"]) == 1


REQUIRED = {
    "occupancy_nuscenes": ("data.root=.", "data.splits.tokens=geo.pkl"),
    "occformer_kitti": ("data.root=.",),
    "planning_nuscenes": ("data.root=.",),
}
RECIPES = {
    # FlashOcc: a batch of 4 on each of 4 GPUs, a rate that never falls. Occupancy paper, Table I: 2,000 and 2,000 more.
    "occupancy_nuscenes": {
        "data.image_size": [256, 704], "data.grid.shape": [200, 200, 16], "task.lr": 1e-4, "task.weight_decay": 0.01,
        "task.warmup_steps": 200, "task.schedule": "constant", "loader.batch_size": 4, "trainer.max_epochs": 24,
        "trainer.gradient_clip_val": 5.0, "trainer.accumulate_grad_batches": 1, "trainer.later_epochs": None,
        "trainer.sync_batchnorm": False, "trainer.precision": "32-true", "loop.cycles": 5, "loop.seed_size": 2000,
        "loop.budget": 2000, "loop.weights": "scratch", "task.loss": {
            "_target_": "al_lightning.losses.OccupancyCrossEntropy",
        },
    },
    # OccFormer: one frame on each of 8 GPUs, no warm-up, a tenth after 20 and 25 of 30 epochs. Table II: 299 and 299.
    "occformer_kitti": {
        "data.image_size": [384, 1280], "data.grid.shape": [256, 256, 32], "data.depth": "scan", "task.lr": 1e-4,
        "task.weight_decay": 0.01, "task.warmup_steps": 0, "task.schedule": "steps",
        "task.undecayed": ["query_embed", "query_feat", "level_embed", "relative_position_bias_table"],
        "loader.batch_size": 1, "trainer.max_epochs": 30, "trainer.gradient_clip_val": 20.0,
        "trainer.accumulate_grad_batches": 1, "trainer.later_epochs": None, "trainer.sync_batchnorm": True,
        "trainer.precision": "32-true", "loop.cycles": 5, "loop.seed_size": 299, "loop.budget": 299,
        "loop.weights": "scratch", "task.loss": {
            "_target_": "al_lightning.losses.OccFormerLoss", "class_frequency": "semantickitti",
        },
    },
    # VAD: one frame on each of 8 GPUs. Planning paper: 70 scenes in 10 epochs, 10 more in 2; K = 10 passes, H = 5.
    "planning_nuscenes": {
        "data.image_size": [384, 640], "task.lr": 2e-4, "task.lr_factors": {"img_backbone": 0.1},
        "task.weight_decay": 0.01, "task.warmup_steps": 500, "task.schedule": "epoch_cosine", "task.passes": 10,
        "task.network.grid_mask": 0.7, "summarizer.horizon": 5, "loader.batch_size": 1, "loader.past_frames": 2,
        "data.past.window": 3, "trainer.max_epochs": 10, "trainer.later_epochs": 2, "trainer.gradient_clip_val": 35.0,
        "trainer.accumulate_grad_batches": 1, "trainer.sync_batchnorm": False, "trainer.precision": "32-true",
        "loop.cycles": 2, "loop.seed_size": 70, "loop.budget": 10, "loop.weights": "previous", "task.loss": {
            "_target_": "al_lightning.losses.VADLoss",
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("experiment", RECIPES)
def test_a_recipe_is_the_published_one(experiment: str) -> None:
    resolved = compose(CONFIGS, [f"experiment={experiment}", *REQUIRED[experiment]])[1]

    def value(key: str) -> Any:
        node = resolved
        for name in key.split("."):
            node = node[name]
        return node

    assert {key: value(key) for key in RECIPES[experiment]} == RECIPES[experiment]


def test_all_experiments_of_paper_size_have_a_recipe() -> None:
    small = ("_sim", "_mini", "occupancy_kitti", "planning_status")
    assert {name for name in options(CONFIGS, "experiment") if not name.endswith(small)} == set(RECIPES)


def test_what_the_recipes_leave_to_defaults() -> None:
    planning = {name: p.default for name, p in inspect.signature(PlanningTask).parameters.items()}
    assert planning["warmup_start"] == pytest.approx(1 / 3)
    occformer = {name: p.default for name, p in inspect.signature(OccFormerLoss).parameters.items()}
    assert [occformer[name] for name in ("points", "label", "mask", "dice", "depth", "no_object", "depth_step")] == [
        50_176, 2.0, 5.0, 5.0, 1.0, 0.1, 0.5
    ]  # fmt: skip
    flashocc = {name: p.default for name, p in inspect.signature(OccupancyCrossEntropy).parameters.items()}
    assert flashocc["class_frequency"] is None
    assert flashocc["use_mask"] is True
