"""Wrong numbers of pairs per prompt: what is changed of config/micro.yaml, and what is said."""

from wrong_changes import Case

SEVERAL_PAIRS: list[Case] = [
    ({"pairs.per_prompt": 0}, ["pairs.per_prompt: ", "0", "equal to 1"]),
    ({"pairs.per_prompt": "all"}, ["pairs.per_prompt: ", "'all'"]),
    (
        {"pairs.per_prompt": 3},
        ["pairs.per_prompt: it is 3", "3 responses", "`choose: best_worst`", "allowed with it: 1 to 2"],
    ),
    ({"pairs": {"choose": "random", "per_prompt": 4}}, ["pairs.per_prompt: it is 4", "at most 3"]),
    ({"pairs.choose": "all"}, ["pairs: ", "`choose: all` with `per_prompt: 1`", "raise `per_prompt`"]),
    ({"training.equal_weight": "pair"}, ["training.equal_weight: ", "'pair'", "Did you mean 'pairs'?"]),
    ({"variants.rebel.equal_weight": None}, ["variants.rebel.equal_weight: ", "None", "'prompts' or 'pairs'"]),
]
