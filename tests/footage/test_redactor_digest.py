"""The digest of a redactor names all that changes what is stored."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from private_scenes import privacy

from cityforge.cards.dataset import Privacy
from cityforge.errors import CheckFailed
from cityforge.footage.redact import Redactor, redactor_digest


def digest_of(folder: Path, *kinds: str, **more: Any) -> str | None:
    return redactor_digest(privacy(*(kinds or ("face", "plate")), **more), folder)


def test_the_digest_changes_with_all_that_changes_the_result(tmp_path: Path) -> None:
    """The files are no models at all: the digest loads none."""
    for name in ("one.onnx", "two.onnx", "copy.onnx"):
        (tmp_path / name).write_text(name.replace("copy", "one"))
    found = [
        digest_of(tmp_path),
        digest_of(tmp_path, "face"),
        digest_of(tmp_path, "plate"),
        digest_of(tmp_path, method="fill"),
        digest_of(tmp_path, padding=0.3),
        digest_of(tmp_path, hold_s=0.1),
        digest_of(tmp_path, finder=tmp_path / "one.onnx"),
        digest_of(tmp_path, finder=tmp_path / "two.onnx"),
        digest_of(tmp_path, finder=tmp_path / "one.onnx", tiles=2),
    ]
    assert all(each is not None and len(each) == 16 and int(each, 16) >= 0 for each in found)
    assert len(set(found)) == len(found)
    assert digest_of(tmp_path, "plate", "face") == digest_of(tmp_path, "face", "plate")
    assert digest_of(tmp_path, finder=tmp_path / "copy.onnx") == found[6]
    assert digest_of(tmp_path, hold_s=0.5) == found[0]


def test_the_digest_is_that_of_the_redactor_and_of_another_process(tmp_path: Path) -> None:
    asked = privacy("plate")
    code = (
        "import sys; from pathlib import Path; from cityforge.cards.dataset import Privacy;"
        "from cityforge.footage.redact import redactor_digest;"
        "print(redactor_digest(Privacy.model_validate_json(sys.argv[1]), Path('.')))"
    )
    words = [sys.executable, "-c", code, asked.model_dump_json()]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert Redactor(asked, tmp_path).digest == redactor_digest(asked, tmp_path)
    assert other.stdout.strip() == redactor_digest(asked, tmp_path)


def test_nothing_asked_has_no_digest_and_no_redactor(tmp_path: Path) -> None:
    asked = Privacy(grade="public", lawful_basis="a test", redact=[], retention_days=1)
    assert redactor_digest(asked, tmp_path) is None
    with pytest.raises(CheckFailed, match="a card that asks for redaction, found none"):
        Redactor(asked, tmp_path)


def test_a_missing_and_a_changed_detector_are_named_by_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    path.write_text("one")
    asked = privacy("face", finder=path)
    path.write_text("another")
    digest = sha256(b"another").hexdigest()
    with pytest.raises(CheckFailed, match=f"found {digest}, in .*one.onnx: .*dataset.yaml"):
        redactor_digest(asked, tmp_path)
    path.unlink()
    with pytest.raises(CheckFailed, match=r"found no file, in .*one.onnx: put the file there"):
        redactor_digest(asked, tmp_path)
