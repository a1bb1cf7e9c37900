"""Run an experiment from any folder: ``python -m al_lightning experiment=NAME key=value ...``, as ``train.py``."""

import sys

from al_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
