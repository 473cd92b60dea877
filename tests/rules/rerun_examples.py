"""Edits of the thresholds of examples, in the micro experiment with a variant more that learns from those."""

from typing import Any

from rerun_rows import REPORT, SAMPLED, TRAINING, Row, Rules

EXAMPLES: dict[str, Any] = {"desirable_above": 0.358, "undesirable_below": 0.357}
KTO: dict[str, Any] = {"loss": {"name": "kto", "beta": 0.1}}
LEARNED: Rules = frozenset({"build_examples", "compute_example_logprobs"})
"""What the thresholds decide."""


def with_kto(**thresholds: float) -> dict[str, Any]:
    """The variant, which micro lacks, and the thresholds that it needs."""
    return {"variants.kto": KTO, "examples": {**EXAMPLES, **thresholds}}


OF_EXAMPLES = [
    Row(
        "examples and all that follows",
        {f"examples.{key}": with_kto(**{key: 0.3575}) for key in EXAMPLES},
        {"base": LEARNED, "kto-1": TRAINING | SAMPLED},
        REPORT,
    )
]
