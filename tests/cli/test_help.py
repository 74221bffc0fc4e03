"""Every command explains itself, and a misspelt word gets a suggestion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cityforge.cli.main import app

NOUNS = {"footage", "label", "dataset", "algorithm", "model", "bento"}


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield (*words, name), each
        yield from walk(each, (*words, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


def test_there_are_as_many_commands_as_are_tested() -> None:
    assert {words[0] for words in COMMANDS} > NOUNS
    assert len(COMMANDS) >= 25


@pytest.mark.parametrize("words", sorted(COMMANDS), ids=" ".join)
def test_help_names_every_argument_and_option(words: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert said.exit_code == 0
    command = COMMANDS[words]
    assert command.help.splitlines()[0] in " ".join(said.output.split())
    for parameter in command.params:
        shown = max(parameter.opts, key=len) if parameter.opts else parameter.name
        shown = (parameter.metavar or shown) if parameter.param_type_name == "argument" else shown
        assert shown.strip("[]").removesuffix("...") in said.output
        if parameter.name not in ("help", "port"):
            assert parameter.help, f"{words}: '{parameter.name}' has no help"
    for name in getattr(command, "commands", {}):
        assert name in said.output


def test_every_command_that_prints_a_table_takes_json() -> None:
    free = {("serve",), ("bundle", "run"), ("dataset", "new"), ("algorithm", "new")}
    leaves = {words for words, command in COMMANDS.items() if not hasattr(command, "commands")}
    with_json = {w for w in leaves if any("--json" in p.opts for p in COMMANDS[w].params)}
    assert leaves - with_json == free
    assert len(with_json) >= 18


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["modle", "list"], "model"),
        (["model", "lst"], "list"),
        (["dataset", "shwo", "x"], "show"),
        (["doctor", "--jsn"], "--json"),
        (["run", "x", "--stag", "train"], "--stage"),
    ],
)
def test_misspelt_word_is_wrong_usage_with_a_suggestion(
    cityforge: Callable[..., Any], words: list[str], near: str
) -> None:
    said = cityforge(*words)
    assert said.code == 2
    assert near in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words", [["run"], ["model", "show", "x", "one"], ["serve", "x", "--port", "0"]]
)
def test_wrong_usage_exits_2(cityforge: Callable[..., Any], words: list[str]) -> None:
    said = cityforge(*words)
    assert (said.code, "Traceback" in said.err) == (2, False)


def test_version_is_that_of_the_package(cityforge: Callable[..., Any]) -> None:
    from importlib.metadata import version

    assert cityforge("--version").out.strip() == version("cityforge")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cityforge dataset show ", "demo_crossing"),
        ("cityforge footage add demo", "demo_crossing"),
        ("cityforge run ", "demo_crossing"),
        ("cityforge mod", "model"),
    ],
)
def test_completion_knows_names(root: Path, line: str, found: str) -> None:
    words = line.split(" ")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cityforge")],
        cwd=root / "pipelines",
        env={
            **os.environ,
            "_CITYFORGE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
    )
    assert found in done.stdout.split()
