"""Settings of the prompts: their source, filters and split."""

from collections.abc import Iterator, Sequence
from operator import not_
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rlhf.base.settings import LONGEST_CONTEXT, GivenText, Settings, canonical_json
from rlhf.datasets.conversations import Turns
from rlhf.datasets.files import SUFFIXES
from rlhf.datasets.settings import DatasetSpec
from rlhf.models.source import ModelSource
from rlhf.tokens.templates import NOT_OPTIONS

MOST_PROMPTS = 1_000_000_000
"""Largest size of a split."""
CONTAMINATION = "rlhf.prompts.contamination"
"""The module that looks for the questions of benchmarks."""


class BenchmarkSettings(Settings):
    """A benchmark whose questions must not be prompts.

    Compared are words: letters and digits, in Unicode NFKC and case-folded. A prompt matches a question if they share
    `ngram` consecutive words, if it contains the whole of a question with fewer words (of fewer than 8 words: if it is
    that question), or if they are similar.
    """

    dataset: GivenText
    """Hub name of a dataset, or a local Parquet or JSON Lines file."""
    file: GivenText | None = None
    """Parquet or JSON Lines file in the hub dataset's repository, for one that cannot be loaded as a whole: its files
    do not belong together, or a script loads them."""
    revision: GivenText | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subset: GivenText | None = None
    """Subset (configuration) of the hub dataset, if it has several."""
    split: GivenText = "train"
    """Split of the hub dataset; ignored for local files and `file`."""
    column: GivenText = "prompt"
    """Column with the questions: text, or lists of text (the turns of a conversation), each of which is a question."""
    name: str | None = Field(None, min_length=1, max_length=60)
    """Name of the benchmark in counts and matches; null takes the last part of the dataset's name."""
    ngram: int = Field(13, ge=8, le=100)
    """Consecutive words that a prompt and a question may not share. Below 8, everyday phrases would be shared."""
    similarity: float = Field(0.45, ge=0.3, le=1)
    """Jaccard similarity of the sets of 5 consecutive characters from which on a prompt is a question with a few words
    changed. At 0.45 that finds 94 % of AlpacaEval's questions of 5 to 7 words with one replaced, and 86 % of those of 8
    to 12 with two; different ones reach 0.41."""

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, dataset: str) -> str:
        if "{" in dataset:
            raise ValueError("no rule makes a benchmark: give a file or a hub dataset")
        return dataset

    @field_validator("file")
    @classmethod
    def _check_file(cls, file: str | None) -> str | None:
        if file is not None and PurePosixPath(file).suffix not in SUFFIXES:
            raise ValueError(f"must have one of the suffixes {', '.join(SUFFIXES)}")
        return file

    @model_validator(mode="after")
    def _check_together(self) -> "BenchmarkSettings":
        if self.file is not None and self.subset is not None:
            raise ValueError(f"`file` ({self.file!r}) belongs to no subset: leave out `subset` ({self.subset!r})")
        return self

    @property
    def label(self) -> str:
        """The name in counts and matches."""
        path = PurePosixPath(self.dataset)
        return self.name or (path.stem if path.suffix in SUFFIXES else path.name)


def modules_of(benchmarks: Sequence[BenchmarkSettings]) -> tuple[str, ...]:
    """The modules that `collect_prompts` needs, and has in its digest, only where there are benchmarks."""
    return (CONTAMINATION,) if benchmarks else ()


RECORD_KEYS = ("prompt", "response", "finish_reason")
"""Keys of the records that scorers get, beside the kept columns."""


def check_template(template: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for options that are none, or whose values are not of JSON's types."""
    for name, value in template.items():
        if name in NOT_OPTIONS:
            raise ValueError(f"{name!r} is no option of a chat template: the pipeline decides on it")
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name!r} is {value!r}, which is not of JSON's types") from None
    return template


