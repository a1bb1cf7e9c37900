"""The typed part of the configuration; components (nodes with a ``_target_``) are typed by their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, get_type_hints

from omegaconf import MISSING


class Oracle(Enum):
    """Who reveals the labels of the selected units."""

    dataset = "dataset"
    external = "external"


class Weights(Enum):
    """Where the network's weights come from at the start of every cycle."""

    scratch = "scratch"
    previous = "previous"


class TrackingMode(Enum):
    """How Weights & Biases is used."""

    online = "online"
    offline = "offline"
    disabled = "disabled"


def _key(help: str, default: Any = MISSING) -> Any:  # noqa: A002
    """A field with its line of help."""
    return field(default=default, metadata={"help": help})


def _section(kind: type) -> Any:
    """A nested section with its own defaults."""
    return field(default_factory=kind)


def _component(help: str) -> Any:  # noqa: A002
    """A node that names a class or function (`_target_`) and its arguments."""
    return field(default_factory=dict, metadata={"help": help})


@dataclass
class LoopConfig:
    """The active-learning loop."""

    cycles: int = _key("number of cycles; the last one trains and reports but does not acquire", 5)
    seed_size: int = _key("units labeled at random before cycle 0")
    budget: int = _key("units acquired after every cycle but the last")
    weights: Weights = _key(
        "start of every cycle: scratch (fresh weights) or previous (the last cycle's)", Weights.scratch
    )


@dataclass
class LoaderConfig:
    """Reading batches."""

    batch_size: int = _key("samples in a training batch", 1)
    predict_batch_size: int = _key("samples in a batch of validation and of the pool pass", 1)
    samples_per_epoch: int | None = _key(
        "rows of an epoch, drawn in rounds over the labeled set, so that all cycles take as many steps; null: all once",
        None,
    )
    past_frames: int = _key("frames before each training frame that are read with it, for networks that remember", 0)
    num_workers: int = _key("reader processes; results do not depend on it", 0)


@dataclass
class TrainerConfig:
    """Arguments of the Lightning Trainer that every cycle gets a fresh one of."""

    max_epochs: int = _key("epochs of a cycle", 24)
    later_epochs: int | None = _key("epochs of every cycle after the first one; null: max_epochs", None)
    accelerator: str = _key("cpu, gpu, auto, ...", "auto")
    devices: Any = _key("number or list of devices, or auto", "auto")
    strategy: str = _key("auto, ddp, ...", "auto")
    precision: str = _key("32-true, bf16-mixed, 16-mixed, ...", "32-true")
    gradient_clip_val: float | None = _key("largest L2 norm of the gradient, or null", None)
    accumulate_grad_batches: int = _key("batches to an optimizer step", 1)
    sync_batchnorm: bool = _key("batch norms over the batches of all processes together (SyncBatchNorm)", False)
    log_every_n_steps: int = _key("steps between two logged training losses", 10)
    checkpoint_every_n_epochs: int = _key("epochs between two checkpoints: what a killed run may have to repeat", 1)
    compile: bool = _key("kernels of torch.compile: minutes to make, then large networks train faster", False)
    deterministic: bool = _key("insist on deterministic kernels, so that a resumed run is equal bit for bit", True)
    progress_bar: bool = _key("show progress bars", True)


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: TrackingMode = _key("online, offline or disabled", TrackingMode.offline)
    project: str = _key("name of the project", "al_lightning")
    entity: str | None = _key("team or user, or null for the account's own", None)
    group: str | None = _key("runs shown together, or null", None)
    timeout: float = _key("seconds to wait for the server before tracking goes on offline", 60.0)


@dataclass
class GalleryConfig:
    """What is kept of a few units after every selection, for the report; never touches a result."""

    selected: int = _key("units shown of those selected, the first picks; 0 for none", 4)
    rejected: int = _key("units shown of those not selected, the best and the worst; 0 for none", 4)


@dataclass
class ExperimentConfig:
    """An experiment. Dots lead into sections and components: `loop.budget=10`, `acquisition.weights.intra=0`."""

    experiment: str = _key("name of a file in configs/experiment", "occupancy_sim")
    description: str = _key("one line on what the experiment does", "")
    seed: int = _key("seed of everything random", 0)
    run_dir: str = _key("where results go; an existing run is resumed", "runs/${experiment}/${seed}")
    oracle: Oracle = _key(
        "dataset: labels are on disk; external: write a request for labels, stop, go on when they are there",
        Oracle.dataset,
    )
    prepare: dict[str, Any] | None = _component("a function that makes the data ready before they are read, or null")
    data: dict[str, Any] = _component("the dataset, read once with split=train and once with split=val")
    task: dict[str, Any] = _component("the LightningModule with its network, loss and metric")
    summarizer: dict[str, Any] = _component("what is kept of every prediction for the acquisition")
    acquisition: dict[str, Any] = _component("how units are scored and selected")
    callbacks: dict[str, Any] = _component("further Lightning callbacks: name -> component, or null to leave it out")
    loop: LoopConfig = _section(LoopConfig)
    loader: LoaderConfig = _section(LoaderConfig)
    trainer: TrainerConfig = _section(TrainerConfig)
    tracking: TrackingConfig = _section(TrackingConfig)
    gallery: GalleryConfig = _section(GalleryConfig)


def describe_keys(schema: type = ExperimentConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every typed key as (dotted name, default, help)."""
    hints = get_type_hints(schema)
    for item in fields(schema):
        name = prefix + item.name
        if is_dataclass(hints[item.name]):
            yield from describe_keys(hints[item.name], f"{name}.")
            continue
        default = "" if item.default is NO_DEFAULT else item.default
        shown = default.name if isinstance(default, Enum) else "null" if default is None else str(default)
        yield name, "required" if shown == MISSING else shown, item.metadata["help"]
