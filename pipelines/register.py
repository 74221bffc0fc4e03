"""Stage register: the package as a model version in MLflow, a challenger."""

from cityforge.dataset.snapshot import write_json
from cityforge.project import Project
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.registry.versions import TAG_PACKAGE
from cityforge.settings import Settings
from cityforge.stage import run_stage, say


def main(project: Project, settings: Settings, algorithm: str) -> None:
    build = project.build(algorithm)
    site = Site(project, settings, say)
    version = register(site, algorithm, build / "package", build / "evaluate", build / "train")
    write_json(
        build / "register" / "version.json",
        {
            "algorithm": algorithm,
            "version": version.version,
            "package_digest": version.tags[TAG_PACKAGE],
        },
    )
    say(f"{algorithm} version {version.version}, a challenger")


if __name__ == "__main__":
    run_stage(main)
