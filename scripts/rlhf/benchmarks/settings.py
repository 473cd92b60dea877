"""Which benchmarks are run, and who judges."""

from __future__ import annotations

from pydantic import Field

from rlhf.base.settings import GivenText, ServerUrl, Settings
from rlhf.models.source import ModelSource


class BenchmarkTask(Settings):
    """One benchmark."""

    data: GivenText | None = None
    """Local folder with the benchmark's files; null downloads them from the hub."""
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


class JudgeSpec(Settings):
    """Who compares or rates the answers."""

    url: ServerUrl | None
    """Base URL of an OpenAI-compatible server; None for a model that is served here."""
    model: str
    """Name of the model on the server."""
    source: ModelSource | None
    """The model that is served here."""
    max_tokens: int
    """Longest answer of the judge, in tokens."""


class BenchmarkSpec(Settings):
    """What `run_benchmark` reads."""

    benchmark: str
    """Its name, as EvalScope calls it."""
    policy: str
    """The policy's name."""
    seed: int
    """Seed of sampled answers."""
    task: BenchmarkTask
    """How it is run."""
    data_fingerprint: str | None
    """Digest of the local files."""
    judge: JudgeSpec | None
    """Who judges; None for tasks with known answers."""
