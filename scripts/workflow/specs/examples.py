"""What the building of examples reads."""

from rlhf.examples.settings import ExampleSpec
from workflow.experiment import Experiment


def example_spec(experiment: Experiment, part: str) -> ExampleSpec:
    """The settings of `build_examples`; the configuration has both thresholds, see `check_examples`."""
    above, below = experiment.examples.desirable_above, experiment.examples.undesirable_below
    assert above is not None and below is not None
    return ExampleSpec(rows=experiment.rows(part), desirable_above=above, undesirable_below=below, seed=experiment.seed)
