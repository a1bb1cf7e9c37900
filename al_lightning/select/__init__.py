"""Selection from predictions made elsewhere: ``python -m al_lightning.select``, or `select` on opened files."""

from al_lightning.acquisition.summary_files import open_summaries
from al_lightning.select.selection import NOTHING_LABELED, configured, select

__all__ = ["NOTHING_LABELED", "configured", "open_summaries", "select"]
