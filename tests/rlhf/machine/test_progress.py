"""Progress in a log: a line per interval, one at the end, with rates."""

import re

import pytest

import rlhf.machine.progress
from rlhf.machine.progress import Progress, track

LINE = re.compile(r"sampling: (\d+) of (\d+) prompts, ([\d.]+) prompts/s(.*)")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rlhf.machine.progress, "time", clock)
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, ...]]:
    """Done, total, rate and facts of each line on standard error; nothing else may be there."""
    captured = capsys.readouterr()
    assert captured.out == ""
    found = []
    for line in captured.err.splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append(match.groups())
    return found


def test_a_line_per_interval_with_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, "prompts", "sampling") as progress:
        for _ in range(25):
            clock.now += 1.0
            progress.advance(2)
        assert [line[:3] for line in lines(capsys)] == [("20", "100", "2.0"), ("40", "100", "2.0")]
    assert [line[:3] for line in lines(capsys)] == [("50", "100", "2.0")]


def test_the_last_line_is_printed_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the work ends when a line is due, too."""
    with Progress(4, "prompts", "sampling") as progress:
        clock.now += 20
        progress.advance(4)
    assert [line[:3] for line in lines(capsys)] == [("4", "4", "0.2")]


def test_facts_are_shown_beside_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(4, "prompts", "sampling") as progress:
        clock.now += 2
        progress.advance(1, tokens=10, loss="0.5")
        progress.advance(3, tokens=30)
    assert lines(capsys) == [("4", "4", "2.0", ", loss 0.5, tokens 40 (20/s)")]


def test_after_an_error_there_is_no_last_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), Progress(4, "prompts", "sampling") as progress:
        progress.advance(1)
        raise ValueError("broken")
    assert lines(capsys) == []


def test_no_time_and_no_work(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0, "prompts", "sampling"):
        pass
    assert lines(capsys) == [("0", "0", "0.0", "")]


def test_a_bar_on_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(4, "prompts", "sampling") as progress:
        progress.advance(4, loss="0.25")
    shown = capsys.readouterr().err
    assert "sampling: 100%" in shown
    assert "4/4" in shown
    assert "loss=0.25" in shown


def test_track_yields_everything_and_counts_it(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), 3, "prompts", "sampling")) == ["a", "b", "c"]
    assert [line[:2] for line in lines(capsys)] == [("3", "3")]
