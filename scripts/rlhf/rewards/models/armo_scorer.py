"""A reward model with the architecture of ArmoRM, as a function that scores packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.packed_scoring import PackScores
from rlhf.tokens.chat import turn_change_ids
from rlhf.tokens.pack_check import check_decoder
from rlhf.tokens.packed_attention import use_packed_attention
from rlhf.tokens.packing import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ArmoScorer:
    """A model with the architecture of ArmoRM, and its tokenizer."""

    def __init__(self, model: ArmoRewardModel, tokenizer: PreTrainedTokenizerBase) -> None:
        use_packed_attention(model.model)
        self.model = model
        self.longest = model.config.max_position_embeddings
        self.objective_names = model.objective_names
        self.turn_change = torch.tensor(turn_change_ids(tokenizer), device=next(model.parameters()).device)

    def __call__(self, pack: Pack) -> PackScores:
        """Raises UserError if a prompt does not end with the assistant's header."""
        turn_ends = pack.prompt_ends() - len(self.turn_change)
        header = turn_ends[:, None] + torch.arange(len(self.turn_change), device=turn_ends.device)
        if not bool((pack.input_ids[0, header] == self.turn_change).all()):
            raise UserError("the chat template of the reward model renders a prompt differently once it has a response")
        return self.model(pack, turn_ends)


def load_armo(
    name: str, revision: str | None, precision: Precision, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> ArmoScorer:
    """Load a reward model with the architecture of ArmoRM from a folder or the hub onto `device`.

    Raises:
        UserError: there is none, or it has another architecture.
    """
    model = ArmoRewardModel.from_folder_or_hub(name, revision, getattr(torch, precision), device)
    check_decoder(model.model)
    return ArmoScorer(model, tokenizer)
