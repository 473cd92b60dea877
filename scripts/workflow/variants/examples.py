"""What the examples of an experiment need: thresholds of the reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.training.settings import IterationSettings

if TYPE_CHECKING:
    from workflow.experiment import Experiment


def learns_from_examples(experiment: Experiment) -> list[str]:
    """The variants of the configuration whose loss learns from examples instead of pairs."""
    return [name for name, variant in experiment.variants.items() if variant.loss.unpaired]


def check_examples(experiment: Experiment) -> None:
    """Raise ValueError for a variant that learns from examples, of which the configuration does not say enough."""
    for variant in learns_from_examples(experiment):
        loss = experiment.variants[variant].loss.name
        for key in ("desirable_above", "undesirable_below"):
            if getattr(experiment.examples, key) is None:
                raise ValueError(
                    f"examples.{key}: it is null, and variants.{variant} learns by the loss {loss} from responses "
                    "whose rewards are above or below a threshold: give a number. The log of `build_examples` says how "
                    "the rewards are distributed, and another number samples and scores nothing again"
                )
        settings = experiment.variants[variant].merged(IterationSettings, experiment.training)
        if settings.earlier_share is not None:
            raise ValueError(
                f"variants.{variant}.earlier_share: the loss {loss} learns from examples, which are not drawn by "
                "shares; allowed with it: null, which takes all of them"
            )
