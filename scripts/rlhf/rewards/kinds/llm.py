"""A language model as a judge, behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from rlhf.base.settings import GivenText, ServerUrl
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class LlmSettings(Scorer):
    """A language model that rates responses, or compares the responses to a prompt, behind an OpenAI-compatible server.

    `pairwise` shows the judge each pair of responses to a prompt in both orders (with 5 draws that is 20 requests per
    prompt); a Bradley-Terry model turns its verdicts into scores. Test responses are compared with those of `base` too,
    draw by draw (10 requests more), so that their scores can be compared across policies. `rating` asks once per
    response. Verdicts are weighted by their log-probabilities where the server gives them. Answers are kept in
    `judge_journal/` beside the results, so that no request is paid for twice. Prompts and responses are sent to this
    server and nowhere else.
    """

    kind: Literal["llm"] = "llm"
    """A language model as a judge."""
    url: ServerUrl
    """Base URL of the server, for example `http://localhost:8000/v1`."""
    model: GivenText
    """Name of the model there."""
    mode: Literal["pairwise", "rating"] = "pairwise"
    """`pairwise` compares the responses to a prompt, `rating` rates each response."""
    template: GivenText | None = None
    """File with the judge's instructions, a Jinja template that names `prompt`, `response` (in pairwise mode
    `response_a` and `response_b`), `boundary`, and columns of `prompts.keep` (`kept.answer`); null for those in
    `scripts/rlhf/rewards/judge/`. It must ask for the verdict alone on the last line: A, B or C for a tie; or a rating
    from 1 to `highest`."""
    highest: int = Field(9, ge=2, le=100)
    """The highest rating. Only single digits are weighted by log-probabilities."""
    key_variable: GivenText | None = None
    """Environment variable that holds the key; null sends none."""
    temperature: float | None = Field(0.0, ge=0, le=2)
    """Sampling temperature; null sends none, for models that refuse it."""
    max_tokens: int = Field(16, ge=1, le=100_000)
    """Tokens of an answer. Raise it for judges that reason before the verdict."""
    logprobs: bool = True
    """Ask for log-probabilities; false for servers that refuse to give them."""

    @property
    def compares_draws(self) -> bool:
        return self.mode == "pairwise"

    @property
    def files(self) -> tuple[str, ...]:
        return () if self.template is None else (self.template,)

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.base.files.journal import Journal
        from rlhf.rewards.judge.client import Judge, JudgeServer
        from rlhf.rewards.judge.scoring import compare, rate
        from rlhf.rewards.judge.templates import JudgeTemplate

        options: dict[str, Any] = {"max_completion_tokens": self.max_tokens}
        options |= {} if self.temperature is None else {"temperature": self.temperature}
        options |= {"logprobs": True, "top_logprobs": 20} if self.logprobs else {}
        judge = Judge(JudgeServer(self.url, self.model, options, self.key_variable), Journal(job.journal))
        template = JudgeTemplate(self.template, f"{self.mode}.jinja")
        if self.mode == "pairwise":
            scores, tally = compare(judge, template, conversations, job.reference, job.progress)
        else:
            scores, tally = rate(judge, template, self.highest, conversations, job.progress)
        return scores, {"judging": tally.as_facts()}
