"""The record of an evaluation: what it keeps, and when its digest changes."""

from __future__ import annotations

import hashlib
import json

import pytest
from pydantic import ValidationError

from cityforge.errors import DataError
from cityforge.evaluation.evidence import Evidence, read_evidence


def test_written_and_read_again_it_is_the_same(case, tmp_path):
    evidence = case.evaluate()
    path = tmp_path / "evidence.json"
    path.write_text(evidence.to_json(), encoding="utf-8")
    assert read_evidence(path) == evidence
    assert read_evidence(path).digest() == evidence.digest()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == evidence.digest()


def test_two_evaluations_have_one_digest(case):
    assert case.evaluate().digest() == case.evaluate().digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"map50": 0.123}},
        {"score_threshold": 0.51},
        {"frame_count": 5},
        {"subset": "val"},
        {"latency": None},
    ],
)
def test_any_change_gives_another_digest(case, changes):
    evidence = case.evaluate()
    data = {**evidence.model_dump(), **changes}
    assert Evidence.model_validate(data).digest() != evidence.digest()


def test_noise_beyond_six_decimals_does_not_change_the_digest(case):
    digests = {
        case.evaluate(training=[{"epoch": 0, "train_loss": 1.5 + noise}]).digest()
        for noise in (0.0, 1e-9, 1e-3)
    }
    assert len(digests) == 2


def test_nan_is_written_as_null_and_keys_are_sorted(case):
    text = case.evaluate(training=[{"epoch": 0, "train_loss": float("nan")}]).to_json()
    data = json.loads(text)
    assert "NaN" not in text
    assert data["training"] == [{"epoch": 0.0, "train_loss": None}]
    assert list(data) == sorted(data)


def test_a_key_that_does_not_belong_is_refused(case):
    with pytest.raises(ValidationError, match="created_at"):
        Evidence.model_validate({**case.evaluate().model_dump(), "created_at": "now"})


def test_a_missing_or_broken_file_says_where(case, tmp_path):
    path = tmp_path / "evidence.json"
    with pytest.raises(DataError, match=r"found no file, in .*evidence\.json"):
        read_evidence(path)
    data = {**json.loads(case.evaluate().to_json()), "frame_count": "many"}
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DataError, match="at 'frame_count'"):
        read_evidence(path)
