"""Pairs in the columns that TRL and alignment-handbook read, made slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlhf.base.artifacts import (
    ROWS_PER_GROUP,
    Artifact,
    ArtifactError,
    count_rows,
    read_provenance,
    stated_provenance,
    table_schema,
)
from rlhf.base.lineage import checked_inputs
from rlhf.base.names import Rows
from rlhf.base.provenance import provenance
from rlhf.base.settings import Settings
from rlhf.datasets.conversations import as_turns
from rlhf.pairs.schema import pair_artifact
from rlhf.prompts.schema import MESSAGES, Prompt, read_prompts

PREFERENCES = Artifact(
    "preferences",
    table_schema(
        {
            "prompt": pa.string(),
            "prompt_id": pa.string(),
            "chosen": MESSAGES,
            "rejected": MESSAGES,
            "score_chosen": pa.float32(),
            "score_rejected": pa.float32(),
            "chosen_draw": pa.int32(),
            "rejected_draw": pa.int32(),
        }
    ),
    key=("prompt_id",),
)
"""A row per pair. `prompt` is the last user turn. `chosen` and `rejected` are whole conversations, the prompt included,
as in UltraFeedback's binarized form (Tunstall et al., "Zephyr", 2023). The scores are the rewards of training."""


def preference_artifact(pairs: Artifact) -> Artifact:
    """The schema of the preferences of such pairs: it has their key, and null scores where they have no rewards."""
    unscored = pairs.schema.field("chosen_reward").nullable
    own = [field.with_nullable(unscored and field.name.startswith("score_")) for field in PREFERENCES.schema]
    more = [pairs.schema.field(name) for name in pairs.key if name not in PREFERENCES.schema.names]
    return Artifact(PREFERENCES.name, pa.schema([*own, *more]), pairs.key)


OF_PAIRS = ("prompt_id", "chosen", "rejected", "chosen_reward", "rejected_reward", "chosen_draw", "rejected_draw")


def write_preferences(program: Path, prompts: Path, pairs: Path, target: Path) -> None:
    """Write a part's pairs as `PREFERENCES`, unless they are there already. At most two row groups are in memory.

    Args:
        program: the running program, for the provenance.

    Raises:
        ArtifactError: the pairs are of other prompts.
    """
    inputs = checked_inputs(prompts=prompts, pairs=pairs)
    origin = provenance(str(program), Settings(), inputs)
    if target.exists() and stated_provenance(target) == {"artifact": PREFERENCES.name, **origin}:
        return
    artifact = preference_artifact(pair_artifact(pairs))
    artifact.write_tables(target, _preferences(prompts, pairs, artifact.schema), origin)


def _preferences(prompts: Path, pairs: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    asked = _prompts(prompts, Rows.model_validate(read_provenance(pairs)["spec"]["rows"]))
    artifact = pair_artifact(pairs)
    prompt: Prompt | None = None
    for rows in _slices(range(count_rows(pairs))):
        found = []
        for row in artifact.read(pairs, [*dict.fromkeys([*OF_PAIRS, *artifact.key])], rows).to_pylist():
            if prompt is None or prompt.prompt_id != row["prompt_id"]:
                prompt = _next_prompt(asked, row["prompt_id"], pairs)
            found.append({**_preference(row, prompt), **{name: row[name] for name in artifact.key}})
        yield pa.Table.from_pylist(found, schema=schema)


def _next_prompt(asked: Iterator[Prompt], prompt_id: str, pairs: Path) -> Prompt:
    """The prompt with this ID. Pairs are in the order of the prompts, of which some have none."""
    found = next((prompt for prompt in asked if prompt.prompt_id == prompt_id), None)
    if found is None:
        raise ArtifactError(f"{pairs}: prompt_id={prompt_id!r} is not among the prompts of its part")
    return found


def _preference(row: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """A row of `PREFERENCES`."""
    before = as_turns(prompt.messages)
    return {
        "prompt": prompt.text,
        "prompt_id": row["prompt_id"],
        "chosen": [*before, {"role": "assistant", "content": row["chosen"]}],
        "rejected": [*before, {"role": "assistant", "content": row["rejected"]}],
        "score_chosen": row["chosen_reward"],
        "score_rejected": row["rejected_reward"],
        "chosen_draw": row["chosen_draw"],
        "rejected_draw": row["rejected_draw"],
    }


def _prompts(prompts: Path, part: Rows) -> Iterator[Prompt]:
    """The prompts of a part."""
    stop = part.stop if part.stop or part.start >= 0 else None
    for rows in _slices(range(count_rows(prompts))[part.start : stop]):
        if rows:
            yield from read_prompts(prompts, Rows(start=rows.start, stop=rows.stop))


def _slices(rows: range) -> Iterator[range]:
    """Rows in slices of a row group; one that is empty where there are none."""
    for start in range(0, max(1, len(rows)), ROWS_PER_GROUP):
        yield rows[start : start + ROWS_PER_GROUP]
