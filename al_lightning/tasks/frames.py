"""Driving frame by frame: what a driver has to offer, and what one frame leaves for the next.

Shape letters: B samples, N cameras, H W pixels, Q cells of the bird's-eye view, C channels, F frames of the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from al_lightning.driving import Drive, DrivingAnnotations, DrivingInputs, DrivingPrediction
from al_lightning.types import Batch

PlanningBatch = Batch[DrivingInputs, DrivingAnnotations]


class Driver(Protocol):
    """A network that drives: an image trunk without randomness, and everything after it."""

    def extract(self, images: Tensor) -> Tensor:
        """Images (B, N, 3, H, W) to features (B, ...)."""
        ...

    def prepare(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None = None) -> Drive:
        """Features, the rest of the inputs, and the previous frame's bird's-eye view (B, Q, C) to a prediction.

        The function returned may be called again and again, random where dropout is then active; what is the same in
        all its calls had better be found before.
        """
        ...

    def carry(self, inputs: DrivingInputs, history: Tensor | None = None) -> Tensor:
        """The bird's-eye view (B, Q, C) of a prediction, which the next frame gets, without dropout and gradient."""
        ...


class Frame(NamedTuple):
    """One frame of a drive.

    Attributes:
        row: number of the row in its dataset.
        features: (1, ...) of the image trunk.
        inputs: a batch of one.
        drive: predicts again; random if dropout has become active.
        prediction: without dropout, as long as the network is in evaluation mode.
    """

    row: int
    features: Tensor
    inputs: DrivingInputs
    drive: Drive
    prediction: DrivingPrediction


class FrameByFrame:
    """Drives through scenes whose rows come one after the other; each frame is given what the one before it left.

    Args:
        driver: in evaluation mode when called.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._left: tuple[int, Tensor] | None = None

    def restart(self) -> None:
        """Forget the past."""
        self._left = None

    def __call__(self, batch: PlanningBatch) -> Iterator[Frame]:
        """The frames of a batch in their order; the image trunk runs once for all.

        Raises:
            RuntimeError: a frame that does not begin a scene does not come right after the one before it.
        """
        features, inputs = self.driver.extract(batch.inputs.images), unaware(batch.inputs)
        for position, row in enumerate(batch.index.tolist()):
            one = slice(position, position + 1)
            frame = _map(inputs, itemgetter(one))
            history = None if bool(frame.new_scene) else self._left_by(row - 1)
            drive = self.driver.prepare(features[one], frame, history)
            prediction = drive()
            self._left = row, prediction.bev
            yield Frame(row, features[one], frame, drive, prediction)

    def _left_by(self, row: int) -> Tensor:
        if self._left is None or self._left[0] != row:
            raise RuntimeError(f"row {row + 1} has a past and must come right after row {row}")
        return self._left[1]


def remembered(driver: Driver, past: DrivingInputs | None) -> Tensor | None:
    """What the frames of the past (B, F, ...), the oldest first, leave (B, Q, C); None without any."""
    if past is None:
        return None
    inputs, history = unaware(past), None
    for number in range(inputs.images.shape[1]):
        history = driver.carry(_map(inputs, itemgetter((slice(None), number))), history)
    return history


def unaware(inputs: DrivingInputs) -> DrivingInputs:
    """What a network may know: not the way that the ego vehicle took later."""
    return replace(inputs, ego_future=None, ego_future_mask=None)


def _map(inputs: DrivingInputs, function: Callable[[Tensor], Tensor]) -> DrivingInputs:
    """The function of every tensor that is there."""
    values = ((field.name, getattr(inputs, field.name)) for field in fields(inputs))
    changed: dict[str, Any] = {name: None if value is None else function(value) for name, value in values}
    return DrivingInputs(**changed)
