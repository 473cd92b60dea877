"""Parts without a single pair: the error names the main cause and its setting."""

from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.pairs.none_left import require_pairs
from rlhf.pairs.settings import PairSpec

SPEC = PairSpec(rows=Rows(start=0, stop=50), choose="best_worst", target_margin=None, min_margin=2.5, seed=None)


def counts(
    pairs: int = 0, prompts: int = 50, candidates: dict[str, int] | None = None, **dropped: int
) -> dict[str, Any]:
    return {"pairs": pairs, "prompts": prompts, "dropped": dropped, "candidates_dropped": candidates or {}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            counts(no_two_candidates=40, tie=10, candidates={"truncated": 99, "too_long": 3}),
            "99 .*`responses.max_tokens`",
        ),
        (counts(no_two_candidates=50, candidates={"truncated": 1, "too_long": 70}), "70 .*`rewards.max_tokens`"),
        (counts(no_two_candidates=50, candidates={"no_reward": 70}), "70 .*check what `rewards` returns"),
        (counts(no_two_candidates=50, candidates={"odd": 70}), r"70 .*\(odd\)[^`]*check `rewards`"),
        (counts(no_two_candidates=50), "fewer than two responses: raise `responses.draws`"),
        (counts(below_margin=30, tie=20), "30 of 50 prompts are below 2.5: lower `pairs.min_margin`"),
        (counts(tie=50), "equal rewards: check the output of `rewards`, .*`responses.temperature`"),
        (counts(identical=50), "`responses.temperature`"),
    ],
)
def test_the_error_names_the_main_cause_and_its_setting(found: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^here: no prompt has a pair. .*{said}"):
        require_pairs(found, SPEC, "here")


def test_some_pairs_or_a_small_part_are_no_error() -> None:
    require_pairs(counts(pairs=1, tie=49), SPEC, "here")
    require_pairs(counts(prompts=19, tie=19), SPEC, "here")
