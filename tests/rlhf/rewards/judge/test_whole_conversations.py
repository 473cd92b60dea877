"""What a judge is shown of conversations, and of the columns that their prompts keep."""

from __future__ import annotations

import json
from pathlib import Path

from judge_server import JudgeServer, shown
from rlhf.base.files.journal import Journal
from rlhf.machine.progress import Progress
from rlhf.rewards.judge.client import Judge
from rlhf.rewards.judge.client import JudgeServer as Server
from rlhf.rewards.judge.scoring import compare, rate
from rlhf.rewards.judge.templates import JudgeTemplate
from rlhf.rewards.scorer import Conversation

ASKED = (("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c"))
TRANSCRIPT = "[system]\nBe brief.\n\n[user]\na\n\n[assistant]\nb\n\n[user]\nc"


def judge(server: JudgeServer) -> Judge:
    return Judge(Server(server.url, "gpt", {"logprobs": True}, None), Journal(None))


def test_all_turns_are_shown_and_a_single_one_is_shown_alone() -> None:
    seen: list[list[str]] = []

    def longer(message: str) -> dict[str, float]:
        seen.append(shown(message))
        return {"A" if len(seen[-1][1]) > len(seen[-1][2]) else "B": 1.0}

    conversations = [Conversation(ASKED, "x"), Conversation(ASKED, "xx"), Conversation((("user", "c"),), "x")]
    with JudgeServer(longer) as server, Progress(3, "responses", "scoring") as progress:
        scores, tally = compare(judge(server), JudgeTemplate(None, "pairwise.jinja"), conversations, [], progress)
    assert {texts[0] for texts in seen} == {TRANSCRIPT}
    assert tally.pairs == 1 and scores[0].value is not None and scores[1].value is not None
    assert scores[0].value < 0 < scores[1].value and scores[2].value == 0
    assert conversations[2].transcript == "c" == conversations[0].prompt


def test_a_template_may_show_what_a_prompt_keeps(tmp_path: Path) -> None:
    file = tmp_path / "with_reference.jinja"
    file.write_text("{{ boundary }}\n{{ prompt }}\n{{ response }}\nReference: {{ kept.answer }}")
    conversations = [
        Conversation((("user", "2 + 2?"),), response, kept=json.dumps({"answer": answer}))
        for response, answer in (("4", 4), ("5", 4), ("4", 5))
    ]

    def exact(message: str) -> dict[str, float]:
        *_, response, reference = message.splitlines()
        return {"9" if f"Reference: {response}" == reference else "1": 1.0}

    with JudgeServer(exact) as server, Progress(3, "responses", "scoring") as progress:
        scores, _ = rate(judge(server), JudgeTemplate(str(file), "rating.jinja"), 9, conversations, progress)
    assert [score.value for score in scores] == [9.0, 1.0, 1.0]


def test_records_hold_the_whole_conversation_and_the_kept_columns() -> None:
    conversation = Conversation(ASKED, "d", "length", '{"answer":4,"tests":["x"]}')
    assert conversation.record == {
        "prompt": [{"role": role, "content": content} for role, content in ASKED],
        "response": "d",
        "finish_reason": "length",
        "answer": 4,
        "tests": ["x"],
    }
