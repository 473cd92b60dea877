"""Sections of the configuration that no program reads as they are: the workflow adds to those of a stage."""

from pydantic import Field

from rlhf.base.settings import GivenText
from rlhf.evaluation.settings import IntervalSettings
from rlhf.prompts.settings import MOST_PROMPTS, PromptSettings
from rlhf.rewards.scorer import Scorer


class SplitSettings(PromptSettings):
    """Where the prompts come from, which ones are kept, and how they are split into parts."""

    selection: int = Field(0, ge=0, le=MOST_PROMPTS)
    """Number of prompts on which sweeps compare their points, taken before the test prompts: neither trained nor
    reported on. Another number of test prompts makes other ones of them."""

    @property
    def sizes(self) -> str:
        """The splits and their sizes, for messages."""
        splits = ["train", *(["selection"] if self.selection else []), "test"]
        *others, last = (f"prompts.{split} ({getattr(self, split)})" for split in splits)
        return f"{', '.join(others)} and {last}"


class EvaluationSettings(IntervalSettings):
    """Who judges, beside the training reward, and how intervals are made."""

    judge: Scorer | None = None
    """An independent judge of the test responses: policies should not be judged by their training reward alone."""
    difficulty_comparisons: list[GivenText] = Field([])
    """Files `results/<experiment>/<policy>/comparisons.parquet` of other experiments on the same test prompts. The
    length-controlled win rate takes the difficulty of each prompt from all policies at hand, and a few of one
    experiment know little of it."""
    kl_to_base: bool = False
    """Measure how far each trained policy has drifted from `base`: the mean of log p(y|x) - log p_base(y|x) over its
    test responses, an estimate of the Kullback-Leibler divergence."""
