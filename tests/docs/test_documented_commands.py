"""What the README and the documentation tell to type is accepted, and what they link to is there."""

import argparse
import importlib
import re
from pathlib import Path

import pytest
from fenced_blocks import PAGES, PROJECT, commands

from al_lightning.cli import KINDS
from al_lightning.config import compose

OWN_PARTS = ("extending.md",)
"""Pages whose commands need files of their own; other tests run them."""

PYTHON = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words[1:])}")
    for page in PAGES
    if page.name not in OWN_PARTS
    for words in commands(page)
    if words[0] == "python"
]
LINK = re.compile(r"\]\((?!http)([^)#]+)")


@pytest.mark.parametrize("words", PYTHON)
def test_the_command_is_accepted(words: list[str]) -> None:
    for word in words[3:]:
        if word.startswith(("sweeps/", "configs/")):
            assert list(PROJECT.glob(word)), f"there is no {word}"
    script, *rest = words[1:] if words[1] != "-m" else words[2:]
    if script in ("train.py", "al_lightning"):
        compose(PROJECT / "configs", [word for word in rest if word not in ("--help", "--print-config")], KINDS)
    elif words[1] != "-m":
        assert (PROJECT / script).is_file()
    elif "--help" in rest:
        with pytest.raises(SystemExit, match="0"):
            parser_of(script).parse_intermixed_args(rest)
    else:
        parser_of(script).parse_intermixed_args(rest)


def parser_of(module: str) -> argparse.ArgumentParser:
    """What reads the arguments of ``python -m module``."""
    command = importlib.import_module(module)
    if hasattr(command, "__path__"):
        command = importlib.import_module(f"{module}.__main__")
    return command._parser()


@pytest.mark.parametrize(
    "command",
    ["al_lightning.select --no-such 1", "al_lightning.report", "al_lightning.report.embeddings", "benchmarks -x"],
)
def test_wrong_flags_are_not(command: str) -> None:
    module, *words = command.split()
    with pytest.raises(SystemExit, match="2"):
        parser_of(module).parse_intermixed_args(words)


def test_commands_are_found() -> None:
    assert len(PYTHON) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    results = (PROJECT / "docs" / "results.md").read_text()
    tables = re.findall(r"^\|.*\d\.\d.*\|$", (PROJECT / "README.md").read_text(), re.MULTILINE)
    figures = [figure for row in tables for figure in re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", row)]
    assert len(figures) > 20
    assert [figure for figure in figures if figure not in results] == []
