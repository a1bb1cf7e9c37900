"""Command that generates a simulated data set: ``python -m al_lightning.simulation --root DIR --preset mini``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from al_lightning.simulation.claim import GenerationError
from al_lightning.simulation.generate import generate
from al_lightning.simulation.presets import PRESETS, Preset, find_preset


def _parser() -> argparse.ArgumentParser:
    presets = "\n".join(f"  {name:6} {_size(preset)}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.simulation",
        description="Generate a simulated driving data set in the formats of nuScenes and Occ3D-nuScenes.",
        epilog=f"presets:\n{presets}\n\nA run that was stopped goes on when it is started again.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set, new or from a stopped run")
    parser.add_argument("--preset", choices=list(PRESETS), default="mini", help="how large (default: mini)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another world (default: 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one a processor)")
    return parser


def _size(preset: Preset) -> str:
    height, width = preset.image_size
    scenes = f"{preset.train_scenes} + {preset.val_scenes} scenes (train + val)"
    return f"{scenes} of {preset.keyframes} keyframes, images {width} x {height}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        generate(options.root.expanduser(), find_preset(options.preset), options.seed, options.workers)
    except (GenerationError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
