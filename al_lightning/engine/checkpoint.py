"""Checkpoints that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from al_lightning.engine.run_directory import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and replaces it.

    Lightning's own way goes through the system's temporary folder; from another file system that is a copy, which a
    crash can leave half done.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save all of it or nothing."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))
