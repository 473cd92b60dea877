"""Edits of the keys of sweeps, and the jobs that they rerun in the micro experiment, which has no sweep."""

from typing import Any

from rerun_rows import JUDGEMENTS, REPORT, RESPONSES, REWARDS, SAMPLED, TRAINING, Row, Rules

SWEEP = {"variant": "simpo", "points": [{"learning_rate": 1.0e-4}], "pilot": 2}
RANGE = {"low": 1.0e-4, "high": 1.0001e-4, "scale": "linear"}
SELECTED: dict[str, Rules] = {
    "base": RESPONSES | REWARDS | JUDGEMENTS | frozenset({"build_pairs"}),
    "simpo_lr1e-4_s1-1": TRAINING | SAMPLED,
    "rates_1-1": TRAINING | SAMPLED,
}
"""What a sweep of one point makes in place of simpo-1. Before the choice, a plan counts what is promoted as new."""


def swept(**settings: Any) -> dict[str, Any]:
    """A sweep, which micro lacks."""
    return {"prompts.selection": 4, "sweeps": {"rates": {**SWEEP, **settings}}}


SWEEPS = [
    Row(
        "raised: the new selection part, choices of sweeps; promoted policies if they are others",
        {"prompts.selection": swept()},
        SELECTED,
        REPORT | frozenset({"choose_variants"}),
    ),
    Row(
        "candidates that are new, the choice; promoted policies if it is another one; report",
        {
            f"sweeps.<name>.{key}": swept(**{key: value})
            for key, value in {"variant": "simpo", "points": SWEEP["points"], "seeds": 1, "pilot": 4}.items()
        }
        | {f"sweeps.<name>.{key}": swept(**{key: value}) for key, value in {"promote": 1, "judge": "reward"}.items()}
        | {"sweeps.<name>.draws": swept(points=[], draws=1, over={"learning_rate": RANGE})}
        | {
            f"sweeps.<name>.over.<name>.{key}": swept(points=[], draws=1, over={"learning_rate": {**RANGE, key: value}})
            for key, value in {"low": 0.9999e-4, "high": 1.0002e-4, "scale": "log"}.items()
        },
        SELECTED,
        REPORT | frozenset({"choose_variants"}),
    ),
]
