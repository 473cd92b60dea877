"""Loading a reward model, of ArmoRM's form or a sequence classifier, as a function that scores packs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rlhf.armo import ArmoRewardModel
from rlhf.chat import turn_change_ids
from rlhf.errors import UserError
from rlhf.loaded_weights import check_loading_report, check_numbers
from rlhf.models import load_model
from rlhf.pack_check import check_decoder
from rlhf.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.packing import Pack
from rlhf.reward_scoring import RewardOutput
from rlhf.rewards import ArmoSettings, RewardModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ArmoScorer:
    """A model of ArmoRM's form with its tokenizer."""

    def __init__(self, model: ArmoRewardModel, tokenizer: PreTrainedTokenizerBase) -> None:
        use_packed_attention(model.model)
        self.model = model
        self.longest = model.config.max_position_embeddings
        self.objective_names = model.objective_names
        self.turn_change = torch.tensor(turn_change_ids(tokenizer), device=next(model.parameters()).device)

    def __call__(self, pack: Pack) -> RewardOutput:
        """Raises UserError where a prompt does not end with the assistant's header."""
        turn_ends = pack.prompt_ends() - len(self.turn_change)
        header = turn_ends[:, None] + torch.arange(len(self.turn_change), device=turn_ends.device)
        if not bool((pack.input_ids[0, header] == self.turn_change).all()):
            raise UserError("the chat template of the reward model renders a prompt differently where it is answered")
        return self.model(pack, turn_ends)


class SequenceClassifier:
    """A causal decoder with a linear head of one output on the last token of the conversation: the raw score.

    As in transformers it is the last token that is not the configuration's `pad_token_id`, also where that one is the
    end-of-turn token: what the head was trained on.
    """

    objective_names: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        self.decoder: PreTrainedModel = model.base_model
        use_packed_attention(self.decoder)
        self.head: nn.Linear = model.score.float()
        self.longest = model.config.max_position_embeddings
        self.padding: int | None = model.config.get_text_config().pad_token_id

    def __call__(self, pack: Pack) -> RewardOutput:
        hidden = packed_hidden_states(self.decoder, pack)[pack.last_tokens(self.padding)]
        return RewardOutput(self.head(hidden.float()).squeeze(-1))


def load_reward_model(
    scorer: RewardModelSettings,
    name: str,
    revision: str | None,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
) -> ArmoScorer | SequenceClassifier:
    """Load the reward model that the settings describe, from a folder or the hub, onto `device`.

    Raises:
        UserError: there is none, or it is not of this kind.
    """
    dtype = getattr(torch, scorer.precision)
    if isinstance(scorer, ArmoSettings):
        model = ArmoRewardModel.from_folder_or_hub(name, revision, dtype, device)
        check_decoder(model.model)
        return ArmoScorer(model, tokenizer)
    classifier = load_sequence_classifier(name, revision, dtype).to(device).eval()
    check_decoder(classifier.base_model)
    return SequenceClassifier(classifier)


def load_sequence_classifier(name: str, revision: str | None, dtype: torch.dtype) -> Any:
    """Load a causal decoder below a linear head `score` with one output.

    Raises:
        UserError: there is none, it is something else, or its weights are not whole or not numbers.
    """
    from transformers import AutoModelForSequenceClassification

    model, report = load_model(AutoModelForSequenceClassification, "reward model", name, revision, dtype)
    head = getattr(model, "score", None)
    headless = "score.weight" in report["missing_keys"]
    if not isinstance(head, nn.Linear) or head.out_features != 1 or headless:
        missing = ", without weights for `score`" if headless else ""
        raise UserError(
            f"{name}: not a reward model: it must be a causal decoder with a linear head `score` of one output, and it "
            f"is a {type(model).__name__} with {model.config.num_labels} outputs{missing}"
        )
    check_loading_report(name, model, report)
    check_numbers(name, model)
    return model
