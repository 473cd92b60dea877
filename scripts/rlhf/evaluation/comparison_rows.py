"""The comparisons of a policy with `base`, a row per draw."""

import numpy as np
import pyarrow as pa

from rlhf.evaluation.duels import Duels
from rlhf.evaluation.schema import COMPARISONS
from rlhf.evaluation.scored_responses import ScoredResponses


def comparison_rows(judge: str, name: str, policy: ScoredResponses, base: ScoredResponses, found: Duels) -> pa.Table:
    """Rows of `COMPARISONS`, from the duels between both sides."""
    scored, opponents = (side.draws["reward"].is_valid().to_numpy() for side in (policy, base))
    prompts = np.repeat(np.arange(len(policy.counts)), policy.counts)
    met = np.add.reduceat(opponents, np.cumsum(base.counts) - base.counts, dtype=np.int64)[prompts]
    rows = np.flatnonzero(scored & (met > 0))
    duels = met[rows]
    starts = np.cumsum(duels) - duels
    draws = policy.draws.take(rows)
    lengths = draws["characters"].to_numpy().astype(np.float64)
    columns = {
        "judge": pa.repeat(judge, len(rows)),
        "policy": pa.repeat(name, len(rows)),
        "prompt_id": policy.prompt_ids.take(pa.array(prompts[rows])),
        "draw": draws["draw"],
        "preference": np.add.reduceat(found.wins, starts, dtype=np.int64) / 2 / duels,
        "length": lengths,
        "reference_length": lengths - np.add.reduceat(found.length_differences, starts, dtype=np.int64) / duels,
    }
    return pa.table(columns, schema=COMPARISONS.schema)
