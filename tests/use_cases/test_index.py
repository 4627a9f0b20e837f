"""The index of the use cases leads to all pages, and names requirements, questions and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs" / "use-cases"
INDEX = (PAGES / "index.md").read_text("utf-8")
REQUIREMENTS = (
    "Composable and Decomposable",
    "Pluggable",
    "Findable by Processing Stage",
    "Additional DataId Keys",
    "Component Access",
    "Caching",
    "DataIds Persisted With Dataset",
    "Component DataId Extraction From Metadata",
    "Distributed",
    "Policy In Repo",
)


def test_ten_pages() -> None:
    pages = sorted(path.name for path in PAGES.glob("[0-9]*.md"))
    assert [name[:2] for name in pages] == [f"{number:02d}" for number in range(1, 11)]
    rows = [re.search(rf"^\| {number} \| \[[^\]]+\]\((.+?)\) \|", INDEX, re.MULTILINE) for number in range(1, 11)]
    assert [row[1] for row in rows if row] == pages
    for name in pages:
        text = (PAGES / name).read_text("utf-8")
        assert "\n```yaml" in text, f"{name} shows no policy"
        for heading in ("## What is on disk", "## What can go wrong", "## Questions and answers"):
            assert heading + "\n" in text, f"{name} has no {heading!r}"
        last = text.rindex("\n## ")
        assert "print(" in text[last:], f"{name} does not end with a plan or a picture"


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_requirement_has_its_test(requirement: str) -> None:
    row = re.search(rf"^\| {requirement} \| (.+?) \| (.+?) \|$", INDEX, re.MULTILINE)
    assert row is not None
    tests = re.findall(r"`(test_\w+\.py)::(\w+)`", row[2])
    assert tests
    for file, name in tests:
        assert re.search(rf"^def {name}\(", (HERE / file).read_text("utf-8"), re.MULTILINE), f"{file}::{name}"


def test_every_question_has_its_answer() -> None:
    """Each question ends with a link; those of a use case lead to its page. (That the links hold, test_docs sees.)"""
    questions = INDEX[INDEX.index("## Every question") :]
    for number, text in re.findall(r"^### (\d+)\. [^\n]+\n(.*?)(?=^### |\Z)", questions, re.MULTILINE | re.DOTALL):
        items = re.findall(r"^- .*?(?=^- |\Z)", text, re.MULTILINE | re.DOTALL)
        assert items, f"no question of use case {number}"
        for item in items:
            assert re.search(rf"\]\({int(number):02d}-[\w-]+\.md#[\w-]+\)\.$", item.rstrip()), item
