"""The conversations of a part: its prompts with the responses to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf.base.artifacts import ArtifactError
from rlhf.base.names import Rows
from rlhf.prompts.schema import read_prompts
from rlhf.responses.schema import read_responses
from rlhf.rewards.scorer import Conversation


def read_conversations(prompts: Path, rows: Rows, responses: Path) -> tuple[list[dict[str, Any]], list[Conversation]]:
    """Key (`prompt_id`, `draw`) and conversation of each response of a part, in the order of the responses' file.

    Raises:
        ArtifactError: a response belongs to none of the part's prompts.
    """
    found = {prompt.prompt_id: prompt for prompt in read_prompts(prompts, rows)}
    table = read_responses(responses, ["prompt_id", "draw", "response", "finish_reason"])
    keys = table.select(["prompt_id", "draw"]).to_pylist()
    for row, key in enumerate(keys):
        if key["prompt_id"] not in found:
            raise ArtifactError(f"{responses}: row {row}: prompt {key['prompt_id']} is not in this part")
    texts, reasons = table["response"].to_pylist(), table["finish_reason"].to_pylist()
    return keys, [
        Conversation(prompt.messages, text, reason, prompt.kept)
        for prompt, text, reason in zip([found[key["prompt_id"]] for key in keys], texts, reasons, strict=True)
    ]