class PromptSettings(Settings):
    """Where the prompts come from, which ones are kept, and how they are split into parts."""

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, a local Parquet or JSON Lines file, a folder of those, or `{results}/...` for a file that
    a rule makes."""
    revision: GivenText | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subset: GivenText | None = None
    """Subset (configuration) of the hub dataset or folder, if it has several."""
    split: str = Field("train", min_length=1)
    """Split of the hub dataset or folder; ignored for a local file."""
    column: str = Field("prompt", min_length=1)
    """Column with the prompts: text, which is a single turn of the user, or lists of turns (role and content). The
    prompt is everything up to the last turn of the user; what comes behind is not used, unless `responses.imported`
    takes it."""
    turns: Turns = "role_content"
    """Keys of a turn: `role_content`, or `from_value` as in ShareGPT."""
    keep: list[GivenText] = Field([])
    """Columns that each prompt keeps, such as a reference answer, a source or test cases: reward functions, judges and
    the report get them. Values of JSON's types."""
    system: str | None = None
    """System prompt put before every prompt that has none of its own; null for none."""
    template: dict[GivenText, Any] = Field({})
    """Options of the policy's chat template, such as `{enable_thinking: false}`; with others, prompts are others."""
    max_tokens: int = Field(1024, ge=1, le=LONGEST_CONTEXT)
    """Maximum prompt length in tokens, chat template included; longer prompts are dropped and counted."""
    train: int = Field(59000, ge=1, le=MOST_PROMPTS)
    """Number of training prompts, taken from the start of the hash order. Can be raised later: full parts do not
    change."""
    test: int = Field(1000, ge=1, le=MOST_PROMPTS)
    """Number of test prompts, taken from the end of the hash order. Can be raised later, like `train`."""
    part_size: int = Field(7500, ge=1, le=MOST_PROMPTS)
    """Prompts per part. A part is the work of one job, and what is lost when the job is killed."""
    per_iteration: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """Train parts used by each iteration: `all`, or a number (iteration 2 then takes the next ones)."""
    decontaminate: list[BenchmarkSettings] = Field(default_factory=list)
    """Benchmarks whose questions must not be prompts. Prompts that match one are dropped from the whole dataset, train
    and test alike, because the split is decided by rows; `contamination.parquet` lists them with question and reason.
    """

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, keep: list[str]) -> list[str]:
        for column in keep:
            if column in RECORD_KEYS:
                raise ValueError(f"{column!r} is the name of another key of the records that reward functions get")
            if keep.count(column) > 1:
                raise ValueError(f"{column!r} is there twice")
        return keep

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: dict[str, Any]) -> dict[str, Any]:
        return check_template(template)

    @field_validator("decontaminate")
    @classmethod
    def _check_labels(cls, benchmarks: list[BenchmarkSettings]) -> list[BenchmarkSettings]:
        labels = [benchmark.label for benchmark in benchmarks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two benchmarks are called {label!r}: give one of them another `name`")
        return benchmarks

    def benchmarks(self) -> Iterator[tuple[str, BenchmarkSettings]]:
        """Each benchmark with its key in this section."""
        for position, benchmark in enumerate(self.decontaminate):
            yield f"decontaminate.{position}", benchmark

    @property
    def modules(self) -> tuple[str, ...]:
        return modules_of(self.decontaminate)


class Benchmark(BenchmarkSettings):
    """A benchmark in a program's spec."""

    name: str
    """Name of the benchmark in counts and matches."""
    fingerprint: str | None = None
    """Digest of a local file, so that a replaced file is noticed."""


class CollectSpec(DatasetSpec):
    """What `collect_prompts` reads."""

    seed: int
    """Seed of the hash order of the prompts."""
    dataset: str | None
    """Hub name or local file; null if --dataset names a file."""
    keep: list[str] = Field([], exclude_if=not_)
    """Columns that each prompt keeps."""
    system: str | None
    """System prompt, or null."""
    max_tokens: int
    """Maximum prompt length in tokens."""
    model: ModelSource | None
    """The policy whose tokenizer and chat template are used; null if --base-model names its folder."""
    decontaminate: list[Benchmark] = Field(default_factory=list, exclude_if=not_)
    """Benchmarks whose questions are dropped. Not part of the JSON where there are none."""

    @property
    def modules(self) -> tuple[str, ...]:
        return modules_of(self.decontaminate)
