"""The journal: what was answered is found again, whoever wrote it and however it ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.base.files.journal import DIGEST_CHARACTERS, Journal, request_digest
from small_disk import NEEDS_ROOT, SmallDisk

WRITER = """
import sys
from pathlib import Path
from rlhf.base.files.journal import Journal, request_digest
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    journal.record(request_digest(number), {"content": "x" * 5000 + str(number)})
    print(number, flush=True)
    number += 1
"""


def test_answers_of_other_processes_are_found(tmp_path: Path) -> None:
    answers = {request_digest(number): {"content": str(number)} for number in range(5)}
    for digest, answer in answers.items():
        Journal(tmp_path / "journal").record(digest, answer)
    found = Journal(tmp_path / "journal").find([*answers, request_digest("other")])
    assert found == answers
    assert Journal(tmp_path / "journal").find([request_digest(3)]) == {request_digest(3): {"content": "3"}}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").find([request_digest(1)]) == {}
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_answers_are_kept_in_memory() -> None:
    journal = Journal(None)
    journal.record(request_digest(1), {"content": "yes"})
    assert journal.find([request_digest(1), request_digest(2)]) == {request_digest(1): {"content": "yes"}}


def test_a_line_cut_short_is_skipped_and_the_others_are_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.record(request_digest(number), {"content": "é\n" * 20})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for kept in range(len(content) * 2 // 3, len(content)):
        path.write_bytes(content[:kept])
        digests = [request_digest(number) for number in range(3)]
        assert list(Journal(tmp_path).find(digests)) == digests[:2]


@pytest.mark.parametrize("line", ["not json", '["list"]', "null"])
def test_a_line_that_is_no_answer_is_skipped(tmp_path: Path, line: str) -> None:
    (tmp_path / "host-1-1.jsonl").write_text(f"{request_digest(1)} {line}\n")
    assert Journal(tmp_path).find([request_digest(1)]) == {}


def test_kill_9_loses_no_answer_that_was_recorded(tmp_path: Path) -> None:
    scripts = Path(__file__).parents[4] / "scripts"
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(scripts)}) as process:
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last == 300:
                process.kill()
                break
    digests = [request_digest(number) for number in range(last + 1)]
    found = Journal(tmp_path).find(digests)
    assert [found[digest]["content"][5000:] for digest in digests] == [str(number) for number in range(last + 1)]


def test_others_answers_are_read_as_they_come_and_once(tmp_path: Path) -> None:
    own, other = Journal(tmp_path / "journal"), Journal(tmp_path / "journal")
    assert list(own.unread()) == []
    own.record(request_digest(0), {"content": "own"})
    other.record(request_digest(1), {"content": "1"})
    other.record(request_digest(2), {"content": "2"})
    assert list(own.unread()) == [(request_digest(1), {"content": "1"}), (request_digest(2), {"content": "2"})]
    assert list(own.unread()) == []
    (path,) = [path for path in (tmp_path / "journal").iterdir() if path.read_bytes().count(b"\n") == 2]
    with path.open("ab") as file:
        file.write(f"not a line\n{request_digest(3)} {{".encode())
        file.flush()
        assert list(own.unread()) == []
        file.write(b'"content": "3"}\n')
    assert list(own.unread()) == [(request_digest(3), {"content": "3"})]


@NEEDS_ROOT
def test_after_a_full_disk_no_answer_is_lost_that_was_recorded(tmp_path: Path) -> None:
    answer = {"content": "x" * 5000}
    with SmallDisk(tmp_path, "16k"):
        journal = Journal(tmp_path / "journal")
        recorded = []
        with pytest.raises(OSError, match="No space left"):
            for number in range(99):
                journal.record(request_digest(number), answer)
                recorded.append(request_digest(number))
        SmallDisk(tmp_path, "").resize("1m")
        journal.record(request_digest(100), answer)
        found = Journal(tmp_path / "journal").find([*recorded, request_digest(100)])
        assert found == dict.fromkeys([*recorded, request_digest(100)], answer)
        assert [digest for digest, _ in Journal(tmp_path / "journal").unread()] == [*recorded, request_digest(100)]


def test_digests_tell_requests_apart_and_hold_no_text() -> None:
    one, other = {"model": "m", "messages": ["a"]}, {"messages": ["a"], "model": "m"}
    assert request_digest(one) == request_digest(other)
    assert request_digest(one) != request_digest({**one, "temperature": 1.0})
    assert len(request_digest({"text": "é"})) == DIGEST_CHARACTERS
