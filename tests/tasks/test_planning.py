"""Training, validation and prediction of planners, against the network run by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_drives import SCENES as SCENES_OF_DRIVES
from fake_drives import VERSION, read_table, write_table
from fake_drives import write_drives as write_nuscenes_drives
from fake_nuscenes import token
from fake_planning import FRAMES, FakeDrives, write_drives
from pytorch_lightning import Trainer

from al_lightning.data import ActiveLearningDataModule, LabelPool, NuScenesDriving
from al_lightning.data.module import WholeUnits
from al_lightning.driving import OBSTACLES, commanded_positions, footprints
from al_lightning.losses import Imitation, VADLoss
from al_lightning.metrics import OpenLoopPlanning
from al_lightning.models import EgoStatusPlanner, vad_nano
from al_lightning.models.vad import monte_carlo_dropout
from al_lightning.tasks import PlanningTask
from al_lightning.tasks.frames import remembered
from al_lightning.tasks.planning import pass_seed
from al_lightning.types import collate

SCENES = 2


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> FakeDrives:
    root = tmp_path_factory.mktemp("drives")
    write_drives(root, train=SCENES, val=SCENES)
    return FakeDrives(str(root), "train", image_size=(32, 32))


def nano(**arguments) -> PlanningTask:
    torch.manual_seed(0)
    return PlanningTask(vad_nano(), VADLoss(), OpenLoopPlanning(), **{"passes": 3, **arguments})


def simple(**arguments) -> PlanningTask:
    torch.manual_seed(0)
    return PlanningTask(EgoStatusPlanner(hidden=(8,)), Imitation(), OpenLoopPlanning(), **arguments)


def make_module(drives: FakeDrives, batch_size: int = 4, **arguments) -> ActiveLearningDataModule:
    pool = LabelPool(drives.units)
    pool.acquire([1])
    return ActiveLearningDataModule(drives, drives, pool, batch_size=2, predict_batch_size=batch_size, **arguments)


def make_trainer(*callbacks, **arguments) -> Trainer:
    return Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, callbacks=list(callbacks), **arguments)  # fmt: skip


def by_hand(network, drives: FakeDrives):
    """Frame by frame: inputs, history and prediction of an official test run, batches of one."""
    network.eval()
    history = None
    with torch.no_grad():
        for row in range(len(drives)):
            inputs = collate([drives.sample(row, annotations=False)]).inputs
            if inputs.new_scene:
                history = None
            prediction = network(inputs, history)
            yield row, inputs, history, prediction
            history = prediction.bev


@pytest.fixture(scope="module")
def predicted(drives: FakeDrives) -> torch.Tensor:
    torch.manual_seed(7)
    return predict(nano(), drives)


def predict(task: PlanningTask, drives: FakeDrives, batch_size: int = 4) -> torch.Tensor:
    return torch.cat(make_trainer().predict(task, datamodule=make_module(drives, batch_size)))


def test_the_first_plan_is_that_of_the_network_with_the_history_of_its_scene(
    drives: FakeDrives, predicted: torch.Tensor
) -> None:
    assert predicted.shape == (SCENES * FRAMES, 1 + 3, 6, 2)
    network = nano().network
    matters = False
    for row, inputs, history, prediction in by_hand(network, drives):
        plan = commanded_positions(prediction.plan, inputs.command)[0]
        assert torch.allclose(predicted[row, 0], plan, atol=1e-4), row
        if history is not None:
            matters |= not torch.allclose(network(inputs, history).plan, network(inputs).plan, atol=1e-4)
    assert matters


@pytest.mark.parametrize("attention", [False, True])
def test_stochastic_plans_are_those_of_whole_passes_with_their_own_seeds(
    drives: FakeDrives, predicted: torch.Tensor, attention: bool
) -> None:
    found = predict(nano(attention_dropout=True), drives) if attention else predicted
    assert torch.equal(found[:, 0], predicted[:, 0])  # what is carried is never random
    network = nano().network
    for row, inputs, history, _ in by_hand(network, drives):
        for number in range(3) if row in (0, 1, FRAMES - 1, FRAMES + 2) else ():
            with monte_carlo_dropout(network, attention), torch.no_grad():
                torch.manual_seed(pass_seed(0, row, number))
                plan = commanded_positions(network(inputs, history).plan, inputs.command)[0]
            assert torch.allclose(found[row, 1 + number], plan, atol=1e-4), (row, number)
    assert not torch.allclose(found[:, 1], found[:, 2], atol=1e-3)
    if attention:
        assert not torch.allclose(found[:, 1:], predicted[:, 1:], atol=1e-3)


def test_plans_do_not_depend_on_batches_or_on_what_was_drawn_before(
    drives: FakeDrives, predicted: torch.Tensor
) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert torch.allclose(predict(nano(), drives, batch_size=7), predicted, atol=1e-4)
    torch.manual_seed(99)
    batch = collate([drives.sample(0, annotations=False)])
    task = nano().eval()
    torch.random.set_rng_state(before)
    with torch.no_grad():
        task.predict_step(batch, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_trunk_runs_once_a_batch(drives: FakeDrives) -> None:
    class Counting(EgoStatusPlanner):
        trunk = 0

        def extract(self, images):
            Counting.trunk += 1
            return super().extract(images)

    task = PlanningTask(Counting(), Imitation(), OpenLoopPlanning(), passes=10)
    predict(task, drives, batch_size=6)
    assert Counting.trunk == SCENES * FRAMES / 6


def test_other_seeds_give_other_passes(drives: FakeDrives) -> None:
    batch = collate([drives.sample(0, annotations=False)])
    seeds = {pass_seed(*numbers) for numbers in ((0, 1, 2), (1, 0, 2), (0, 2, 1), (0, 1, 3))}
    assert len(seeds) == 4
    plans = []
    for seed in (0, 1):
        task = simple(seed=seed).eval()
        torch.nn.init.ones_(task.network.correction.weight)
        with torch.no_grad():
            plans.append(task.predict_step(batch, 0))
    assert torch.equal(plans[0][:, 0], plans[1][:, 0])
    assert not torch.equal(plans[0][:, 1:], plans[1][:, 1:])


def test_a_row_out_of_order_is_refused(drives: FakeDrives) -> None:
    task = simple().eval()
    first, third = (collate([drives.sample(row, annotations=False)]) for row in (0, 2))
    task.predict_step(first, 0)
    with pytest.raises(RuntimeError, match="row 2 has a past and must come right after row 1"):
        task.predict_step(third, 1)


class Clips(FakeDrives):
    """The same drives in pieces of three keyframes."""

    def __init__(self, drives: FakeDrives) -> None:
        super().__init__(str(drives.root), "train", drives.image_size)
        self.unit_of = np.arange(len(drives)) // 3

    def sample(self, row, **arguments):
        sample = super().sample(row, **arguments)
        sample.inputs.new_scene = torch.tensor(row % 3 == 0)
        return sample


def test_clips_are_planned_each_by_itself(drives: FakeDrives, predicted: torch.Tensor) -> None:
    """Whatever clips a process is given; what came before a clip is forgotten."""
    clips = Clips(drives)
    together = predict(nano(), clips)
    for rank in (0, 1):
        share = WholeUnits(clips, clips.unit_of, 2, rank).rows
        task = nano().eval()
        with torch.no_grad():
            plans = task.predict_step(collate([clips.sample(int(row), annotations=False) for row in share]), 0)
        assert torch.allclose(plans, together[share], atol=1e-4)
    assert torch.allclose(together[:3], predicted[:3], atol=1e-4)
    assert not torch.allclose(together[3:6], predicted[3:6], atol=1e-4)


def test_validation_measures_the_plans_of_all_rows_and_counts_road_users_alone(
    drives: FakeDrives, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FakeDrives.sample

    def with_cones(self, row, **arguments):
        sample = original(self, row, **arguments)
        if sample.annotations is not None:
            sample.annotations.labels[1] = OBSTACLES[row % 2]
        return sample

    monkeypatch.setattr(FakeDrives, "sample", with_cones)
    trainer = make_trainer()
    trainer.validate(nano(), datamodule=make_module(drives), verbose=False)
    metric = OpenLoopPlanning()
    for row, inputs, _, prediction in by_hand(nano().network, drives):
        truth = collate([drives.sample(row)]).annotations
        agents, present = footprints(truth)
        present[:, 1] = False
        plan = commanded_positions(prediction.plan, inputs.command)
        metric.update(plan, truth.ego_future.cumsum(1), truth.ego_future_mask, agents, present)
    expected = metric.compute()
    assert len(expected) == 13
    assert expected["samples"] == SCENES * (FRAMES - 5)
    for name, value in expected.items():
        assert trainer.callback_metrics[name].item() == pytest.approx(value.item(), abs=1e-4), name


def test_training_remembers_the_frames_before(drives: FakeDrives) -> None:
    task = nano()
    module = make_module(drives, past_frames=2)
    module.samples_per_epoch = FRAMES
    for batch in module.train_dataloader():
        history = remembered(task.driver, batch.past)
        for position, row in enumerate(batch.index.tolist()):
            first = FRAMES * (row // FRAMES)
            expected = None
            for before in range(max(first, row - 2), row):
                expected = task.network.carry(collate([drives.sample(before)]).inputs, expected)
            if expected is not None:
                assert torch.allclose(history[position], expected[0], atol=1e-4), row
            else:
                assert batch.inputs.new_scene[position]
    assert remembered(task.driver, next(iter(make_module(drives).train_dataloader())).past) is None


class Blind(EgoStatusPlanner):
    """Insists on knowing nothing of what comes."""

    def carry(self, inputs, history=None):
        assert inputs.ego_future is None
        assert inputs.ego_future_mask is None
        return super().carry(inputs, history)

    def drive(self, features, inputs, history=None):
        self.carry(inputs)
        return super().drive(features, inputs, history)


def test_no_network_is_shown_the_way_that_was_driven(drives: FakeDrives) -> None:
    task = PlanningTask(Blind(), Imitation(), OpenLoopPlanning(), passes=2)
    module = make_module(drives, past_frames=1)
    trainer = make_trainer(max_epochs=1, limit_val_batches=1)
    trainer.fit(task, datamodule=module)
    trainer.validate(task, datamodule=module, verbose=False)
    trainer.predict(task, datamodule=module)
    assert module.train.sample(0).inputs.ego_future is not None


@pytest.mark.parametrize(("scene", "split"), [("scene-0001", "train"), ("scene-0012", "val")])
def test_what_is_planned_does_not_know_where_the_vehicle_goes_next(scene: str, split: str, tmp_path: Path) -> None:
    """Scene 12 has no CAN bus. The command, which tells of the future, is asked for in all three ways."""
    write_nuscenes_drives(tmp_path)
    planner = EgoStatusPlanner().eval()
    torch.nn.init.normal_(planner.correction.weight)

    def plans() -> torch.Tensor:
        dataset = NuScenesDriving(str(tmp_path), VERSION, split, images=False, maps=False)
        rows = np.flatnonzero(dataset.unit_of == dataset.units.index(scene))
        return planner(collate([dataset.sample(row, annotations=False) for row in rows]).inputs).plan

    before = plans()
    poses = {row["token"]: row for row in read_table(tmp_path, "ego_pose")}
    shots = read_table(tmp_path, "sample_data")
    for last in (3, 1, 0):  # the keyframes after this one; what was moved stays moved
        later = {token("sample", scene, keyframe) for keyframe in range(last + 1, SCENES_OF_DRIVES[scene])}
        for shot in shots:
            if shot["sample_token"] in later:
                x, y, z = poses[shot["ego_pose_token"]]["translation"]
                poses[shot["ego_pose_token"]]["translation"] = [x + 3.0, y - 2.0 * last, z]
        write_table(tmp_path, "ego_pose", list(poses.values()))
        after = plans()
        assert torch.equal(after[: last + 1], before[: last + 1]), last
        assert not torch.equal(after[last + 1 :], before[last + 1 :])


@pytest.mark.parametrize("make", [simple, nano])
def test_training_brings_the_plan_closer_to_the_driven_way(make, drives: FakeDrives) -> None:
    task = make(lr=0.01 if make is simple else 3e-3, warmup_steps=0)
    module = make_module(drives, past_frames=1)
    module.samples_per_epoch = 4
    before, after = [], []
    for errors, epochs in ((before, 0), (after, 100 if make is simple else 5)):
        if epochs:
            trainer = make_trainer(max_epochs=epochs, limit_val_batches=0, gradient_clip_val=35.0)
            trainer.fit(task.train(), datamodule=module)
        task.eval()
        with torch.no_grad():
            for row in range(FRAMES, FRAMES + 4):
                batch = collate([drives.sample(row)])
                plan = commanded_positions(task(batch.inputs).plan, batch.inputs.command)
                errors.append((plan - batch.annotations.ego_future.cumsum(1)).norm(dim=-1).mean())
    assert sum(after) < (0.7 if make is simple else 0.95) * sum(before)


def rates(task: PlanningTask, drives: FakeDrives, epochs: int) -> list[list[float]]:
    found = []

    class Spy(type(task)):
        def on_train_batch_start(self, batch, batch_idx):
            found.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])

    task.__class__ = Spy
    make_trainer(max_epochs=epochs, limit_val_batches=0).fit(task, datamodule=make_module(drives))
    return found


def test_parts_of_the_network_learn_at_their_own_rate(drives: FakeDrives) -> None:
    warmup = {"warmup_steps": 2, "warmup_start": 1 / 3, "warmup_share": 0.5}
    task = simple(lr=0.3, lr_factors={"layers": 0.1}, **warmup, schedule="cosine")
    found = rates(task, drives, epochs=1)  # five steps
    cosine = [0.75, 0.25]
    assert [slow for slow, _ in found] == pytest.approx([0.01, 0.02, 0.03, *(0.03 * c for c in cosine)])
    assert [fast for _, fast in found] == pytest.approx([10 * slow for slow, _ in found])
    groups = task.trainer.optimizers[0].param_groups
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in task.network.layers.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(task.parameters()))
    assert rates(simple(lr=0.3, warmup_steps=0, schedule="constant"), drives, 2) == [[0.3]] * 10


def test_a_factor_of_no_parameter_is_refused(drives: FakeDrives) -> None:
    with pytest.raises(ValueError, match="no parameter of the network begins with 'img_backbone'"):
        rates(simple(lr_factors={"img_backbone": 0.1}), drives, 1)


@pytest.mark.parametrize(
    "arguments",
    [{"lr": 0.0}, {"lr": float("nan")}, {"weight_decay": -1.0}, {"passes": -1}, {"warmup_steps": -1}, {"seed": -1},
     {"warmup_start": 0.0}, {"warmup_start": 1.5}, {"lr_factors": {"layers": 0.0}}],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        simple(**arguments)


def test_without_passes_there_is_the_plan_alone(drives: FakeDrives) -> None:
    batch = collate([replace(drives.sample(0), annotations=None)])
    assert simple(passes=0).eval().predict_step(batch, 0).shape == (1, 1, 6, 2)
