"""The traps of a folder called `platform`: what shadows, what is left out, what runs at import."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "platform" / "cityforge"
TOP_FOLDERS = ("platform", "algorithms", "datasets", "pipelines", "serving", "notebooks", "tests")
TOP_NAMES = {
    *TOP_FOLDERS,
    *("dvc.yaml", "dvc.lock", "params.yaml", "pyproject.toml", "requirements.lock", "Makefile"),
    *("README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(".ci", ".dvc", ".dvcignore", ".gitignore"),
}
DATA_FILES = {
    "cityforge/cards/starter_files/params.yaml",
    "cityforge/evaluation/report.css",
    "cityforge/evaluation/report.html.j2",
    "cityforge/footage/sheet.css",
    "cityforge/footage/sheet.html.j2",
    "cityforge/labeling/status_sheet.html.j2",
    "cityforge/labeling/studio/requirements.in",
    "cityforge/labeling/studio/requirements.txt",
}
HEAVY = ["torch", "mlflow", "pytorch_lightning", "great_expectations", "bentoml", "optuna", "cv2"]

# Left never imports right. Names within one row may import each other.
ORDER = (
    ("errors",),
    ("settings", "tables", "cards", "postgresql"),
    ("project", "compute", "provenance", "starters"),
    ("trust",),
    ("footage", "tasks"),
    ("labeling", "dataset", "inference"),
    ("endpoint",),
    ("export",),
    ("training",),
    ("evaluation",),
    ("registry",),
    ("cli", "stage", "pipelines", "serving"),
)


def python(code: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run `code` in a Python of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(*words: str, stdin: str = "") -> list[str]:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], input=stdin, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def source_files() -> set[str]:
    return {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def modules() -> list[str]:
    names = [name for name in source_files() if name.endswith(".py")]
    return sorted(n.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for n in names)


def test_no_top_level_folder_is_a_package() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir()]
    assert {path.name for path in folders} >= set(TOP_FOLDERS)
    assert [path.name for path in folders if (path / "__init__.py").exists()] == []


def test_python_finds_its_own_platform_at_the_root() -> None:
    code = "import platform; print(platform.system(), platform.__file__)"
    system, _, where = python(code, PYTHONPATH="platform").partition(" ")
    assert system == "Linux"
    assert not where.startswith(str(ROOT / "platform"))


def test_wheel_holds_the_files_of_the_source_tree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("cityforge-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if name.startswith("cityforge/")}
    assert inside == source_files()
    assert inside >= DATA_FILES
    assert len(inside) > 100


def test_editable_install_is_the_source_tree(tmp_path: Path) -> None:
    code = "import cityforge, cityforge.cards.params as p; print(p.__file__)"
    assert python(code, cwd=tmp_path).strip() == str(SOURCE / "cards" / "params.py")


def test_gitignore_hides_no_tracked_file() -> None:
    assert len(git("ls-files")) > 100
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []


def test_gitignore_hides_no_folder_of_the_package() -> None:
    folders = sorted({path.parent for path in SOURCE.rglob("*.py")})
    probes = [(folder / "new_module.py").relative_to(ROOT).as_posix() for folder in folders]
    assert len(probes) >= 15
    assert git("check-ignore", "--stdin", stdin="\n".join(probes)) == []


def test_gitignore_names_of_the_project_are_anchored() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert len(patterns) > 10
    assert {p for p in patterns if not p.startswith("/")} == {"__pycache__/", "*.pyc"}


def test_top_level_holds_only_what_the_layout_names() -> None:
    found = {name.partition("/")[0] for name in git("ls-files")}
    assert found - TOP_NAMES == set()
    assert "platform" in found


IMPORT_ALL = """
import importlib, json, logging, os, sys
before = dict(os.environ)
for name in MODULES:
    importlib.import_module(name)
import torch
from cityforge.settings import QUIET_SWITCHES
new = {n for n in os.environ if os.environ.get(n) != before.get(n)}
print(json.dumps({
    "imported": sum(name in sys.modules for name in MODULES),
    "handlers": len(logging.getLogger().handlers),
    "level": logging.getLogger().level,
    "variables": sorted(n for n in new if n.startswith(("CITYFORGE", "MLFLOW"))
                        or n in QUIET_SWITCHES),
    "device": torch.cuda.is_initialized(),
    "files": os.listdir(),
}))
"""


def test_importing_every_module_does_nothing(tmp_path: Path) -> None:
    names = modules()
    found = json.loads(python(f"MODULES = {names!r}{IMPORT_ALL}", cwd=tmp_path))
    assert found == {
        "imported": len(names),
        "handlers": 0,
        "level": 30,
        "variables": [],
        "device": False,
        "files": [],
    }
    assert len(names) > 90


def test_the_package_itself_is_empty() -> None:
    assert (SOURCE / "__init__.py").read_bytes() == b""


@pytest.mark.parametrize("words", [["--help"], ["algorithm", "list"]])
def test_commands_import_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from cityforge.cli.main import main
sys.argv = ["cityforge", *{words!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    lines = python(code).splitlines()
    assert len(lines) > 3
    assert lines[-1] == "heavy: []"


def test_inference_and_serving_leave_torch_alone() -> None:
    code = """
import runpy, sys
import cityforge.inference.runtime, cityforge.inference.package
service = runpy.run_path("serving/service.py")
assert "Endpoint" in service
print("torch" in sys.modules)
"""
    assert python(code).strip() == "False"


def layer_of(name: str) -> int:
    for number, row in enumerate(ORDER):
        if name in row:
            return number
    raise AssertionError(f"'{name}' has no place in ORDER: give it one")


def imports_of(path: Path) -> list[str]:
    """What a file imports from cityforge, at any level, as `part.module`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            plain = node.module == "cityforge"
            found += (
                [f"cityforge.{each.name}" for each in node.names] if plain else [node.module or ""]
            )
    return [name.removeprefix("cityforge.") for name in found if name.startswith("cityforge.")]


def part_of(path: Path) -> str:
    inside = path.relative_to(SOURCE) if path.is_relative_to(SOURCE) else path.relative_to(ROOT)
    return inside.parts[0].removesuffix(".py")


def code_files() -> list[Path]:
    outside = [*ROOT.glob("pipelines/*.py"), *ROOT.glob("serving/*.py")]
    inside = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    return sorted(inside + outside)


def test_left_never_imports_right() -> None:
    checked, wrong = 0, []
    for path in code_files():
        part = part_of(path)
        if part == "synthetic":
            continue
        for name in imports_of(path):
            target = name.partition(".")[0]
            checked += 1
            if target == "synthetic":
                if part != "cli":
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif layer_of(target) > layer_of(part) or (target == "cli" and part != "cli"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []
    assert checked > 250


def test_the_platform_page_has_this_order() -> None:
    page = (ROOT / "platform" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    named = [[name.rstrip("/") for name in re.findall(r"`([^`]+)`", row)] for row in rows]
    assert named == [list(row) for row in ORDER]


def test_every_part_in_the_order_is_there() -> None:
    places = [(SOURCE / name, SOURCE / f"{name}.py", ROOT / name) for row in ORDER for name in row]
    assert [each[0].name for each in places if not any(path.exists() for path in each)] == []


def test_synthetic_stands_alone() -> None:
    files = [path for path in code_files() if part_of(path) == "synthetic"]
    found = {name.partition(".")[0] for path in files for name in imports_of(path)}
    assert len(files) > 15
    assert found <= {"errors", "synthetic"}
