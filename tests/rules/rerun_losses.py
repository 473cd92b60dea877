"""The part of the rerun table about losses."""

from rerun_rows import REBEL, REPORT, SIMPO, Row

LOSSES = [
    Row(
        "policies of that variant from training on, report",
        {
            "variants.<name>.loss.eta": {"variants.rebel.loss.eta": 11.0},
            "variants.<name>.loss.name": {"variants.rebel.loss": {"name": "dpo"}},
            "variants.<name>.loss.sft_weight": {"variants.rebel.loss.sft_weight": 0.5},
            "variants.<name>.loss.label_smoothing": {"variants.rebel.loss": {"name": "robust", "label_smoothing": 0.2}},
        },
        REBEL,
        REPORT,
    ),
    Row(
        "policies of that variant from training on, report",
        {
            "variants.<name>.loss.beta": {"variants.simpo.loss.beta": 2.6},
            "variants.<name>.loss.gamma": {"variants.simpo.loss.gamma": 1.0},
            "variants.<name>.loss.wpo": {"variants.simpo.loss.wpo": True},
        },
        SIMPO,
        REPORT,
    ),
]
