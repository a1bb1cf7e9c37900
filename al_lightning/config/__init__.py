"""Typed configuration: composition, overrides, validation and the building of components named in YAML."""

from al_lightning.config.components import check_component, instantiate
from al_lightning.config.compose import compose, differing_keys, load, named_file, options, shipped_configs
from al_lightning.config.errors import ConfigError
from al_lightning.config.parts import compose_parts
from al_lightning.config.schema import (
    ExperimentConfig,
    LoaderConfig,
    LoopConfig,
    Oracle,
    TrackingConfig,
    TrackingMode,
    TrainerConfig,
    Weights,
    describe_keys,
)

__all__ = [
    "ConfigError",
    "ExperimentConfig",
    "LoaderConfig",
    "LoopConfig",
    "Oracle",
    "TrackingConfig",
    "TrackingMode",
    "TrainerConfig",
    "Weights",
    "check_component",
    "compose",
    "compose_parts",
    "describe_keys",
    "differing_keys",
    "instantiate",
    "load",
    "named_file",
    "options",
    "shipped_configs",
]
