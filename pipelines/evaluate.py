"""Stage evaluate: answers on val and test, the package, the evidence, the report."""

from cityforge.evaluation.stage import evaluate
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.data import open_training_data


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    data = open_training_data(project, card)
    build = project.build(algorithm)
    evidence = evaluate(project, card, params, data, build / "package", build / "evaluate", say)
    figures = evidence.metrics
    say(
        f"mAP50 {figures['map50']:.3f}, mAP50-95 {figures['map50_95']:.3f} on "
        f"{evidence.frame_count} frames; gates {'passed' if evidence.passed else 'not passed'}"
    )


if __name__ == "__main__":
    run_stage(main)
