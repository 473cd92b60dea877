"""Which benchmarks are run, who judges, and what that may cost."""

from __future__ import annotations

from operator import not_
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from rlhf.base.settings import GivenText, Precision, ServerUrl, Settings
from rlhf.benchmarks.catalogue import CATALOGUE
from rlhf.models.source import ModelSource
from rlhf.responses.hiding import HidingSettings

BenchmarkName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class BenchmarkTask(Settings):
    """One benchmark."""

    data: GivenText | None = None
    """Local folder with the benchmark's files, in the form of EvalScope's datasets (for `alpaca_eval` the files of
    `tatsu-lab/alpaca_eval`); null downloads them from the hub, Arena-Hard's from ModelScope."""
    revision: GivenText | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subsets: list[GivenText] | None = Field(None, min_length=1)
    """Subsets that are asked; null takes all."""
    few_shot: int | None = Field(None, ge=0, le=100)
    """Worked examples before each question; null takes the benchmark's own number."""
    limit: int | None = Field(None, ge=1)
    """Only the first questions of each subset; null asks all."""
    max_tokens: int = Field(2048, ge=1, le=1_000_000)
    """Longest answer, in tokens."""
    temperature: float = Field(0.0, ge=0, le=2)
    """Sampling temperature of the answers. MT-Bench sets its own by category."""

    @model_validator(mode="after")
    def _check_together(self) -> BenchmarkTask:
        if self.data is not None and self.revision is not None:
            raise ValueError(f"`data` ({self.data!r}) is a local folder and has no `revision`: leave one of them out")
        return self


class BenchmarkJudge(Settings):
    """The language model that compares or rates the answers: behind a server, or served by the job itself."""

    model: GivenText
    """Name of the model on the server; without `url` its hub name or a local folder, and the job serves it with vLLM
    once the policy has answered, on the same GPUs."""
    revision: GivenText | None = None
    """Commit of the hub model that the job serves; null uses the newest one, and records it."""
    url: ServerUrl | None = None
    """Base URL of an OpenAI-compatible server, such as `https://api.openai.com/v1`. Questions and answers are sent
    there and nowhere else. AlpacaEval needs one that gives log-probabilities."""
    key_variable: GivenText | None = None
    """Environment variable that holds the key; null sends none."""
    max_tokens: int = Field(4096, ge=1, le=1_000_000)
    """Longest answer of the judge, in tokens."""
    input_price: float = Field(0.0, ge=0, le=1e6)
    """Price of a million tokens that the judge reads, in any currency."""
    output_price: float = Field(0.0, ge=0, le=1e6)
    """Price of a million tokens that it writes."""

    @model_validator(mode="after")
    def _check_together(self) -> BenchmarkJudge:
        if self.url is not None and self.revision is not None:
            raise ValueError(
                f"`revision` ({self.revision!r}) is of a model that the job serves: leave it out, or `url`"
            )
        if self.url is None and self.key_variable is not None:
            raise ValueError(f"`key_variable` ({self.key_variable!r}) is the key of a server: give its `url`")
        return self


class BudgetSettings(Settings):
    """What the judge may cost, in all runs of this experiment together; null sets no limit.

    Where a limit is reached, the jobs stop. What was answered is kept, and a higher limit goes on from there.
    """

    requests: int | None = Field(None, ge=0)
    """Requests that it answers."""
    tokens: int | None = Field(None, ge=0)
    """Tokens that it reads and writes."""
    money: float | None = Field(None, ge=0)
    """Money, in the currency of the prices."""


class BenchmarksSettings(Settings):
    """Benchmarks that every policy is measured on. None are run unless `run` lists them."""

    run: dict[BenchmarkName, BenchmarkTask] = Field({})
    """The benchmarks, by the name that EvalScope has for them. `alpaca_eval` (AlpacaEval 2), `arena_hard` and
    `mt_bench` need a judge; tasks such as `mmlu`, `gsm8k`, `ifeval` and `truthful_qa` have known answers."""
    judge: BenchmarkJudge | None = None
    """Who judges the answers to open questions."""
    budget: BudgetSettings = BudgetSettings()
    """What the judge may cost."""
    published: dict[GivenText, dict[GivenText, float]] = Field({})
    """Figures to show beside ours, such as those of a paper: label -> benchmark -> figure, with `alpaca_eval_lc` for
    the length-controlled win rate."""

    @model_validator(mode="after")
    def _check_together(self) -> BenchmarksSettings:
        judged = [name for name in self.run if name in CATALOGUE and CATALOGUE[name].judge_requests]
        if judged and self.judge is None:
            raise ValueError(f"{', '.join(judged)} need{'s' if len(judged) == 1 else ''} a `judge`, and there is none")
        priced = self.judge is not None and (self.judge.input_price or self.judge.output_price)
        if self.budget.money is not None and not priced:
            raise ValueError(
                "`budget.money` needs the prices of the judge: give `judge.input_price` and `output_price`"
            )
        return self


class JudgeSpec(Settings):
    """Who compares or rates the answers."""

    url: ServerUrl | None
    """Base URL of an OpenAI-compatible server; None for a model that is served here."""
    model: str
    """Name of the model on the server."""
    source: ModelSource | None
    """The model that is served here; None for one behind `url`, and for one that a flag gives."""
    max_tokens: int
    """Longest answer of the judge, in tokens."""


class BenchmarkSpec(HidingSettings):
    """What `run_benchmark` reads."""

    benchmark: str
    """Its name, as EvalScope calls it."""
    policy: str
    """The policy's name."""
    model: ModelSource | None
    """The policy, unless a flag gives its folder."""
    template: dict[str, Any] = Field({}, exclude_if=not_)
    """Options of the policy's chat template."""
    precision: Precision
    """Type of the weights of a policy that is served on a GPU."""
    seed: int
    """Seed of sampled answers."""
    task: BenchmarkTask
    """How it is run."""
    data_fingerprint: str | None
    """Digest of the local files; None for those of the hub."""
    judge: JudgeSpec | None
    """Who judges; None for tasks with known answers."""


class SummarySpec(Settings):
    """What `summarize_benchmarks` reads."""

    seed: int
    """Seed of the resampling."""
    bootstrap_samples: int
    """Resamples of the questions."""
    confidence: float
    """Level of the intervals."""
