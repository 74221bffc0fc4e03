"""Stage evaluate: answers, the package, the evidence, the champion beside it, the report."""

from cityforge.evaluation.against import Champion
from cityforge.evaluation.headline import headline
from cityforge.evaluation.stage import evaluate
from cityforge.project import Project
from cityforge.registry.site import Site
from cityforge.registry.versions import champion, fetch_package
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.data import open_training_data
from cityforge.training.picked import with_trained_input


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    data = open_training_data(project, card)
    build = project.build(algorithm)
    params = with_trained_input(params, build / "train")
    out = build / "package", build / "evaluate"
    theirs = in_use(project, settings, algorithm)
    evidence = evaluate(project, card, params, data, *out, say, theirs)
    gates = "passed" if evidence.passed else "not passed"
    said = headline(card.task, evidence.metrics)
    say(f"{said} on {evidence.frame_count} frames; gates {gates}")


def in_use(project: Project, settings: Settings, algorithm: str) -> Champion | None:
    """The champion with its package; a registry that does not answer is an error, not None."""
    site = Site(project, settings)
    found = champion(site, algorithm)
    return Champion(found.version, fetch_package(site, found)[1]) if found else None


if __name__ == "__main__":
    run_stage(main)
