"""What is installed from a wheel finds its configuration files, whatever the folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from al_lightning import __main__, cli
from al_lightning.config import ConfigError, named_file, shipped_configs
from al_lightning.select.selection import configured

PROJECT = Path(__file__).resolve().parents[2]
FIND = "from al_lightning.config import named_file; print(named_file(__import__('pathlib').Path('acquisition/cas')))"


def test_a_checkout_has_them_beside_the_package() -> None:
    assert shipped_configs() == PROJECT / "configs"
    assert named_file(Path("acquisition/cas")) == PROJECT / "configs/acquisition/cas.yaml"
    assert named_file(Path("cas")) == PROJECT / "configs/acquisition/cas.yaml"
    assert named_file(Path("mine/own.yaml")) == Path("mine/own.yaml")
    with pytest.raises(ConfigError, match="unknown configuration of 'acquisition', 'cass'; did you mean 'cas'"):
        named_file(Path("acquisition/cass"))
    assert list(configured(Path("acquisition/random"))[0].criteria) == ["random"]


def test_a_built_package_has_them_inside(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="builds the package")
    command = f"setup.py -q egg_info --egg-base {tmp_path} build_py --build-lib {tmp_path / 'lib'}"
    subprocess.run([sys.executable, *command.split()], cwd=PROJECT, check=True, capture_output=True)
    built = tmp_path / "lib/al_lightning"
    files = {path.relative_to(PROJECT) for path in (PROJECT / "configs").rglob("*.yaml")}
    files |= {path.relative_to(PROJECT / "al_lightning") for path in (PROJECT / "al_lightning").rglob("*.py")}
    files |= {Path("py.typed"), Path("report/published.yaml"), Path("report/report.css"), Path("report/report.js")}
    assert {path for path in files if not (built / path).is_file()} == set()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "lib")}
    found = subprocess.run(
        [sys.executable, "-P", "-c", FIND], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == str(built / "configs/acquisition/cas.yaml")


def test_the_package_is_the_same_command_as_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main is cli.main
    monkeypatch.chdir(tmp_path)
    assert cli.main(["loop.budget=20", "--print-config"]) == 0
    assert "budget: 20" in capsys.readouterr().out


def test_without_any_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(shipped_configs.__globals__, "__file__", str(tmp_path / "al_lightning/config/compose.py"))
    assert cli.main(["--help"]) == 2
    assert "there are no configuration files" in " ".join(capsys.readouterr().out.split())
