"""Constraints of prompts: against EvalScope's checks of the same benchmark, and by hand."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import nltk
import pytest

from benchmark_questions import save_sentence_rules
from benchmark_suites import evaluation_python
from rlhf.base.errors import UserError
from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.constraints import Credit, Reading, grade_constraints
from rlhf.rewards.verifiable.grading import Grade

Constraint = tuple[str, dict[str, Any]]
TITLE: Constraint = ("detectable_format:title", {})
NO_COMMA: Constraint = ("punctuation:no_comma", {})
CONSTRAINTS: list[Constraint] = [
    TITLE,
    NO_COMMA,
    ("keywords:existence", {"keywords": ["dog", "Lazy"]}),
    ("keywords:frequency", {"keyword": "the", "frequency": 2, "relation": "at least"}),
    ("keywords:forbidden_words", {"forbidden_words": ["fox"]}),
    ("keywords:letter_frequency", {"letter": "O", "let_frequency": 4, "let_relation": "less than"}),
    ("language:response_language", {"language": "de"}),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    ("length_constraints:number_words", {"num_words": 10, "relation": "less than"}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "The"}),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}),
    ("detectable_format:constrained_response", {}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}),
    ("detectable_format:json_format", {}),
    ("combination:two_responses", {}),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write about a dog."}),
    ("startend:end_checker", {"end_phrase": "That is all."}),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}),
    ("change_case:english_capital", {}),
    ("change_case:english_lowercase", {}),
    ("startend:quotation", {}),
]
RESPONSES = [
    "",
    "The quick fox jumps over the lazy dog.",
    "<<My title>>\nA DOG AND A CAT sat there, [name] too. That is all.",
    "Der faule Hund liegt im Garten und schläft den ganzen Tag in der Sonne.",
    "* one\n* two\n\nThe end. P.S. *more*",
    '"the lazy dog sleeps all day in the sun and nobody minds that at all today"',
    "THE LAZY DOG SLEEPS ALL DAY IN THE SUN AND NOBODY MINDS IT AT ALL",
    'Here you are:\n```json\n{"a": 1}\n```',
    "My answer is yes.",
    "one ****** two",
    "Section 1\nsome words\nSection 2\nmore words",
    "Write about a dog. A dog is an animal.\n\n***\n\nThe dog is mine.",
    "Sure, here it is.\nthe lazy dog has no commas in its own line\nDone, bye",
]
PROMPT = "Write about a dog."
# Run where EvalScope is: whether each response keeps each constraint, strictly and loosely.
BY_EVALSCOPE = """
import json, sys, langdetect
from evalscope.benchmarks.ifeval import instructions_util
from evalscope.benchmarks.ifeval.instructions_registry import INSTRUCTION_DICT
langdetect.DetectorFactory.seed = 0
instructions_util.check_nltk_data = lambda name: None
constraints, responses, prompt = json.loads(sys.argv[1])

def variants(text):
    lines = text.split("\\n")
    parts = [text, *("\\n".join(some).strip() for some in (lines[1:], lines[:-1], lines[1:-1]))]
    return parts + [part.replace("*", "") for part in parts]

found = []
for name, arguments in constraints:
    check = INSTRUCTION_DICT[name](name)
    check.build_description(**arguments)
    holds = lambda text: bool(text.strip() and check.check_following(text))
    found.append([[holds(text) for text in responses], [any(map(holds, variants(text))) for text in responses]])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nltk's data: rules of sentences."""
    folder = tmp_path_factory.mktemp("nltk_data")
    save_sentence_rules(folder)
    return folder


@pytest.fixture
def _sentences(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(words)])


def grade(
    constraints: list[Constraint], response: str, reading: Reading = "strict", credit: Credit = "share", **kept: Any
) -> Grade:
    columns = {"ids": [name for name, _ in constraints], "how": [arguments for _, arguments in constraints], **kept}
    conversation = Conversation((("user", PROMPT),), response, "stop", json.dumps(columns))
    return grade_constraints("ids", "how", reading, credit, conversation)


