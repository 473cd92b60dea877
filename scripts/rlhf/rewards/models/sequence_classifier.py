"""A sequence classifier, as a function that scores packs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.models.policies import load_model
from rlhf.models.weights import check_loading_report, check_numbers
from rlhf.rewards.models.packed_scoring import PackScores
from rlhf.tokens.pack_check import check_decoder
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SequenceClassifier:
    """A causal decoder with a linear head of one output, applied to the last token of the conversation.

    As in transformers, that is the last token other than the config's `pad_token_id`, even if the padding token is the
    end-of-turn token: this is what the head was trained on.
    """

    objective_names: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        self.decoder: PreTrainedModel = model.base_model
        use_packed_attention(self.decoder)
        self.head: nn.Linear = model.score.float()
        self.longest = model.config.max_position_embeddings
        self.padding: int | None = model.config.get_text_config().pad_token_id

    def __call__(self, pack: Pack) -> PackScores:
        hidden = packed_hidden_states(self.decoder, pack)[pack.last_tokens(self.padding)]
        return PackScores(self.head(hidden.float()).squeeze(-1))


def load_sequence_classifier(
    name: str, revision: str | None, precision: Precision, device: torch.device
) -> SequenceClassifier:
    """Load a sequence classifier from a folder or the hub onto `device`.

    Raises:
        UserError: there is none, it is another kind of model, or weights are missing or not finite.
    """
    classifier = load_classifier(name, revision, getattr(torch, precision)).to(device).eval()
    check_decoder(classifier.base_model)
    return SequenceClassifier(classifier)


def load_classifier(name: str, revision: str | None, dtype: torch.dtype) -> Any:
    """Load a causal decoder with a linear head `score` of one output, onto the CPU.

    Raises:
        UserError: there is none, it is another kind of model, or weights are missing or not finite.
    """
    from transformers import AutoModelForSequenceClassification

    model, report = load_model(AutoModelForSequenceClassification, "reward model", name, revision, dtype)
    head = getattr(model, "score", None)
    headless = "score.weight" in report["missing_keys"]
    if not isinstance(head, nn.Linear) or head.out_features != 1 or headless:
        missing = ", without weights for `score`" if headless else ""
        raise UserError(
            f"{name}: not a reward model: it must be a causal decoder with a linear head `score` of one output, but it "
            f"is a {type(model).__name__} with {model.config.num_labels} outputs{missing}"
        )
    check_loading_report(name, model, report)
    check_numbers(name, model)
    return model
