"""Acquisition: from predictions to summaries, from summaries to the units to label next. Pure torch, no Lightning."""

from al_lightning.acquisition.acquisition import Acquisition, Selection
from al_lightning.acquisition.combination import Combiner, Identity, L2Norm, Normalizer, RobustMinMax, WeightedSum
from al_lightning.acquisition.criteria import (
    Criterion,
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    KCenter,
    MeanEntropy,
    Random,
)
from al_lightning.acquisition.detection import DetectionSummarizer
from al_lightning.acquisition.error_windows import ErrorWindows
from al_lightning.acquisition.planning_criteria import DivideByDeviation, Rarity, SafetyCriticality, Uncertainty
from al_lightning.acquisition.representation import Representation, Represented, SceneRepresentation
from al_lightning.acquisition.selection import Picks, Term, greedy
from al_lightning.acquisition.summarizers import Portrayer, Summarizer, VoxelSummarizer
from al_lightning.acquisition.visibility import frustum_visibility, in_frustum

__all__ = [
    "Acquisition",
    "Combiner",
    "Criterion",
    "DetectionSummarizer",
    "DivideByDeviation",
    "ErrorWindows",
    "FrequencyWeightedUncertainty",
    "Identity",
    "InterSampleDiversity",
    "IntraSetDiversity",
    "KCenter",
    "L2Norm",
    "MeanEntropy",
    "Normalizer",
    "Picks",
    "Portrayer",
    "Random",
    "Rarity",
    "Representation",
    "Represented",
    "RobustMinMax",
    "SafetyCriticality",
    "SceneRepresentation",
    "Selection",
    "Summarizer",
    "Term",
    "Uncertainty",
    "VoxelSummarizer",
    "WeightedSum",
    "frustum_visibility",
    "greedy",
    "in_frustum",
]
