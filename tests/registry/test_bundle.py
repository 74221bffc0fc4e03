"""A bundle as it is built, and all that is refused when it is not as it was built."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store import APPROVER, TRAINER, bless, found_site, revoke

from cityforge.endpoint import bundled
from cityforge.endpoint.bundle_checks import verify
from cityforge.endpoint.bundle_file import read_manifest, unpack, write_bundle
from cityforge.endpoint.bundle_list import Builder, list_files
from cityforge.endpoint.pins import read_pins
from cityforge.errors import CityforgeError, InputError, TrustError
from cityforge.project import Project
from cityforge.registry.approval import approve
from cityforge.registry.bundle import Built, Wanted, build_bundle, signed_list
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.registry.wheels import hashes_of
from cityforge.settings import Settings
from cityforge.training.tracking import experiment_id
from cityforge.trust.keys import Signer, new_key, open_key

ROOT = Path(__file__).parents[2]
NAME, STRANGER = "tiny", "陌生人"
PARTS = ("pyproject.toml", "README.md", "LICENSE", "requirements.lock")
BARE = Wanted(out=None, wheels=False, pictures=8, by=TRAINER)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., Path]) -> Site:
    """A site with an approved version, whose service and wheel are those of this checkout."""
    root = tmp_path_factory.mktemp("city")
    for part in PARTS:
        (root / part).symlink_to(ROOT / part)
    for part in ("platform", "serving"):  # copied: they may be edited meanwhile
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    found = Site(Project(root), Settings(tracking_uri=""))
    found_site(found)
    bless(found, APPROVER, ["approve"])
    experiment = experiment_id(found.client, found.project, found.settings, NAME)
    run = found.client.create_run(experiment).info.run_id
    package = make_package(root / "made" / "package", NAME, run)
    register(found, NAME, package, package.parent, who=TRAINER)
    approve(found, NAME, 1, APPROVER, reason="good enough")
    return found


@pytest.fixture(scope="module")
def built(site: Site) -> Built:
    return build_bundle(site, NAME, None, BARE, lambda done, whole: None)


def signer(site: Site, who: str = TRAINER) -> Signer:
    return open_key(site.settings, who)


def repacked(
    built: Built, out: Path, key: Signer, edit: Callable[[Path], None], **changes: Any
) -> Path:
    """The bundle with other files, its list made anew and signed by a key."""
    folder = out / "edited"
    folder.mkdir()
    unpack(built.path, folder)
    (folder / "manifest.json").unlink()
    edit(folder)
    builder = Builder(name=key.name, key_id=key.key_id, public=key.public)
    changes = {"builder": builder, "files": list_files(folder), **changes}
    manifest = built.manifest.model_copy(update=changes)
    path = out / "edited.cityforge.tar"
    write_bundle(path, folder, manifest, signed_list(key, manifest.to_bytes()))
    return path


def test_a_bundle_holds_what_a_site_needs(built: Built, site: Site) -> None:
    assert built.path.name == f"{NAME}-v1-{built.manifest.package_digest[:12]}.cityforge.tar"
    with tarfile.open(built.path, "r:") as tar:  # any tar program reads it
        names = tar.getnames()
        assert {(each.mtime, each.uid, each.mode) for each in tar} == {(0, 0, 0o644)}
    assert names[:2] == ["manifest.json", "manifest.sig"]
    assert names[2:] == sorted(names[2:])
    wanted = {
        "package/model.onnx", "package/model.sig", "package/evidence.json", "release.json",
        "report.html", "sbom.cdx.json", "conformance/expected.json", "service/service.py",
        "service/requirements.txt", "service/bentofile.yaml", "service/README.md", "README.txt",
        "bundle_start.py", "bento/env/docker/Dockerfile", "bento/bento.yaml",
    }  # fmt: skip
    assert wanted <= {*names}
    assert [each for each in names if each.startswith("wheels/")] == [
        "wheels/cityforge-0.1.0-py3-none-any.whl"
    ]
    assert (built.pictures, "the version's split" in built.why_drawn) == (4, True)


def test_the_same_inputs_give_the_same_bytes(built: Built, site: Site, tmp_path: Path) -> None:
    wanted = replace(BARE, out=tmp_path / "again.cityforge.tar")
    again = build_bundle(site, NAME, 1, wanted, lambda done, whole: None)
    assert again.sha256 == built.sha256


def test_a_verified_bundle_says_who_stands_for_it(built: Built, site: Site) -> None:
    told = verify(built.path).told()
    assert (told["algorithm"], told["version"], told["reason"]) == (NAME, 1, "good enough")
    assert (told["approved_by"], told["trained_by"], told["built_by"]) == (
        APPROVER, TRAINER, TRAINER,
    )  # fmt: skip
    assert [(each["name"], each["first"]) for each in told["keys"]] == [
        (TRAINER, True), (APPROVER, False),
    ]  # fmt: skip
    assert (told["pictures"], told["pinned"]) == (4, False)


def test_its_bill_of_materials_is_valid_and_whole(built: Built, tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    unpack(built.path, tmp_path)
    text = (tmp_path / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = json.loads(text)["components"]
    pins = read_pins(tmp_path / "service" / "requirements.txt")
    kinds = [each["type"] for each in listed]
    assert (len(listed), kinds.count("machine-learning-model")) == (len(pins) + 2, 1)
    (model,) = [each for each in listed if each["type"] == "machine-learning-model"]
    onnx = next(each for each in built.manifest.files if each.name == "package/model.onnx")
    assert model["hashes"] == [{"alg": "SHA-256", "content": onnx.sha256}]
    by_name = {each["name"]: each for each in listed}
    assert by_name["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    assert by_name["pydantic"]["licenses"] == [{"license": {"id": "MIT"}}]
    own = next(each for each in built.manifest.files if each.name.startswith("wheels/cityforge-"))
    assert by_name["cityforge"]["hashes"] == [{"alg": "SHA-256", "content": own.sha256}]


def test_a_flipped_byte_is_found_in_every_file(built: Built, tmp_path: Path) -> None:
    data, checked = bytearray(built.path.read_bytes()), 0
    with tarfile.open(built.path, "r:") as tar:
        members = tar.getmembers()
    for each in members:
        for at in (each.offset + 150, each.offset_data, each.offset_data + each.size - 1):
            data[at] ^= 1
            path = tmp_path / "flipped.tar"
            path.write_bytes(data)
            with pytest.raises(CityforgeError) as refused:
                verify(path)
            data[at] ^= 1
            known = each.name in str(refused.value) or each.name.startswith("manifest")
            assert known, (each.name, str(refused.value))
            checked += 1
    assert checked == 3 * (len(built.manifest.files) + 2)


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def other_answer(folder: Path) -> None:
    path = folder / "conformance" / "expected.json"
    content = json.loads(path.read_text())
    content["pictures"][1]["answer"]["boxes"][0]["x1"] += 0.06
    path.write_text(json.dumps(content))


def other_network(folder: Path) -> None:
    path = folder / "conformance" / "expected.json"
    content = json.loads(path.read_text())
    content["pictures"][2]["raw"][0][2] += 0.002
    path.write_text(json.dumps(content))


def append_space(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")

    return act


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (append_space("package/model.onnx"), "model.onnx"),
        (append_space("package/evidence.json"), "evidence.json"),
        (write("package/model.sig", "{}"), "as it was signed"),
        (write("release.json", "{}"), "a release as it was written"),
        (write("package/run.py", "print()"), "run.py"),
        (other_answer, "drawn1.png"),
        (other_network, "drawn2.png"),
        (lambda folder: (folder / "package" / "model.sig").unlink(), "model.sig"),
        (lambda folder: shutil.rmtree(folder / "conformance"), "expected.json"),
    ],
)
def test_a_trusted_builder_cannot_pass_off_another_model(
    built: Built, site: Site, tmp_path: Path, edit: Callable[[Path], None], said: str
) -> None:
    path = repacked(built, tmp_path, signer(site), edit)
    read_manifest(path)  # the list itself is well signed
    with pytest.raises(CityforgeError) as refused:
        verify(path)
    assert said in str(refused.value)


def test_a_list_of_another_version_is_refused(built: Built, site: Site, tmp_path: Path) -> None:
    path = repacked(built, tmp_path, signer(site), lambda folder: None, version=2)
    with pytest.raises(CityforgeError, match="tiny version 2 as the bundle's list says"):
        verify(path)


def test_a_strangers_signature_is_not_believed(built: Built, site: Site, tmp_path: Path) -> None:
    key = new_key(site.settings, STRANGER)
    path = repacked(built, tmp_path, key, lambda folder: None)
    with pytest.raises(TrustError, match="which that site does not trust"):
        verify(path)
    lent = Builder(**{**built.manifest.builder.model_dump(), "name": STRANGER})
    (tmp_path / "b").mkdir()
    path = repacked(built, tmp_path / "b", key, lambda folder: None, builder=lent)
    with pytest.raises(TrustError, match="another signature"):
        verify(path)


def test_a_key_that_is_known_from_elsewhere_is_asked_for(
    built: Built, site: Site, tmp_path: Path
) -> None:
    for who in (TRAINER, APPROVER):
        key = signer(site, who)
        public = key.path.with_name(f"{who}.pub.pem")
        assert verify(built.path, key.key_id).pinned
        assert verify(built.path, str(public)).pinned
    with pytest.raises(TrustError, match="found keys"):
        verify(built.path, "0" * 16)
    with pytest.raises(InputError, match=r"NAME\.pub\.pem"):
        verify(built.path, str(tmp_path / "none.pem"))


def test_a_builder_whose_key_was_revoked_builds_nothing(built: Built, site: Site) -> None:
    bless(site, "王五", ["train"])
    revoke(site, "王五", compromised=False)
    with pytest.raises(TrustError, match="revoked"):
        build_bundle(site, NAME, None, replace(BARE, by="王五"), lambda done, whole: None)


def test_a_folder_is_used_again_and_held_against_the_bundle(built: Built, tmp_path: Path) -> None:
    folder, said = tmp_path / "site", list[str]()
    bundled.prepare(built.path, folder, "", said.append)
    assert not said
    bundled.prepare(built.path, folder, "", said.append)
    assert said == [f"unpacked already in {folder}"]
    service = folder / "bundle" / "service" / "service.py"
    service.write_text(service.read_text() + "\n")
    with pytest.raises(CityforgeError, match=r"'service/service.py' .* found a changed one"):
        bundled.prepare(built.path, folder, "", said.append)
    service.write_text(service.read_text()[:-1])
    (service.parent / "sitecustomize.py").touch()
    with pytest.raises(CityforgeError, match="sitecustomize"):
        bundled.prepare(built.path, folder, "", said.append)


def test_what_is_served_is_a_whole_bento(built: Built, tmp_path: Path) -> None:
    bundled.prepare(built.path, tmp_path, "", lambda line: None)
    served = bundled.assemble(tmp_path)
    names = {each.relative_to(served).as_posix() for each in served.rglob("*") if each.is_file()}
    wanted = {
        "bento.yaml", "env/docker/Dockerfile", "env/python/install.sh", "src/service.py",
        "src/release.json", "src/package/model.onnx", "src/package/model.sig",
        "env/python/wheels/cityforge-0.1.0-py3-none-any.whl",
    }  # fmt: skip
    assert wanted <= names


def test_the_first_token_is_made_once_and_its_secret_is_not_kept(tmp_path: Path) -> None:
    said: list[str] = []
    where = bundled.Where(host="10.0.0.7", hosts="vision.city")
    first = bundled.environment(tmp_path, where, {}, said.append)
    secret = next(line for line in said[0].splitlines() if line.startswith("cf_"))
    path = Path(first["CITYFORGE_TOKENS"])
    assert secret not in path.read_text()
    assert first["CITYFORGE_HOSTS"] == "vision.city,10.0.0.7"
    bundled.environment(tmp_path, where, {}, said.append)
    assert len(said) == 1
    other = bundled.environment(tmp_path / "b", where, {"CITYFORGE_TOKENS": "x"}, said.append)
    assert (other["CITYFORGE_TOKENS"], len(said)) == (str(Path.cwd() / "x"), 1)


def test_the_lock_has_hashes_of_all_that_an_endpoint_needs() -> None:
    known = hashes_of(ROOT / "requirements.lock")
    pins = read_pins(ROOT / "serving" / "requirements.txt")
    assert len(pins) > 50
    assert [each.name for each in pins if not known.get(f"{each.name}=={each.version}")] == []


def test_what_is_served_is_the_code_of_the_bundle(built: Built, tmp_path: Path) -> None:
    bundled.prepare(built.path, tmp_path, "", lambda line: None)
    code = bundled.unpack_code(tmp_path)
    surroundings = bundled.environment(tmp_path, bundled.Where(), {}, lambda line: None)
    assert surroundings["PYTHONPATH"] == str(code)
    program = "import cityforge.endpoint.app as app; print(app.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=surroundings, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(code / "cityforge" / "endpoint" / "app.py"), done.stderr


def test_verifying_needs_neither_mlflow_nor_torch_nor_dvc(built: Built) -> None:
    program = (
        "import sys\nfrom cityforge.endpoint.bundled import main\n"
        f"code = main(['verify', {str(built.path)!r}])\n"
        "heavy = {'torch', 'mlflow', 'dvc', 'typer', 'sqlalchemy', 'cyclonedx'} & {*sys.modules}\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"approved by {APPROVER}" in done.stdout


def test_the_starter_needs_the_standard_library_alone(built: Built, tmp_path: Path) -> None:
    start = tmp_path / "bundle_start.py"
    start.write_bytes((ROOT / "serving" / "bundle_start.py").read_bytes())
    words = [sys.executable, "-I", "-S", str(start), "verify", str(built.path)]
    data = bytearray(built.path.read_bytes())
    with tarfile.open(built.path, "r:") as tar:
        at = next(each.offset_data for each in tar if each.name == "service/service.py")
    data[at] ^= 1
    (tmp_path / "flipped.tar").write_bytes(data)
    for more, said in (
        (["--sha256", "0" * 64], "expected a bundle with sha256 0000"),
        (["--folder", str(tmp_path / "site")], "'service/service.py' with digest"),
    ):
        if "--folder" in more:
            words[-1] = str(tmp_path / "flipped.tar")
        done = subprocess.run([*words, *more], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "site" / "venv").exists()


def test_the_signature_is_one_that_openssl_knows(built: Built, site: Site, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    with tarfile.open(built.path, "r:") as tar:
        for name in ("manifest.json", "manifest.sig"):
            tar.extract(name, tmp_path, filter="data")
    public = signer(site).path.with_name(f"{TRAINER}.pub.pem")
    words = [openssl, "dgst", "-sha256", "-verify", str(public), "-signature", "manifest.sig"]
    done = subprocess.run([*words, "manifest.json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "Verified OK"
    (tmp_path / "manifest.json").write_text("{}")
    done = subprocess.run([*words, "manifest.json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
