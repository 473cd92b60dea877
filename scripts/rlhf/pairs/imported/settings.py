"""Settings of imported pairs."""

from __future__ import annotations

from pydantic import Field, model_validator

from rlhf.base.names import Rows
from rlhf.base.settings import GivenText, Settings
from rlhf.datasets.settings import DatasetSpec
from rlhf.models.source import ModelSource
from rlhf.responses.hiding import HidingSettings


class ImportedPairSettings(Settings):
    """Ready-made pairs for the parts of `base`, from a hub dataset, a local Parquet or JSON Lines file, or a folder.

    The train responses of `base` are then neither sampled nor scored. A row has a prompt, a chosen and a rejected
    response: each a text, or a list of turns (as `prompts.turns` says), of the assistant alone or a whole conversation.
    Where no column has the prompt alone, `prompts.column: chosen` takes it from the conversations. Rows are matched to
    prompts by their normalised text, rows of other prompts are ignored, and the first row of a prompt that makes a pair
    counts. Pairs that the pipeline itself made, its own or published ones, are matched by ID and keep their token ids.
    """

    dataset: GivenText
    """Hub name of a dataset, a local Parquet or JSON Lines file, or a folder of those."""
    revision: GivenText | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subset: GivenText | None = None
    """Subset (configuration) of the hub dataset or folder, if it has several."""
    split: GivenText = "train"
    """Split of the hub dataset or folder; ignored for a local file. `train+test` takes both: validation pairs are of
    test prompts, and without their rows there is no validation."""
    column: GivenText | None = None
    """Column with the prompts; null takes that of `prompts.column`."""
    chosen: GivenText = "chosen"
    """Column with the chosen responses."""
    rejected: GivenText = "rejected"
    """Column with the rejected responses."""
    chosen_score: GivenText | None = None
    """Column with the rewards of the chosen responses; null where there are none. Losses that learn from rewards
    (REBEL, SPPO) need them."""
    rejected_score: GivenText | None = None
    """Column with the rewards of the rejected responses."""

    @model_validator(mode="after")
    def _check_scores(self) -> ImportedPairSettings:
        if (self.chosen_score is None) != (self.rejected_score is None):
            raise ValueError("`chosen_score` goes with `rejected_score`: give both, or neither")
        return self


class ImportPairsSpec(HidingSettings, DatasetSpec):
    """What `import_pairs` reads."""

    dataset: str
    """Hub name, local file or folder."""
    chosen: str
    """Column with the chosen responses."""
    rejected: str
    """Column with the rejected responses."""
    chosen_score: str | None
    """Column with the rewards of the chosen responses, or null."""
    rejected_score: str | None
    """Column with the rewards of the rejected responses, or null."""
    min_margin: float = Field(ge=0)
    """Minimum margin of the scores; 0 where there are none."""
    rows: Rows
    """Rows of the prompts that are the part."""
    max_tokens: int
    """Maximum response length in tokens; pairs with a longer response are dropped."""
    model: ModelSource | None
    """The policy whose tokenizer is used; null if --tokenizer names its folder."""

    @property
    def scores(self) -> list[str]:
        """The columns of scores; empty where there are none."""
        return [name for name in (self.chosen_score, self.rejected_score) if name is not None]