@pytest.mark.usefixtures("_sentences")
def test_each_constraint_as_evalscope_checks_it(words: Path) -> None:
    command = [evaluation_python(), "-c", BY_EVALSCOPE, json.dumps([CONSTRAINTS, RESPONSES, PROMPT])]
    done = subprocess.run(command, capture_output=True, text=True, env={"NLTK_DATA": str(words)})
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout.splitlines()[-1])
    readings: tuple[Reading, ...] = ("strict", "loose")
    found = [
        [[grade([one], text, reading).value == 1.0 for text in RESPONSES] for reading in readings]
        for one in CONSTRAINTS
    ]
    assert found == expected
    assert all(any(strict) for strict, _ in found)  # each constraint is kept by some response
    assert sum(strict != loose for strict, loose in found) > 3


@pytest.mark.usefixtures("_sentences")
def test_the_reward_is_the_share_or_all() -> None:
    rng = random.Random(0)
    seen = set()
    for _ in range(100):
        chosen, response = rng.sample(CONSTRAINTS, rng.randint(1, 4)), rng.choice(RESPONSES)
        alone = [grade([constraint], response).value or 0.0 for constraint in chosen]
        share = sum(alone) / len(alone)
        outcome = {0.0: "none", 1.0: "all"}.get(share, "some")
        assert grade(chosen, response) == Grade(share, outcome)
        assert grade(chosen, response, credit="all") == Grade(float(share == 1), outcome)
        seen.add(outcome)
    assert seen == {"all", "some", "none"}


def test_columns_may_be_json_and_arguments_filled_up_with_nulls() -> None:
    null = {"keywords": None, "num_words": None}
    assert grade([NO_COMMA], "a b", how=[null]) == Grade(1.0, "all")
    assert grade([], "a, b", ids=json.dumps(["punctuation:no_comma"]), how=json.dumps([null])) == Grade(0.0, "none")
    assert grade([NO_COMMA], "a b", how=None) == Grade(1.0, "all")


@pytest.mark.parametrize(
    ("ids", "how", "why"),
    [
        ([], [], "no_constraints"),
        (None, None, "no_constraints"),
        (["punctuation:no_comma"], [{}, {}], "not a list of names and as many arguments"),
        ("no comma", [{}], "not a list of names and as many arguments"),
        (["count:word_count_range"], [{}], "no check of count:word_count_range"),
        (["keywords:existence"], [{}], "keywords:existence without keywords"),
        (["punctuation:no_comma"], [{"letter": "a"}], r"punctuation:no_comma: .*unexpected keyword argument"),
        (["length_constraints:number_words"], [{"num_words": 5, "relation": "over"}], "number_words: .*over is given"),
        (["length_constraints:number_words"], [{"num_words": -1, "relation": "at least"}], "an unusable num_words"),
        (["keywords:existence"], [{"keywords": ["c("]}], "keywords that are no regular expression"),
    ],
)
def test_constraints_that_cannot_be_checked_give_no_reward(ids: Any, how: Any, why: str) -> None:
    value, outcome = grade([], "Some words.", ids=ids, how=how)
    assert value is None
    assert re.search(why, outcome)


@pytest.mark.parametrize("kept", [{}, {"ids": ["punctuation:no_comma"]}])
def test_columns_that_are_not_kept(kept: dict[str, Any]) -> None:
    conversation = Conversation((("user", PROMPT),), "a", "stop", json.dumps(kept))
    with pytest.raises(UserError, match=r"the prompts keep no column '(ids|how)', .*`prompts.keep`"):
        grade_constraints("ids", "how", "strict", "share", conversation)


def test_without_rules_of_sentences_the_data_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    capitals = [one for one in CONSTRAINTS if one[0] == "change_case:capital_word_frequency"]
    with pytest.raises(UserError, match=r"need nltk's data `punkt_tab`.*NLTK_DATA"):
        grade(capitals, "SOME WORDS")
