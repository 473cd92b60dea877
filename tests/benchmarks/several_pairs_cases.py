"""What is measured of several pairs per prompt.

What four pairs cost is a matter of lengths. With a prompt of P tokens and responses of R, one pair computes P + 2 R
tokens, four pairs of five draws P + 5 R, and four separate pairs 4 P + 8 R. At UltraFeedback's 170 and 410 tokens that
is 990, 2220 and 3960: training on four pairs costs 2.2 times as much as on one, and 1.8 times less than on separate
pairs. Tokens are below 1.6 times only where a prompt is as long as three responses; the output head, which sees these
alone, is 2.5 times in any case (in these small models it is a large part: 1.7 times in all was measured with prompts of
512 tokens and draws of 100). Of a whole iteration, the draws are sampled (and scored) for one pair as for four: that
is what is held to 1.6 times.
"""

from __future__ import annotations

from cases import PAIRS_64, SMALL_PAIRS, Case

AT_MOST_1_6_TIMES = 1 / 1.6
OPTIONS = {key: value for key, value in PAIRS_64.items() if key != "pairs"}
OPTIONS |= {"vocabulary": 32_000, "token_budget": 16_384, "prompts": 6}
QUICK = {key: SMALL_PAIRS[key] for key in ("vocabulary", "hidden", "layers", "heads")}
QUICK |= {"prompts": 2, "prompt_tokens": 6, "response_tokens": 9}

ULTRAFEEDBACK = {"prompt_tokens": 170, "response_tokens": 410}
LENGTHS = "prompts of 170 tokens and draws of 410"

SEVERAL_PAIRS = [
    Case(
        f"four pairs per prompt: training, against four separate pairs, {LENGTHS}",
        "pairs_per_prompt",
        1.4,
        {**OPTIONS, **ULTRAFEEDBACK, "work": "gradient", "against": "separate pairs"},
        QUICK,
        peer="separate pairs",
    ),
    Case(
        f"four pairs per prompt: an iteration without scoring, against one pair, {LENGTHS}",
        "pairs_per_prompt",
        AT_MOST_1_6_TIMES,
        {**OPTIONS, **ULTRAFEEDBACK, "prompts": 2, "work": "iteration", "against": "one pair"},  # sampling takes long
        peer="one pair",
    ),
    *(
        Case(
            f"four pairs per prompt: {name}, against one pair, {lengths}",
            "pairs_per_prompt",
            ratio,
            {**OPTIONS, **made, "work": work, "against": "one pair"},
            peer="one pair",
            long=True,
        )
        for name, work, lengths, ratio, made in (
            ("training", "gradient", LENGTHS, 0.4, ULTRAFEEDBACK),
            ("log-probabilities", "logprobs", LENGTHS, 0.4, ULTRAFEEDBACK),
            (
                "training",
                "gradient",
                "prompts of 512 tokens and draws of 100",
                0.5,
                {"prompt_tokens": 512, "response_tokens": 100},
            ),
        )
    ),
]
