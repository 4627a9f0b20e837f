"""The pages do what they say: their blocks are run in order, each page in a folder and a namespace of its own.

What a fence says:

- ```` ```python ````: run; ``policy`` is the text of the last ```` ```yaml ```` block above it.
- ```` ```python raises ````: has to raise an error of Bunter, which counts as its output.
- ```` ```python file=name.py ````: written to a module (``package/name.py``, too) that later blocks import.
- ```` ```python no-run ````: needs what is not installed; only has to be Python.
- ```` ```text ```` right after a Python block: what that block prints; ``...`` stands for anything.
- ```` ```toml install ````: the ``pyproject.toml`` of a plugin, whose entry points are then found.
- ```` ```yaml ````: has to load as a policy, by itself unless it says ``more`` (to what is there), or ``no-load``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bunter import BunterError, Butler, formats
from bunter.definitions import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "use-cases").glob("*.md")])
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    words: tuple[str, ...]
    body: str
    line: int
    output: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = list(FENCE.finditer(text))
    blocks = []
    for i, match in enumerate(found):
        language, *words = match["info"].split() or [""]
        output = None
        if i + 1 < len(found) and found[i + 1]["info"].split() == ["text"]:
            between = text[match.end() : found[i + 1].start()]
            output = found[i + 1]["body"] if not between.strip() else None
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(language, tuple(words), match["body"], line, output))
    return blocks


def code_of(block: Block, page: Path) -> Any:
    """Compile a block so that tracebacks name the line of the page."""
    return compile("\n" * block.line + block.body, str(page), "exec", dont_inherit=True)


def plain(text: str) -> str:
    """Text without its line breaks and columns, which a page may set as it likes."""
    return " ".join(text.split())


def agrees(printed: str, page: str) -> bool:
    """Tell whether a block printed what the page says, in which ``...`` stands for anything."""
    pieces = [re.escape(piece.strip()) for piece in plain(page).split("...")]
    return re.fullmatch(".*?".join(pieces), plain(printed)) is not None


def run(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    raised = ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code_of(block, page), namespace)
        except BunterError as error:
            if "raises" not in block.words:
                raise
            raised = f"{type(error).__name__}: {error}"
    where = f"{page.name}:{block.line}"
    assert bool(raised) == ("raises" in block.words), f"{where}: no error of Bunter was raised"
    if block.output is not None:
        got = printed.getvalue() + raised
        assert agrees(got, block.output), f"{where} prints:\n{got}\n\nThe page says:\n{block.output}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in; modules that a page writes are imported from there and forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "configuration"))
    # What is known of plugins is kept for the process; that of a page ends with it.
    monkeypatch.setattr(formats, "_plugins", formats._plugins)
    monkeypatch.setattr(formats, "_found", dict(formats._found))
    # Pages that have a `lsst.mypackage` of their own add it to the one package of LSST's that is installed.
    lsst = importlib.import_module("lsst")
    monkeypatch.setattr(lsst, "__path__", [*lsst.__path__, str(tmp_path / "lsst")])
    yield tmp_path
    # A folder of modules without an __init__.py has places instead of a file; they are those of its parent's, too.
    places = {
        name: [getattr(module, "__file__", None) or "", *(getattr(module, "__path__", None) or ())]
        for name, module in list(sys.modules.items())
    }
    for name, files in places.items():
        if any(files) and all(str(file).startswith(str(tmp_path)) for file in files if file):
            del sys.modules[name]


def install(project: str, folder: Path) -> None:
    """Write what an installer leaves of a project for `importlib.metadata`."""
    about = tomllib.loads(project)["project"]
    info = folder / f"{about['name']}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines = []
    for group, points in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    # Plugins are looked for once a process; this one came later.
    formats._plugins = None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    butlers: list[Butler] = []
    try:
        for block in blocks_of(page):
            if block.language == "yaml":
                if not {"more", "no-load"} & {*block.words}:
                    load(block.body)
                namespace["policy"] = block.body
            if block.language == "toml" and "install" in block.words:
                install(block.body, folder)
            if block.language != "python":
                continue
            name = next((word.partition("=")[2] for word in block.words if word.startswith("file=")), None)
            if name is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(block.body, "utf-8")
                importlib.invalidate_caches()
            elif "no-run" in block.words:
                code_of(block, page)
            else:
                run(block, page, namespace)
                butlers += [value for value in namespace.values() if isinstance(value, Butler)]
    finally:
        for butler in butlers:
            butler.close()


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = (match["text"].lower() for match in HEADING.finditer(FENCE.sub("", page.read_text("utf-8"))))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    """Links between the pages lead to pages and headings that there are."""
    for match in LINK.finditer(FENCE.sub("", page.read_text("utf-8"))):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors_of(other), f"{page.name} links to {match['target']}: no such heading"


def test_every_option_of_a_policy_has_its_place() -> None:
    """The reference of policies names every option that the reader of policies knows."""
    from bunter.definitions import build, composites, foreign, gen2, options, reader

    text = (ROOT / "docs" / "policy.md").read_text("utf-8")
    words = {
        *build._ALL,
        *composites._COMPONENT,
        *foreign._PART,
        *foreign._READ,
        *foreign._CONVERSIONS,
        *foreign._CONVERSION_MAPPINGS,
        *gen2.IGNORED_OPTIONS,
        *options._FUNCTIONS,
        *reader._SECTIONS,
        *(name for name in formats.names() if formats.find(name).__module__.startswith("bunter.")),
    }
    code = " ".join(re.findall(r"`[^`\n]+`", text))
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", code)) == []


def test_every_error_has_its_place() -> None:
    """The page of errors has a heading for each of them."""
    from bunter import errors

    names = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, BunterError)]
    assert len(names) > 15
    headings = anchors_of(ROOT / "docs" / "errors.md")
    assert [name for name in names if name.lower() not in headings] == []


def test_the_architecture_names_every_room() -> None:
    """The page of the architecture knows all rooms, names none that is not there, and no method that is not there."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    source = ROOT / "src" / "bunter"
    rooms = {path.name for path in source.glob("[a-z]*.py")} | {
        f"{path.parent.name}/" for path in source.glob("*/__init__.py")
    }
    assert sorted(room for room in rooms if f"`{room}`" not in text) == []
    modules = {path.name for path in source.rglob("*.py")}
    named = set(re.findall(r"`(?:[a-z]+/)?([a-z_]+\.py)`", text)) - {"test_docs.py"}
    assert sorted(named - modules) == []
    code = "\n".join(path.read_text("utf-8") for path in source.rglob("*.py"))
    for cls, method in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        assert f"class {cls}" in code, f"{cls}.{method}"
        assert re.search(rf"(def {method}\(|^    {method}: )", code, re.MULTILINE), f"{cls}.{method}"
