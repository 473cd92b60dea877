"""How a policy answers, and responses that the user brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rlhf.base.choices import choice_module, name_of_choice
from rlhf.base.names import Rows
from rlhf.base.settings import LONGEST_CONTEXT, Precision, Settings
from rlhf.models.source import ModelSource

ENGINES = "rlhf.responses.engines"
"""The package with a file for each engine."""
if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = name_of_choice(ENGINES, "start")


class ImportedSettings(Settings):
    """Responses that you bring, for the train parts of `base`: a hub dataset, a local Parquet or JSON lines file.

    One row per prompt with the columns `response_0`, `response_1`, ..., or one row per response with the column
    `response`. Rows are matched to the prompts by their normalised text; rows of other prompts are passed over. What is
    null or nothing but white space is no response, and is counted. Imported responses have no seed: it is 0.
    """

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, or a local Parquet or JSON lines file."""
    revision: str | None = None
    """Commit of the hub's dataset repository; null takes the newest and records which one it was."""
    subset: str | None = None
    """Subset of the hub dataset, where it has several."""
    split: str = "train"
    """Split of the hub dataset (local files have one split)."""
    column: str = "prompt"
    """Column with the prompt's text."""
    rewards: bool = False
    """Take the rewards too, from `response_0_reward`, ..., or `reward`: they replace the scoring of these responses.
    Null is no reward. The test responses are scored by `rewards` in any case."""


class SamplingSettings(Settings):
    """How tokens are sampled. First the temperature, then `min_p`, `top_k` and `top_p`, each on what is left."""

    engine: EngineName = "vllm"
    """What samples: `vllm`, or `transformers`, which needs no other environment and runs well on a CPU."""
    draws: int = Field(5, ge=2, le=10_000)
    """Responses per prompt, at least two: a pair is made of two."""
    temperature: float = Field(0.8, ge=0.01, le=100)
    """Logits are divided by it, here and in the log-probabilities. Below 0.01 all draws are the most likely tokens, and
    there is no pair (vLLM takes 0.01 there without a word); at 100 every token is about as likely."""
    top_p: float = Field(0.9, ge=0.01, le=1)
    """Nucleus: the smallest set of most likely tokens whose probability reaches it; 1 for all. Below 0.01 it is the
    most likely token alone: all draws would be one."""
    top_k: int | None = Field(None, ge=1, le=10_000_000)
    """Number of most likely tokens to sample from; null for all."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Tokens at least so likely, relative to the most likely one; 0 for all."""
    max_tokens: int = Field(2048, ge=1, le=LONGEST_CONTEXT)
    """Longest response in tokens, end-of-turn token included; what is cut here never becomes part of a pair."""
    stop_tokens: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Tokens that end a response, by their text, beside those of the model's generation config and tokenizer."""
    max_model_len: int | None = Field(None, ge=3, le=LONGEST_CONTEXT)
    """Longest prompt and response together, in tokens, for which vLLM sets memory aside; null for the model's own. At
    least `prompts.max_tokens` and `responses.max_tokens` together."""
    precision: Precision = "bfloat16"
    """Type of the weights while sampling."""

    @property
    def engine_module(self) -> str:
        """The module of the engine, whose code is part of what makes responses."""
        return choice_module(ENGINES, self.engine)


class ResponseSettings(SamplingSettings):
    """How a policy answers."""

    imported: ImportedSettings | None = None
    """Bring your own responses for the train parts of `base`; all others are sampled."""


class GenerateSpec(SamplingSettings):
    """What `generate_responses` reads."""

    seed: int
    """The experiment's seed."""
    policy: str
    """The policy's name: part of the seed of each draw."""
    model: ModelSource | None
    """The policy; null where --policy gives its folder."""
    rows: Rows
    """The part: rows of the prompts."""


class ImportSpec(Settings):
    """Where imported responses are, and which of them a part takes."""

    dataset: str
    """Hub name or local file."""
    dataset_fingerprint: str | None
    """Digest of a local file, so that an exchanged one is noticed."""
    revision: str | None
    """Commit of the hub's dataset repository."""
    subset: str | None = None
    """Subset of the hub dataset, where it has several."""
    split: str
    """Split of the hub dataset."""
    column: str
    """Column with the prompt's text."""
    rows: Rows
    """The part: rows of the prompts."""
    draws: int
    """Responses per prompt, at most."""


class ImportResponsesSpec(ImportSpec):
    """What `import_responses` reads."""

    model: ModelSource | None
    """The policy whose tokenizer counts; null where --policy gives its folder."""
    max_tokens: int
    """Longest response in tokens: a longer one is cut there."""
