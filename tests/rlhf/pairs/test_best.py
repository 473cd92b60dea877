"""The best response of each prompt, for losses that read nothing else."""

from pathlib import Path

from hypothesis import given, settings

from drawn_parts import PARTS, Draw, built, tables
from rlhf.pairs.building import DROP_REASONS
from rlhf.pairs.schema import PAIRS


@given(part=PARTS)
@settings(deadline=None)
def test_best_takes_the_best_response_of_every_prompt_that_has_a_candidate(part: list[list[Draw]]) -> None:
    """Where `best_worst` makes a pair, it is the same one."""
    pairs = built(*tables(part), choose="best")
    PAIRS.check(pairs.table, Path("pairs.parquet"))
    pairs_of_two = {row["prompt_id"]: row for row in built(*tables(part)).table.to_pylist()}
    found = {row["prompt_id"]: row for row in pairs.table.to_pylist()}
    for number, draws in enumerate(part):
        rewards = {i: draw.reward for i, draw in enumerate(draws) if draw.finish_reason == "stop" and not draw.invalid}
        assert (f"p{number}" in found) == bool(rewards)
        if rewards:
            row = found[f"p{number}"]
            assert row["chosen_draw"] == max(rewards, key=lambda i: (rewards[i] or 0.0, -i))
            assert row["rejected_reward"] == min(reward or 0.0 for reward in rewards.values())
            assert len(rewards) > 1 or row["chosen_win_probability"] == 0.5
            two = pairs_of_two.get(f"p{number}", row)
            assert (two["chosen_draw"], two["rejected_reward"]) == (row["chosen_draw"], row["rejected_reward"])
    assert pairs.dropped == {**dict.fromkeys(DROP_REASONS, 0), "no_two_candidates": len(part) - len(found)}


def test_best_keeps_prompts_whose_responses_are_all_equal_unless_a_margin_is_asked_for() -> None:
    part = tables([[Draw(1.0, (5,)), Draw(1.0, (5,))], [Draw(2.0)], [Draw(1.0), Draw(3.0)]])
    assert built(*part, choose="best").table["prompt_id"].to_pylist() == ["p0", "p1", "p2"]
    with_margin = built(*part, min_margin=1.0, choose="best")
    assert with_margin.table["prompt_id"].to_pylist() == ["p2"]
    assert with_margin.dropped["below_margin"] == 2
