"""What the choice of a sweep reads."""

from rlhf.evaluation.paired.settings import ChooseSpec, PointSpec
from workflow.experiment import Experiment


def choose_spec(experiment: Experiment, sweep: str) -> ChooseSpec:
    """The settings of `choose_variants`: the points of a sweep and their policies."""
    found = experiment.sweep_points[sweep]
    points = [
        PointSpec(
            name=point.name,
            changes=point.changes,
            policies=[f"{name}-1" for name in found.candidates(point)],
        )
        for point in found.points
    ]
    return ChooseSpec(
        sweep=sweep,
        judge=found.settings.judge or experiment.judges()[-1],
        points=points,
        default=found.default,
        promote=found.settings.promote,
        confidence=experiment.evaluation.confidence,
    )
