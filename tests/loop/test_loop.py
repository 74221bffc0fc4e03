"""The whole loop as its users walk it: files in, an HTTP answer out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from scratch import cityforge, dvc, wait_until_ready

from cityforge.cli.demo import free_port

pytestmark = [pytest.mark.slow, pytest.mark.services]


def as_json(root: Path, *words: str) -> object:
    done = cityforge(root, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_registers_a_version_with_all_it_came_from(loop: Path) -> None:
    shown = as_json(loop, "model", "show", "bins")
    assert isinstance(shown, dict)
    for name in ("snapshot_digest", "git_commit", "lock_digest", "evidence_digest"):
        assert len(str(shown[name])) >= 40, name
    assert shown["approval"]["approver"] == "王芳"
    assert shown["approval"]["evidence_digest"] == shown["evidence_digest"]
    assert shown["aliases"] == ["champion"]


def test_a_second_repro_runs_nothing(loop: Path) -> None:
    said = dvc(loop, "repro")
    assert "Running stage" not in said
    assert said.count("didn't change, skipping") == 10  # eight stages and two pointers


def test_an_edit_of_one_algorithm_reruns_only_its_own_stages_from_there(
    loop: Path, tmp_path: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(loop, root, symlinks=True)
    new = ["algorithm", "new", "other_bins", "--dataset", "streets", "--space", "work_places"]
    assert cityforge(root, *new).returncode == 0
    before = dvc(root, "status")
    assert "register@bins" not in before
    params = root / "algorithms" / "bins" / "params.yaml"
    params.write_text(params.read_text().replace("overlap: 0.6", "overlap: 0.5"))
    ran = cityforge(root, "run", "bins")
    assert ran.returncode == 0, ran.stderr
    stages = [line.split("'")[1] for line in ran.stdout.splitlines() if "Running stage" in line]
    assert stages == ["export@bins", "evaluate@bins", "register@bins"]


def test_predict_answers_a_chinese_file_name_and_draws_it(loop: Path, stills: Path) -> None:
    picture = stills / "街道 000.jpg"
    out = loop / ".cityforge" / "drawn"
    found = as_json(loop, "predict", "bins", str(picture), "--draw", str(out), "--threshold", "0")
    assert isinstance(found, dict)
    assert found["answers"][0]["image"] == "街道 000.jpg"
    assert {box["class"] for box in found["answers"][0]["boxes"]} <= {"垃圾桶", "car"}
    assert (out / "街道 000.jpg").stat().st_size > 1000


def test_the_report_names_chinese_classes(loop: Path) -> None:
    report = (loop / "algorithms/bins/build/evaluate/report.html").read_text(encoding="utf-8")
    for text in ("垃圾桶识别", "垃圾桶", "东门 1 号"):
        assert text in report


def test_labels_go_out_and_come_back_the_same(loop: Path, tmp_path: Path) -> None:
    out = tmp_path / "streets.json"
    done = cityforge(loop, "label", "export", "streets", str(out), "--format", "coco")
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text(encoding="utf-8"))
    assert len(content["annotations"]) == 96
    assert {each["name"] for each in content["categories"]} == {"垃圾桶", "car"}


def test_a_version_that_is_not_approved_cannot_be_built(loop: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(loop, root, symlinks=True)
    ran = cityforge(root, "run", "bins", "--set", "evaluate.overlap=0.4")
    assert ran.returncode == 0, ran.stderr
    refused = cityforge(root, "bento", "build", "bins", "--version", "2")
    assert refused.returncode == 1
    assert "not approved" in refused.stderr
    assert "cityforge model approve bins 2" in refused.stderr


@pytest.fixture(scope="module")
def endpoint(loop: Path) -> Iterator[str]:
    port = free_port()
    command = [str(Path(sys.executable).parent / "cityforge"), "serve", "bins", "--open"]
    command += ["--port", str(port)]
    with subprocess.Popen(command, cwd=loop, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield wait_until_ready(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


def test_the_endpoint_answers_several_pictures_in_their_own_pixels(
    endpoint: str, loop: Path, stills: Path
) -> None:
    names = ["街道 001.jpg", "街道 002.jpg"]
    files = [("images", (name, (stills / name).read_bytes(), "image/jpeg")) for name in names]
    answer = httpx.post(f"{endpoint}/predict", files=files, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    shown = as_json(loop, "model", "show", "bins")
    assert isinstance(shown, dict)
    assert found["model"] == "bins"
    assert found["digest"] == shown["package_digest"]
    assert found["request_id"] == answer.headers["x-request-id"]
    assert [each["name"] for each in found["pictures"]] == names
    local = as_json(loop, "predict", "bins", *(str(stills / name) for name in names))
    assert isinstance(local, dict)
    for picture, same in zip(found["pictures"], local["answers"], strict=True):
        assert (picture["width"], picture["height"]) == (160, 120)
        assert len(picture["boxes"]) == len(same["boxes"])
        for box, other in zip(picture["boxes"], same["boxes"], strict=True):
            assert box["class_name"] == other["class"]
            assert abs(box["x1"] - other["x1"]) < 0.01


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("words.jpg", b"these are words", "expected a picture"),
        ("cut.jpg", None, "expected a whole picture"),
        ("empty.jpg", b"", "expected a picture"),
    ],
)
def test_the_endpoint_refuses_what_is_no_picture(
    endpoint: str, stills: Path, name: str, content: bytes | None, said: str
) -> None:
    whole = (stills / "街道 001.jpg").read_bytes()
    data = whole[: len(whole) // 2] if content is None else content
    files = {"images": (name, data, "image/jpeg")}
    answer = httpx.post(f"{endpoint}/predict", files=files, timeout=30)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]
    assert name in answer.json()["error"]


def test_the_endpoint_takes_no_address_for_a_picture(endpoint: str) -> None:
    answer = httpx.post(
        f"{endpoint}/predict", files=[("images", (None, "http://127.0.0.1:1/x.jpg"))]
    )
    assert answer.status_code == 422
    assert "expected files" in answer.json()["error"]


def test_the_endpoint_says_what_it_was_approved_on(endpoint: str) -> None:
    about = httpx.get(f"{endpoint}/info", timeout=10).json()
    assert about["approval"]["approver"] == "王芳"
    assert about["classes"] == ["垃圾桶", "car"]


def test_the_api_page_describes_predict(endpoint: str) -> None:
    page = httpx.get(f"{endpoint}/openapi.json", timeout=10).json()
    assert "/predict" in page["paths"]


def test_a_bento_holds_the_wheel_and_not_the_source_tree(loop: Path, endpoint: str) -> None:
    bentos = list((loop / ".cityforge/bentoml/bentos/bins").glob("v1-*"))
    assert len(bentos) == 1
    inside = {path.relative_to(bentos[0]).as_posix() for path in bentos[0].rglob("*")}
    assert any(name.endswith(".whl") and "cityforge" in name for name in inside)
    assert not any(name.startswith("src/platform") for name in inside)
    assert "src/package/model.onnx" in inside
    done = cityforge(loop, "bento", "build", "bins", "--json")
    assert json.loads(done.stdout)["path"] == str(bentos[0])


def test_serving_on_a_used_port_is_one_line(loop: Path, endpoint: str) -> None:
    port = endpoint.rpartition(":")[2]
    refused = cityforge(loop, "serve", "bins", "--port", port)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert f"port {port}" in refused.stderr
