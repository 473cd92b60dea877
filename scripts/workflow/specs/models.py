"""Models as settings of programs."""

from rlhf.models.source import ModelSource
from workflow.experiment import MADE_BY_RULES
from workflow.sources import model_source


def model_spec(name: str, revision: str | None) -> ModelSource | None:
    """A hub name with its revision, or a local folder with its fingerprint; None for a model made by a rule."""
    return None if name.startswith(MADE_BY_RULES) else model_source(name, revision)
