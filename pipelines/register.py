"""Stage register: the package as a model version in MLflow, a challenger."""

from cityforge.dataset.snapshot import write_json
from cityforge.project import Project
from cityforge.registry.versions import TAG_PACKAGE, register
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.tracking import tracking_client


def main(project: Project, settings: Settings, algorithm: str) -> None:
    build = project.build(algorithm)
    client = tracking_client(project, settings)
    version = register(client, project, algorithm, build / "package", build / "evaluate")
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
