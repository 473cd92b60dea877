"""Edits of what counts the same in training: with one pair per prompt they rerun nothing, so they go with several."""

from rerun_rows import PAIRS, REPORT, TRAINED, Row

SEVERAL_PAIRS = [
    Row(
        f"with several pairs per prompt: {whose} from training on, report",
        {f"{key}.equal_weight": {f"{where}.equal_weight": "pairs", "pairs.per_prompt": 2}},
        {"base": PAIRS} | TRAINED,
        REPORT,
    )
    for key, where, whose in (
        ("training", "training", "all trained policies"),
        ("variants.<name>", "variants.simpo", "policies of that variant"),
    )
]
