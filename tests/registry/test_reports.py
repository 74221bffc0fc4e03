"""The report that a version shows is the one that was registered with it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from store import Store

from cityforge.errors import RegistryError
from cityforge.registry.bundle_parts import fetch_report
from cityforge.registry.versions import Version
from cityforge.training.tracking import experiment_id


def of_one_training(store: Store) -> tuple[Version, Version]:
    """Two versions of one run, each with a report of its own."""
    site = store.site
    run = site.client.create_run(
        experiment_id(site.client, site.project, site.settings, store.name)
    ).info.run_id
    found = []
    for score in (0.9, 0.95):
        folder = site.project.root / f"{store.name}-{score}" / "package"
        package = store.make(folder, store.name, run, score)
        (package.parent / "report.html").write_text(f"<p>{score}</p>", encoding="utf-8")
        found.append(store.register(package))
    assert found[0].run_id == found[1].run_id
    return found[0], found[1]


def test_versions_of_one_training_keep_their_own_reports(store: Store, tmp_path: Path) -> None:
    for version, text in zip(of_one_training(store), ("<p>0.9</p>", "<p>0.95</p>"), strict=True):
        fetch_report(store.site, version, tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
        assert version.state is not None
        registered = version.state.register.body["report_digest"]
        assert registered == sha256(text.encode()).hexdigest()


def test_another_report_than_was_registered_is_refused(store: Store, tmp_path: Path) -> None:
    version, _ = of_one_training(store)
    other = tmp_path / "report.html"
    other.write_text("<p>all is well</p>", encoding="utf-8")
    place = f"report/{version.tags['cityforge.package_digest'][:16]}"
    store.site.client.log_artifact(version.run_id, str(other), place)
    with pytest.raises(RegistryError, match="it is not what was registered"):
        fetch_report(store.site, version, tmp_path / "fetched.html")
    assert not (tmp_path / "fetched.html").exists()


def test_an_entry_that_names_no_report_has_it_where_it_was_put_then(
    store: Store, tmp_path: Path
) -> None:
    version = store.version()
    assert version.state is not None
    entry = version.state.register
    body = {name: value for name, value in entry.body.items() if name != "report_digest"}
    older = replace(version, state=replace(version.state, register=replace(entry, body=body)))
    (tmp_path / "report.html").write_text("<p>of then</p>", encoding="utf-8")
    store.site.client.log_artifact(version.run_id, str(tmp_path / "report.html"), "report")
    fetch_report(store.site, older, tmp_path / "fetched.html")
    assert (tmp_path / "fetched.html").read_text(encoding="utf-8") == "<p>of then</p>"
