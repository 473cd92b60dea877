"""Settings of sampling, and of imported responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rlhf.base.choices import choice_module, name_of_choice
from rlhf.base.names import Rows
from rlhf.base.settings import LONGEST_CONTEXT, Precision, Settings
from rlhf.datasets.settings import DatasetSpec
from rlhf.models.source import ModelSource
from rlhf.responses.hiding import HidingSettings

ENGINES = "rlhf.responses.engines"
"""Package with a module per engine."""
if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = name_of_choice(ENGINES, "start")


class ImportedSettings(Settings):
    """Your own responses for the train parts of `base`: a hub dataset, a local Parquet or JSON Lines file, or a folder.

    The dataset has one row per prompt with the columns `response_0`, `response_1`, ..., or one row per response with
    the column `response`; where neither is there and the column of the prompts holds conversations, the response is the
    assistant's turn behind the prompt. Rows are matched to prompts by their normalised turns; rows of other prompts are
    ignored. Responses that are null or whitespace are skipped and counted. The seed of imported responses is 0.
    Responses that the pipeline itself made (`results/other/base/responses`, or published) are matched by ID; their
    draws and token ids stay as they are.
    """

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, a local Parquet or JSON Lines file, or a folder of those."""
    revision: str | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subset: str | None = None
    """Subset (configuration) of the hub dataset or folder, if it has several."""
    split: str = "train"
    """Split of the hub dataset or folder; ignored for a local file. `train+test` takes both."""
    column: str = "prompt"
    """Column with the prompts, as for `prompts.column`."""
    rewards: bool = False
    """Also import the rewards of these responses, from `response_0_reward`, ..., or `reward`, instead of scoring them;
    null means no reward. Test responses are always scored by `rewards`. Rewards that the pipeline itself made lie
    beside its responses: in the folder `rewards` beside `responses`, or in the subset `base_rewards`."""


class SamplingSettings(Settings):
    """How responses are sampled: temperature first, then `min_p`, `top_k` and `top_p`, each on the remaining tokens."""

    engine: EngineName = "vllm"
    """Sampling engine: `vllm`, or `transformers`, which needs no environment of its own and is fine on a CPU."""
    draws: int = Field(5, ge=2, le=10_000)
    """Responses per prompt; at least two, since a pair needs two."""
    temperature: float = Field(0.8, ge=0.01, le=100)
    """Sampling temperature, also applied to the logits of all log-probabilities. At least 0.01: below it all draws are
    nearly greedy, so there are no pairs (and vLLM silently uses 0.01). At 100 tokens are close to uniform."""
    top_p: float = Field(0.9, ge=0.01, le=1)
    """Nucleus sampling: sample from the smallest set of most likely tokens whose total probability reaches `top_p`; 1
    disables it. At least 0.01: below it sampling is greedy, and all draws are the same."""
    top_k: int | None = Field(None, ge=1, le=10_000_000)
    """Sample from the k most likely tokens; null disables it."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Sample from the tokens that are at least `min_p` times as likely as the most likely one; 0 disables it."""
    max_tokens: int = Field(2048, ge=1, le=LONGEST_CONTEXT)
    """Maximum response length in tokens, end-of-turn token included; a truncated response is never part of a pair."""
    stop_tokens: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Further tokens that end a response, as text, in addition to those of the generation config and tokenizer."""
    max_model_len: int | None = Field(None, ge=3, le=LONGEST_CONTEXT)
    """Context length that vLLM reserves memory for, in tokens; null uses that of the model. Must be at least
    `prompts.max_tokens` + `responses.max_tokens`."""
    precision: Precision = "bfloat16"
    """Dtype of the weights during sampling."""

    @property
    def engine_module(self) -> str:
        """Name of the engine's module, whose code belongs to the digest of responses."""
        return choice_module(ENGINES, self.engine)


class ResponseSettings(HidingSettings, SamplingSettings):
    """How a policy responds to prompts."""

    imported: ImportedSettings | None = None
    """Import your own responses for the train parts of `base`; all other responses are sampled."""


class GenerateSpec(HidingSettings, SamplingSettings):
    """What `generate_responses` reads."""

    seed: int
    """The experiment's seed."""
    policy: str
    """Name of the policy; part of the seed of each draw."""
    model: ModelSource | None
    """The policy; null if --policy names its folder."""
    rows: Rows
    """Rows of the prompts that are the part."""


class ImportSpec(DatasetSpec):
    """What `import_rewards` reads: the source of imported responses, and the part."""

    dataset: str
    """Hub name, local file or folder."""
    rows: Rows
    """Rows of the prompts that are the part."""
    draws: int
    """Maximum number of responses per prompt."""


class ImportResponsesSpec(HidingSettings, ImportSpec):
    """What `import_responses` reads."""

    model: ModelSource | None
    """The policy whose tokenizer is used; null if --policy names its folder."""
    max_tokens: int
    """Maximum response length in tokens; longer responses are truncated."""
