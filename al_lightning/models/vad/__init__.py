"""VAD, an end-to-end driver."""

from al_lightning.driving import (
    BOUNDARY,
    DIVIDER,
    LEFT,
    PADDING,
    PED_CROSSING,
    RIGHT,
    STRAIGHT,
    DrivingAnnotations,
    DrivingInputs,
    DrivingPrediction,
    commanded_positions,
)
from al_lightning.models.vad.modes import deterministic, monte_carlo_dropout
from al_lightning.models.vad.network import OFFICIAL_GRID, VAD, vad_nano, vad_tiny
from al_lightning.models.vad.transformer import VADSize

__all__ = [
    "BOUNDARY",
    "DIVIDER",
    "LEFT",
    "OFFICIAL_GRID",
    "PADDING",
    "PED_CROSSING",
    "RIGHT",
    "STRAIGHT",
    "VAD",
    "DrivingAnnotations",
    "DrivingInputs",
    "DrivingPrediction",
    "VADSize",
    "commanded_positions",
    "deterministic",
    "monte_carlo_dropout",
    "vad_nano",
    "vad_tiny",
]
