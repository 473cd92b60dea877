"""Budgets: all answers of the stage count, and no request is sent beyond them."""

from __future__ import annotations

from pathlib import Path

import pytest

from judge_server import JudgeServer
from library import THREADS, ask, echo, questions, upstream
from rlhf.base.errors import UserError
from rlhf.base.files.journal import Journal, request_digest
from rlhf.benchmarks import relay as relay_module
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers.budget import Budget, Price, tokens_of

PRICE = Price(input=10.0, output=1000.0)
"""Of an answer of `JudgeServer`, which has 100 input tokens and 1 output token: 0.002."""


def answer(tokens: int) -> dict[str, object]:
    return {"choices": [{"message": {}}], "usage": {"prompt_tokens": tokens, "completion_tokens": 0}}


def test_requests_overshoot_by_none_and_a_larger_budget_goes_on(tmp_path: Path) -> None:
    with JudgeServer(echo) as server:
        with Relay([upstream(server, tmp_path)], Budget(requests=10)) as relay:
            answers = ask(relay, questions(40))
            assert len([text for text in answers if text != 403]) == 10
        assert len(server.bodies) == 10
        assert str(relay.failure).startswith("the budget of 10 requests is spent (")
        assert "raise `benchmarks.budget` and run again" in str(relay.failure)
        with Relay([upstream(server, tmp_path)], Budget(requests=10)) as relay:
            assert ask(relay, ["another"]) == [403]
            assert "(10 requests, 1000 input and 10 output tokens)" in str(relay.failure)
        with Relay([upstream(server, tmp_path)], Budget(requests=40)) as relay:
            assert ask(relay, questions(40)) == questions(40)
            assert relay.failure is None
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize(("budget", "limit"), [(Budget(tokens=1010), "1010 tokens"), (Budget(money=0.02), "0.02 in")])
def test_tokens_and_money_overshoot_by_what_is_in_flight(budget: Budget, limit: str, tmp_path: Path) -> None:
    with JudgeServer(echo) as server:
        with Relay([upstream(server, tmp_path, price=PRICE)], budget) as relay:
            ask(relay, questions(80))
            assert relay.usage["judge"].money == pytest.approx(0.002 * len(server.bodies))
        assert 10 <= len(server.bodies) < 10 + THREADS
    assert f"the budget of {limit}" in str(relay.failure)


def test_what_does_not_count_is_free(tmp_path: Path) -> None:
    with JudgeServer(echo) as server:
        policy = upstream(server, tmp_path / "policy", "policy", counts=False)
        judge = upstream(server, tmp_path / "judge", price=PRICE)
        with Relay([policy, judge], Budget(requests=5, money=1.0)) as relay:
            assert ask(relay, questions(20), "policy") == questions(20)
            assert ask(relay, questions(5)) == questions(5)
            assert ask(relay, ["another"]) == [403]
            assert ask(relay, ["another"], "policy") == [403]  # the run has stopped


def test_what_other_jobs_record_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "READ_SECONDS", 0.0)
    other = Journal(tmp_path)
    for number in range(3):
        other.record(request_digest(number), answer(1))
    with JudgeServer(echo) as server:
        with Relay([upstream(server, tmp_path)], Budget(requests=6)) as relay:
            assert ask(relay, ["a"]) == ["a"]
            other.record(request_digest(3), {"refused": 400})
            assert ask(relay, ["b"]) == ["b"]
            assert ask(relay, ["c"]) == [403]
        assert len(server.bodies) == 2


def test_a_server_has_to_count_tokens_if_they_are_limited(tmp_path: Path) -> None:
    with JudgeServer(echo, counts_tokens=False) as server:
        with Relay([upstream(server, tmp_path)], Budget(requests=5)) as relay:
            assert ask(relay, ["a"]) == ["a"]
        with Relay([upstream(server, tmp_path)], Budget(tokens=5)) as relay:
            assert ask(relay, ["b"]) == [403]
        assert "limit the requests instead" in str(relay.failure)
        with Relay([upstream(server, tmp_path)]) as relay:
            assert ask(relay, ["b"]) == ["b"]
        assert len(server.bodies) == 2


def test_money_needs_prices(tmp_path: Path) -> None:
    with JudgeServer(echo) as server, pytest.raises(UserError, match="needs the price"):
        Relay([upstream(server, tmp_path)], Budget(money=1.0))


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": -1}, {"prompt_tokens": 1, "completion_tokens": None}]
)
def test_usage_that_is_none(usage: object) -> None:
    assert tokens_of({"usage": usage}) is None
    assert tokens_of({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}) == (3, 4)
