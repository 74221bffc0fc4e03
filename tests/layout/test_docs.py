"""The pages name only commands, options, files and variables that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from cityforge.cards.yaml_files import check, read_yaml
from cityforge.cli.main import app
from cityforge.settings import Settings
from cityforge.starters import _algorithm_readme

ROOT = Path(__file__).parents[2]
TOP = ("platform", "algorithms", "datasets", "pipelines", "serving", "notebooks", "tests")
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "-z", "*.md"], capture_output=True, text=True, check=True
).stdout.split("\0")
PAGES = sorted(ROOT / name for name in TRACKED if name and (ROOT / name).is_file())
# A command in a page: alone on an indented line, between backticks, or within `$( )`.
COMMAND = re.compile(
    r"^ {4}(?:[$>] )?(?: {2})?(cityforge .+)$|`(cityforge [^`]+)`|\$\((cityforge [^)]+)\)",
    re.MULTILINE,
)


def commands_in(text: str) -> list[str]:
    found = [next(filter(None, match)) for match in COMMAND.findall(text)]
    lines = [line.partition("   ")[0].strip() for line in found]
    return [line for line in lines if "…" not in line]


def commands() -> list[tuple[Path, str]]:
    return [(page, line) for page in PAGES for line in commands_in(page.read_text("utf-8"))]


def names(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def test_every_page_is_looked_at() -> None:
    found = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert found >= {"algorithms/release.md", "algorithms/training.md", "algorithms/events.md",
                     "datasets/labelling.md", "serving/bundle.md", "README.md"}  # fmt: skip
    assert len(found) >= 28


def test_every_folder_has_its_page() -> None:
    folders = [ROOT / name for name in TOP]
    folders += [card.parent for kind in ("algorithm", "dataset")
                for card in ROOT.glob(f"{kind}s/*/{kind}.yaml")]  # fmt: skip
    assert [str(folder) for folder in folders if not (folder / "README.md").is_file()] == []
    assert len(folders) >= 15


def test_every_command_in_the_pages_is_one() -> None:
    checked = 0
    whole: Any = typer.main.get_command(app)
    for page, line in commands():
        words = shlex.split(line)[1:]
        command = whole
        options = {"--help", *(o for p in command.params for o in p.opts)}
        while words:
            word = words.pop(0)
            if word.strip("[]").startswith("--"):
                assert word.strip("[]") in options, f"{page}: no {word} in '{line}'"
            elif hasattr(command, "commands") and word in command.commands:
                command = command.commands[word]
                options |= {o for p in command.params for o in p.opts}
            elif hasattr(command, "commands") and not line.startswith("cityforge --project"):
                raise AssertionError(f"{page}: no command '{word}' in '{line}'")
        checked += 1
    assert checked >= 110


def test_who_serves_has_made_a_token_and_who_approves_is_named() -> None:
    texts = {str(page): commands_in(page.read_text("utf-8")) for page in PAGES}
    texts["the page of a new algorithm"] = commands_in(_algorithm_readme("n", "T", "d"))
    acts = 0
    for where, lines in texts.items():
        for number, line in enumerate(lines):
            if re.match(r"cityforge serve \w", line) and "--open" not in line:
                before = any("key token new" in each for each in lines[:number])
                assert before, f"{where}: nobody may call what '{line}' serves"
                acts += 1
            if re.match(r"cityforge model approve \w", line):
                assert "--by" in line, f"{where}: the trainer is refused in '{line}'"
                acts += 1
    assert acts >= 12


def test_pages_of_algorithms_end_as_that_of_a_new_one() -> None:
    cards = [card.parent for card in ROOT.glob("algorithms/*/algorithm.yaml")]
    for folder in cards:
        shown = commands_in((folder / "README.md").read_text(encoding="utf-8"))
        starter = commands_in(_algorithm_readme(folder.name, "", ""))
        assert sorted(shown) == sorted(starter), folder
    assert len(cards) >= 4


def test_the_pipelines_page_says_what_the_stages_read_and_write() -> None:
    page = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8")
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    table = re.findall(r"^\| `(\w+)` \| \w+ \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert [stage for stage, _, _ in table] == list(stages)
    for stage, reads, writes in table:
        body = stages[stage].get("do", stages[stage])
        outs = [next(iter(each)) if isinstance(each, dict) else each for each in body["outs"]]
        assert set(names(reads)) == made(body["deps"]), stage
        assert set(names(writes)) - {"history/"} == made(outs), stage


def made(paths: list[str]) -> set[str]:
    """Of a stage's paths what is no code, as the page writes it."""
    named = [re.match(r"(?:datasets|algorithms)/\$\{[\w.]+\}/(.+)", path) for path in paths]
    short = [match[1] for match in named if match and not match[1].endswith(".py")]
    plain = ("footage", "frames", "labels", "snapshot", "checks", "failures")
    return {f"{each}/" if each in plain else each for each in short}


def test_the_labelling_page_shows_every_key_of_the_card() -> None:
    from ruamel.yaml import YAML

    from cityforge.cards.labeling import Labeling

    path = ROOT / "datasets" / "labelling.md"
    text = path.read_text(encoding="utf-8")
    match = re.search(r"^labeling:\n(?:  .*\n)+", text, re.MULTILINE)
    assert match
    content = YAML(typ="safe").load(match[0])["labeling"]
    check(Labeling, content, path)
    assert set(content) == set(Labeling.model_fields)
    assert "video" not in match[0]  # which `label push` refuses


@pytest.mark.parametrize("words", [("serve",), ("bento", "build"), ("bundle", "build")])
def test_help_says_that_a_version_must_be_champion(words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    (option,) = [each for each in command.params if "--version" in each.opts]
    assert "champion" in option.help
    assert "roll back" in option.help


def test_dvc_gc_is_always_told_what_to_keep() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    found = [rest for text in texts for rest in re.findall(r"`dvc gc(.*?)`", text)]
    assert found
    assert all("--workspace" in rest for rest in found)


def test_contributing_names_what_the_server_puts_in() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    packages = re.findall(r"missing\+=\((\S+)\)", script)
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").lower()
    assert [each for each in packages if each not in page] == []
    assert len(packages) >= 4


def test_the_card_of_the_datasets_page_is_one() -> None:
    from ruamel.yaml import YAML

    from cityforge.cards.dataset import Privacy

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
    assert {each for each in targets if each.startswith("bench")} <= words
