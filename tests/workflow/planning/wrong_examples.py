"""Wrong choices for losses that learn from examples: what is changed of config/micro.yaml, and what is said."""

from typing import Any

from wrong_changes import NAN, Case

KTO: dict[str, Any] = {"variants": {"kto": {"loss": {"name": "kto"}}}}
BOTH: dict[str, Any] = {"examples.desirable_above": 0.6, "examples.undesirable_below": 0.4}
EXAMPLES: list[Case] = [
    (KTO, ["examples.desirable_above: it is null", "variants.kto", "kto", "give a number", "log of `build_examples`"]),
    (
        KTO | {"examples": {"desirable_above": 0.6}},
        ["examples.undesirable_below: it is null, and variants.kto learns", "give a number"],
    ),
    (
        {"sweeps": {"s": {"variant": "kto", "over": {"loss.beta": [0.1, 1.0]}, "pilot": 2}}, "prompts.selection": 2}
        | KTO,
        ["examples.desirable_above: it is null, and variants.kto"],
    ),
    (
        {"examples": {"desirable_above": 0.1, "undesirable_below": 0.2}},
        ["examples: undesirable_below (0.2) is above desirable_above (0.1)", "at most as high"],
    ),
    ({"examples.desirable_above": "high"}, ["examples.desirable_above: ", "'high'", "number"]),
    ({"examples.undesirable_below": NAN}, ["examples.undesirable_below: must be a finite number", "nan"]),
    ({"examples.desirable_above": 1e10}, ["examples.desirable_above: ", "1000000000"]),
    ({"examples.above": 0.5}, ["examples.above: ", "desirable_above"]),
    (
        KTO | BOTH | {"training": {"pairs_of": "accumulated", "earlier_share": 0.5}},
        ["variants.kto.earlier_share: the loss kto learns from examples", "null"],
    ),
    (KTO | BOTH | {"variants.kto.loss.beta": 0}, ["variants.kto.loss", "beta: ", "0"]),
    (KTO | BOTH | {"variants.kto.loss.desirable_weight": -1.0}, ["variants.kto.loss", "desirable_weight: ", "-1"]),
    (
        KTO | BOTH | {"variants.kto.loss.undesirable_weight": None},
        ["variants.kto.loss", "undesirable_weight: ", "None"],
    ),
]
