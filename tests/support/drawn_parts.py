"""Prompts with scored responses, as `build_pairs` gets them, and the pairs that are built of them."""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from rlhf.base.names import Rows
from rlhf.pairs.building import Pairs, build
from rlhf.pairs.pool import Sampled
from rlhf.pairs.settings import DRAWN_CHOICES, Choice, PairSpec
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS

RESPONSES_PATH, REWARDS_PATH = Path("responses.parquet"), Path("rewards.parquet")


@dataclasses.dataclass(frozen=True)
class Draw:
    """A response to a prompt and its reward."""

    reward: float | None
    ids: tuple[int, ...] = ()
    finish_reason: str = "stop"
    invalid: str | None = None


FINITE = st.floats(-100, 100, width=32)
VALUES = st.one_of(FINITE, st.sampled_from([0.0, -0.0, 1.0, 2.0]))
DRAWS = st.one_of(
    st.builds(Draw, VALUES, st.tuples(st.integers(0, 3)), st.sampled_from(["stop", "stop", "length"])),
    st.builds(Draw, st.none(), invalid=st.sampled_from(["too_long", "empty"])),
)
PARTS = st.lists(st.lists(DRAWS, min_size=0, max_size=5), min_size=0, max_size=6)


def tables(part: list[list[Draw]]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Prompts, responses and rewards of a part."""
    prompts: list[dict[str, Any]] = []
    responses: list[dict[str, Any]] = []
    rewards: list[dict[str, Any]] = []
    for number, draws in enumerate(part):
        prompts.append({"prompt_id": f"p{number}", "prompt": f"prompt {number}", "prompt_token_ids": [1, number]})
        for index, draw in enumerate(draws):
            key = {"prompt_id": f"p{number}", "draw": index}
            ids = list(draw.ids or (number, index))
            text = f"response {number} {index}"
            reason = draw.finish_reason
            responses.append({**key, "response": text, "response_token_ids": ids, "finish_reason": reason, "seed": 1})
            rewards.append({**key, "reward": draw.reward, "invalid": draw.invalid, "objectives": None})
    artifacts = ((PROMPTS, prompts), (RESPONSES, responses), (REWARDS, rewards))
    made = [pa.Table.from_pylist(rows, schema=artifact.schema) for artifact, rows in artifacts]
    return made[0], made[1], made[2]


def built(
    prompts: pa.Table,
    responses: pa.Table,
    rewards: pa.Table,
    min_margin: float = 0.0,
    choose: Choice = "best_worst",
    per_prompt: int = 1,
) -> Pairs:
    spec = PairSpec(
        rows=Rows(start=0, stop=len(prompts)),
        choose=choose,
        per_prompt=per_prompt,
        target_margin=1.0 if choose == "margin" else None,
        min_margin=min_margin,
        seed=3 if choose in DRAWN_CHOICES else None,
    )
    return build(prompts, [Sampled(responses, rewards, RESPONSES_PATH, REWARDS_PATH)], spec)


def one_prompt(*draws: Draw, min_margin: float = 0.0, **choice: Any) -> Pairs:
    return built(*tables([list(draws)]), min_margin, **choice)
