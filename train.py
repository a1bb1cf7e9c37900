"""Run an experiment: ``python train.py experiment=NAME key=value ...`` (``--help`` lists everything)."""

import sys
from pathlib import Path

from al_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent / "configs"))
