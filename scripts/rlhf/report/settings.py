"""Settings of the report."""

from pydantic import Field

from rlhf.base.settings import Settings


class ReportSettings(Settings):
    """What the page shows."""

    judge_label: str = Field("judge", min_length=1, max_length=60)
    """Name of the judge's score in tables and figures."""
    examples: int = Field(4, ge=0, le=1000)
    """Number of test prompts shown on the page with the responses of every policy."""


class ReportSpec(Settings):
    """What `report` reads."""

    experiment: str
    """Name of the experiment: the title of the page."""
    policies: list[str] = Field(min_length=1)
    """The policies in the order of the tables and figures."""
    judge_label: str | None
    """What the judge's score is called; null where there is no judge."""
    published: dict[str, dict[str, float]] = Field({})
    """Figures to show beside those of the benchmarks: label -> benchmark -> figure."""
    examples: int = Field(ge=0)
    """Number of example prompts."""
