"""Stands for ``train.py`` where only its files and its exit status matter; starts in milliseconds.

Cycle 0 of seed S scores S; every later cycle adds the word ``gain``. ``trained`` in the folder above the run counts who
has trained cycle 0. ``fail=1`` fails while the file ``broken`` is there, ``wait=1`` waits for the file ``go``, and
``wait=2`` is deaf to SIGTERM meanwhile.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml


def resolve(words):
    """The configuration of a run: what `al_lightning.config.compose` is for the real one."""
    given = {name: yaml.safe_load(text) for name, text in (word.split("=", 1) for word in words)}
    loop = {"cycles": given.get("loop.cycles", 2), "seed_size": 2}
    acquisition = {"name": given.get("acquisition", "random"), "gain": given.get("gain", 0.5)}
    rest = {name: given[name] for name in ("fail", "wait") if name in given}
    return {"seed": given["seed"], "run_dir": given["run_dir"], "loop": loop, "acquisition": acquisition, **rest}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main():
    config = resolve(sys.argv[1:])
    run, top = Path(config["run_dir"]), Path(config["run_dir"]).parents[1]
    print("words", *sys.argv[1:])
    write(run / "config.yaml", yaml.safe_dump(config))
    write(run / "slot", os.environ.get("SLOT", ""))
    if config.get("wait") == 2:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if config.get("fail") and (top / "broken").exists():
        raise SystemExit(3)
    while config.get("wait") and not (top / "go").exists():
        time.sleep(0.05)
    if not (run / "cycles/0/summaries.npz").exists():
        with (top / "trained").open("a") as file:
            file.write(f"{run.name}\n")
        time.sleep(0.3)  # others must wait for it
        write(run / "cycles/0/checkpoint.ckpt", "weights")
        metrics = {"cycle": 0, "labeled": 2, "share": 0.1, "mIoU": config["seed"]}
        write(run / "cycles/0/metrics.json", json.dumps(metrics))
        write(run / "pool.csv", "unit,acquired_at\na,0\nb,0\nc,-1\n")
        write(run / "cycles/0/summaries.npz", "summaries")
    first = json.loads((run / "cycles/0/metrics.json").read_text())
    for cycle in range(1, config["loop"]["cycles"]):
        metrics = {**first, "cycle": cycle, "mIoU": first["mIoU"] + cycle * config["acquisition"]["gain"]}
        write(run / f"cycles/{cycle}/metrics.json", json.dumps(metrics))


if __name__ == "__main__":
    main()
