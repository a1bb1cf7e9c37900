"""The vocabulary that the packages share, and nothing else.

Shape letters: B samples of a batch, N rows or cameras, K classes, X Y Z voxels along the axes of a grid, H W pixels.

Sensors and truth are different types: a network and the acquisition see `CameraInputs`, only losses and metrics see
`OccupancyAnnotations`. A batch of the unlabeled pool carries `annotations=None`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

IGNORE = 255
"""Label of a voxel without a class, where the mask says that it does not count."""

InputsT = TypeVar("InputsT")
AnnotationsT = TypeVar("AnnotationsT")


@dataclass(frozen=True)
class VoxelGrid:
    """An axis-aligned box of equal voxels in the ego frame (metres), indexed ``[x, y, z]``.

    Args:
        lower: smallest coordinates (x, y, z) of the box.
        upper: largest coordinates of the box.
        shape: number of voxels along x, y and z.

    Raises:
        ValueError: a side is not positive.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Accept any sequences of three and check them."""
        for name, kind in (("lower", float), ("upper", float), ("shape", int)):
            values = tuple(kind(value) for value in getattr(self, name))
            if len(values) != 3:
                raise ValueError(f"VoxelGrid.{name} needs three values (x, y, z), got {values}")
            object.__setattr__(self, name, values)
        if any(low >= high for low, high in zip(self.lower, self.upper, strict=True)) or min(self.shape) < 1:
            raise ValueError(f"VoxelGrid needs lower < upper and a positive shape, got {self}")

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of one voxel (metres)."""
        x, y, z = ((high - low) / count for low, high, count in zip(self.lower, self.upper, self.shape, strict=True))
        return x, y, z

    def centers(self, device: torch.device | str = "cpu") -> Tensor:
        """Voxel centres (X, Y, Z, 3), metres."""
        axes = [
            low + size * (torch.arange(count, device=device) + 0.5)
            for low, size, count in zip(self.lower, self.voxel_size, self.shape, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


@dataclass
class CameraInputs:
    """What the cameras see and how they stand (one sample, or a batch with a leading B).

    A pixel of the network's input is ``post_rotation @ pixel of the original image + post_translation``.

    Attributes:
        images: (N, 3, H, W) float32, normalized.
        camera2ego: (N, 4, 4) camera frame (x right, y down, z forward) to the ego frame in which the grid lies.
        intrinsics: (N, 3, 3) pinhole matrix of the original image, pixels.
        post_rotation: (N, 3, 3) image augmentation, linear part.
        post_translation: (N, 3) image augmentation, offset, pixels.
        bda: (4, 4) augmentation of the ego frame (flips); the annotations are transformed likewise.
        projection_shift: (N, 3) fourth column of a published projection matrix K [I | t], whose effect ``camera2ego``
            holds already: for networks that are fed the numbers of the calibration. None for zeros.
    """

    images: Tensor
    camera2ego: Tensor
    intrinsics: Tensor
    post_rotation: Tensor
    post_translation: Tensor
    bda: Tensor
    projection_shift: Tensor | None = None


@dataclass
class OccupancyAnnotations:
    """Voxel labels: the oracle's property.

    Attributes:
        semantics: (X, Y, Z) uint8 class of each voxel; its value means nothing where ``mask`` is false.
        mask: (X, Y, Z) bool, the voxels that count in loss and metrics.
        depth: (N, H, W) float32 depth that LiDAR measured at the pixels of the network's input, metres along the
            camera's axis; 0 where it measured nothing. None where nothing is trained with it.
    """

    semantics: Tensor
    mask: Tensor
    depth: Tensor | None = None


@dataclass
class Sample(Generic[InputsT, AnnotationsT]):
    """One row of a dataset.

    Attributes:
        row: number of the row in its dataset.
        inputs: sensors, calibration, logged ego motion.
        annotations: labels, or None where the labels may not be seen.
        label_mask: (X, Y, Z) bool, the dataset's visibility mask; set only on demand, since it ships with the labels.
        past: inputs of the rows before, stacked (F, ...), the oldest first; set only on demand. Where the unit begins,
            its first row is repeated. A dataset may also draw the rows itself, for training.
    """

    row: int
    inputs: InputsT
    annotations: AnnotationsT | None = None
    label_mask: Tensor | None = None
    past: InputsT | None = None


@dataclass
class Batch(Generic[InputsT, AnnotationsT]):
    """Samples stacked along a leading B; the fields are those of `Sample`, with ``index`` (B,) int64 for ``row``."""

    index: Tensor
    inputs: InputsT
    annotations: AnnotationsT | None = None
    label_mask: Tensor | None = None
    past: InputsT | None = None

    def pin_memory(self) -> Batch[InputsT, AnnotationsT]:
        """The batch in page-locked memory, from where it is copied while a GPU computes; a torch `DataLoader` asks."""
        pinned: Batch[InputsT, AnnotationsT] = _pinned(self)
        return pinned


@dataclass
class MaskStages:
    """Masks and their classes, by which some networks classify voxels, after each of L stages; the last one counts.

    Attributes:
        class_logits: (L, B, Q, K + 1); softmax, the last class is "no object".
        mask_logits: (L, B, Q, X', Y', Z') on the voxels of the labels or on coarser ones; sigmoid.
    """

    class_logits: Tensor
    mask_logits: Tensor


@dataclass
class OccupancyPrediction:
    """What an occupancy network says of a batch.

    Attributes:
        logits: (B, K, X, Y, Z); softmax over K is the class distribution of a voxel.
        features: (B, C, Y', X') bird's-eye-view features, the input of the head; None where the network has none.
        masks: what the logits were made of; None where the network has no masks.
        depth: (B, N, D, h, w) probabilities of the depth bins of every feature pixel; None where no loss reads them.
    """

    logits: Tensor
    features: Tensor | None = None
    masks: MaskStages | None = None
    depth: Tensor | None = None


@dataclass
class Summary:
    """A few numbers for every unit of the pool or of the labeled set.

    Attributes:
        units: (N,) int64 absolute unit numbers, never positions in the current pool.
        fields: name -> (N, ...) tensor of numbers on the CPU.

    Raises:
        ValueError: a field's length differs from the number of units, or a value is not finite.
    """

    units: Tensor
    fields: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse lengths that differ and values that are not numbers."""
        for name, values in self.fields.items():
            if len(values) != len(self.units):
                raise ValueError(f"summary field '{name}' has {len(values)} rows for {len(self.units)} units")
            finite = torch.isfinite(values).flatten(1).all(1) if values.dim() > 1 else torch.isfinite(values)
            if not bool(finite.all()):
                raise ValueError(f"summary field '{name}' is not finite for units {self.units[~finite][:5].tolist()}")

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.fields:
            raise KeyError(f"no summary field '{name}'; there are: {', '.join(sorted(self.fields)) or 'none'}")
        return self.fields[name]

    def take(self, positions: Tensor) -> Summary:
        """The rows at these positions, in this order."""
        return Summary(self.units[positions], {name: values[positions] for name, values in self.fields.items()})

    @staticmethod
    def concatenate(parts: Sequence[Summary]) -> Summary:
        """Join summaries that hold the same fields.

        Raises:
            ValueError: there is no part.
        """
        if not parts:
            raise ValueError("there is no summary to concatenate")
        return Summary(
            torch.cat([part.units for part in parts]),
            {name: torch.cat([part[name] for part in parts]) for name in parts[0].fields},
        )


class ActiveDataset(Protocol):
    """What the loop needs of a dataset: rows grouped into units that are labeled together.

    Attributes:
        units: absolute id of every unit (a scene or sample token, a frame name), unique and in a fixed order.
        unit_of: (rows,) int64, the unit of each row.
        subsets: name -> (units,) bool, groups of units such as night and rain that are reported on their own; nothing
            else may look at them.
    """

    units: Sequence[str]
    unit_of: np.ndarray[Any, np.dtype[np.int64]]
    subsets: Mapping[str, np.ndarray[Any, np.dtype[np.bool_]]]

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[Any, Any]:
        """Read one row.

        Args:
            row: number of the row.
            annotations: read the labels too; where False, no label file is opened.
            label_mask: read the visibility mask that ships with the labels.
            generator: source of the random augmentation; None for none.

        Raises:
            DataFileError: a file is missing, truncated or unreadable; the message names it.
        """
        ...

    def annotations(self, row: int) -> Any:
        """Labels of a row as they are on disk, without augmentation; no file of a sensor is opened if that can be.

        Raises:
            DataFileError: a file is missing, truncated or unreadable; the message names it.
        """
        ...

    def paths(self, unit: int) -> dict[str, str]:
        """Where a unit's data lie and its labels belong: name -> path, relative to the root of the dataset."""
        ...

    def label_problems(self, unit: int) -> list[str]:
        """What is wrong with the labels of a unit, one line a file; empty where all can be read."""
        ...


class DataFileError(Exception):
    """A data file is missing, truncated, of the wrong size or unreadable; the message says which."""


@runtime_checkable
class Ragged(Protocol):
    """What differs in size from sample to sample, and so makes a batch of itself."""

    @staticmethod
    def join(items: Sequence[Any]) -> Any:
        """One for a batch, of one for each sample."""
        ...


def stack(items: Sequence[Any]) -> Any:
    """Stack equal dataclasses of tensors (or tensors, or `Ragged`, or None) along a new first axis.

    Raises:
        TypeError: an item is neither a tensor, nor `Ragged`, nor None, nor a dataclass of those.
    """
    first = items[0]
    if first is None:
        return None
    if isinstance(first, Ragged):
        return first.join(items)
    if isinstance(first, Tensor):
        return torch.stack(list(items))
    if not hasattr(first, "__dataclass_fields__"):
        raise TypeError(f"cannot stack {type(first).__name__}")
    return type(first)(**{f.name: stack([getattr(item, f.name) for item in items]) for f in fields(first)})


def _pinned(item: Any) -> Any:
    """Dataclasses of tensors in page-locked memory; what is neither stays as it is."""
    if isinstance(item, Tensor):
        return item.pin_memory()
    if not hasattr(item, "__dataclass_fields__"):
        return item
    return replace(item, **{f.name: _pinned(getattr(item, f.name)) for f in fields(item)})


def collate(samples: Sequence[Sample[InputsT, AnnotationsT]]) -> Batch[InputsT, AnnotationsT]:
    """Samples to a batch."""
    return Batch(
        index=torch.tensor([sample.row for sample in samples]),
        inputs=stack([sample.inputs for sample in samples]),
        annotations=stack([sample.annotations for sample in samples]),
        label_mask=stack([sample.label_mask for sample in samples]),
        past=stack([sample.past for sample in samples]),
    )
