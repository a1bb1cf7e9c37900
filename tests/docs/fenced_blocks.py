"""Fenced blocks of Markdown files, for tests that keep the documentation true."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each block, in their order; those in lists are dedented."""
    for indent, language, text in re.findall(
        r"^( *)```(\w+)\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        yield language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each shell command of a page that begins with a plain word; comments are left out."""
    for language, text in blocks(page):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                if line[:1].isalnum():
                    yield shlex.split(line, comments=True)
