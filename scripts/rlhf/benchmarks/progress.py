"""A bar for the requests of a benchmark: done, left, and what they have cost."""

from __future__ import annotations

import threading
from typing import Self

from rlhf.benchmarks.catalogue import CATALOGUE
from rlhf.benchmarks.servers.budget import Usage
from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.machine.progress import Progress


class RequestsProgress:
    """Counts requests as they are answered; how many are left is known once the questions are.

    Args:
        spec: the benchmark; what a question asks of policy and judge is in the catalogue, else one request is assumed.
    """

    def __init__(self, spec: BenchmarkSpec) -> None:
        known = CATALOGUE.get(spec.benchmark)
        self._per_question = known.turns + (known.judge_requests if spec.judge else 0) if known else 1
        self._progress = Progress(0, "requests", f"{spec.policy} on {spec.benchmark}")
        self._costs: dict[str, Usage] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.__exit__(*exception)

    def expect(self, questions: int) -> None:
        """The number of questions."""
        self._progress.expect(questions * self._per_question)

    def answered(self, side: str, from_journal: bool, usage: Usage) -> None:
        """A request of a side has been answered, and this is what the side has used so far. For several threads."""
        with self._lock:
            self._costs[side] = usage
            new = sum(each.answered for each in self._costs.values())
            tokens = sum(each.input_tokens + each.output_tokens for each in self._costs.values())
            facts = {"asked now": f"{new:,}", "tokens used": f"{tokens:,}"}
            if money := sum(each.money for each in self._costs.values()):
                facts["cost"] = f"{money:.2f}"
            self._progress.advance(1, 0, **facts)
