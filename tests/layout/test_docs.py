"""The pages name only commands, options, files and variables that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer

from cityforge.cli.main import app
from cityforge.settings import Settings

ROOT = Path(__file__).parents[2]
TOP = ("platform", "algorithms", "datasets", "pipelines", "serving", "notebooks", "tests")
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    + [page for folder in TOP for page in ROOT.glob(f"{folder}/**/README.md")]
)
# A command in a page: alone on an indented line, or between backticks.
COMMAND = re.compile(r"^ {4}(?:[$>] )?(?: {2})?(cityforge .+)$|`(cityforge [^`]+)`", re.MULTILINE)


def commands() -> list[tuple[Path, str]]:
    found = []
    for page in PAGES:
        for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
            line = (match[1] or match[2]).partition("   ")[0]
            if "…" not in line:
                found.append((page, line))
    return found


def test_every_folder_has_its_page() -> None:
    folders = [ROOT / name for name in TOP]
    folders += [card.parent for kind in ("algorithm", "dataset")
                for card in ROOT.glob(f"{kind}s/*/{kind}.yaml")]  # fmt: skip
    assert [str(folder) for folder in folders if not (folder / "README.md").is_file()] == []
    assert len(folders) >= 15


def test_every_command_in_the_pages_is_one() -> None:
    checked = 0
    for page, line in commands():
        words = shlex.split(line)[1:]
        command: Any = typer.main.get_command(app)
        options = {"--help", *(o for p in command.params for o in p.opts)}
        while words:
            word = words.pop(0)
            if word.startswith("--"):
                assert word in options, f"{page}: no {word} in '{line}'"
            elif hasattr(command, "commands") and word in command.commands:
                command = command.commands[word]
                options |= {o for p in command.params for o in p.opts}
            elif hasattr(command, "commands") and not line.startswith("cityforge --project"):
                raise AssertionError(f"{page}: no command '{word}' in '{line}'")
        checked += 1
    assert checked >= 60


def test_the_card_of_the_datasets_page_is_one() -> None:
    from ruamel.yaml import YAML

    from cityforge.cards.dataset import Privacy
    from cityforge.cards.yaml_files import check

    page = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    match = re.search(r"^    privacy:\n(?:    .*\n)+", page, re.MULTILINE)
    assert match
    text = re.sub(r"sha256: \S+", "sha256: " + "a" * 64, match[0])
    content = YAML(typ="safe").load(text)["privacy"]
    card = check(Privacy, content, ROOT / "datasets" / "README.md")
    assert card.redaction and card.redaction.detectors


def test_settings_table_names_every_setting() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `CITYFORGE_(\w+)`", text, re.MULTILINE))
    fields = {name.upper() for name in Settings.model_fields}
    assert fields - named == {"RAY_ADDRESS"}  # nothing reads it yet
    assert named - fields == {"VERBOSE", "REAL_DATA"}


def test_make_words_of_the_pages_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    words = {
        word
        for page in PAGES
        for word in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert words >= {"demo", "test", "lint", "bench", "lock", "setup"}
    assert words <= targets
