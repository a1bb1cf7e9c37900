"""What the README and the documentation tell to type is accepted, and what they link to is there."""

import importlib.util
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
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
        for word in words[3:]:
            if word.startswith(("sweeps/", "configs/")):
                assert list(PROJECT.glob(word)), f"there is no {word}"
        return
    assert (PROJECT / words[1]).is_file()
    if words[1] == "train.py" and not {"--help", "--print-config"} & set(words):
        compose(PROJECT / "configs", words[2:], KINDS)


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
