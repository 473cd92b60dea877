"""Which prompts are questions of a benchmark: against the definition, computed anew for every pair."""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.prompts.benchmarks import Questions
from rlhf.prompts.contamination import Contamination, Match, bands_and_rows, words_of
from rlhf.prompts.schema import CONTAMINATION, prompt_id
from rlhf.prompts.settings import Benchmark

WORDS = st.sampled_from(["how", "do", "i", "make", "a", "good", "cup", "of", "tea", "coffee", "2", "Größe"])
TEXTS = st.lists(WORDS, min_size=1, max_size=24).map(" ".join)
TEMPLATE = "Try to explain your answer, and take the reader through your reasoning step by step."


def questions(*texts: str, name: str = "a", **changes: Any) -> Questions:
    return Questions(Benchmark.model_validate({"dataset": "owner/questions", "name": name, **changes}), texts, None)


def found(prompt: str, *texts: str, **changes: Any) -> list[tuple[str, str]]:
    """The question and the reason of each match."""
    return [(match.question, match.reason) for match in Contamination([questions(*texts, **changes)]).matches(prompt)]


def by_definition(prompt: str, question: str, ngram: int, similarity: float) -> tuple[str | None, float]:
    """Why a prompt matches a question, if it does, and their similarity."""
    first, second = ("".join(c if c.isalnum() else " " for c in text.casefold()).split() for text in (prompt, question))
    texts = [f" {' '.join(words)} " for words in (first, second)]
    sets = [{text[i : i + 5] for i in range(len(text)) if i + 5 <= len(text)} or {text} for text in texts]
    jaccard = sum(part in sets[1] for part in sets[0]) / len([*sets[0], *(sets[1] - sets[0])])
    inside = any(first[i : i + len(second)] == second for i in range(len(first)))
    if first == second or (inside and len(second) >= 8):
        return "whole question", jaccard
    if any(first[i : i + ngram] == second[j : j + ngram] for i in range(len(first) - ngram + 1)
           for j in range(len(second) - ngram + 1)):  # fmt: skip
        return f"{ngram}-gram", jaccard
    return ("similar" if jaccard >= similarity else None), jaccard


@given(
    prompt=TEXTS, texts=st.lists(TEXTS, min_size=1, max_size=6), ngram=st.integers(8, 14), similarity=st.floats(0.3, 1)
)
@settings(deadline=None, max_examples=150, derandomize=True)  # one in 10,000 pairs at the threshold may be missed
def test_matches_are_those_of_the_definition(prompt: str, texts: list[str], ngram: int, similarity: float) -> None:
    expected = [(*by_definition(prompt, text, ngram, similarity), text) for text in texts]
    best = min(((-score, text, reason) for reason, score, text in expected if reason), default=None)
    matches = Contamination([questions(*texts, ngram=ngram, similarity=similarity)]).matches(prompt)
    assert [(-match.similarity, match.question, match.reason) for match in matches] == ([best] if best else [])


@given(texts=st.lists(TEXTS, min_size=1, max_size=6), prompt=TEXTS, data=st.data())
@settings(deadline=None, max_examples=50, derandomize=True)
def test_the_order_of_benchmarks_and_questions_does_not_matter(
    texts: list[str], prompt: str, data: st.DataObject
) -> None:
    def matches(first: Sequence[str], second: Sequence[str], turned: bool) -> set[Match]:
        both = [questions(*first), questions(*second, name="b")]
        return set(Contamination(both[::-1] if turned else both).matches(prompt))

    shuffled = data.draw(st.permutations(texts))
    assert matches(texts, [prompt], False) == matches(shuffled, [prompt], True)
    assert {match.benchmark for match in matches(texts, [prompt], False)} >= {"b"}


@given(texts=st.lists(st.text(max_size=40), max_size=4), before=st.text(max_size=10))
@settings(deadline=None, max_examples=100)
def test_every_question_is_found_whatever_its_case_and_punctuation(texts: list[str], before: str) -> None:
    contamination = Contamination([questions(*texts)])
    for text in texts:
        spelled = "...".join(["", *words_of(text), ""]).upper()
        if words_of(text) and words_of(spelled) == words_of(text):  # not every capital has its letter
            assert [match.similarity for match in contamination.matches(spelled)] == [1.0]
    assert contamination.matches("?! ...") == []


def test_words_are_letters_and_digits() -> None:
    assert words_of("Don't STOP_me, ｆｕｌｌ-width ①②!") == ("don", "t", "stop", "me", "full", "width", "12")
    assert words_of("straße STRASSE e\u0301") == ("strasse", "strasse", "é")
    assert words_of("你好 means 'hi'") == ("你", "好", "means", "hi")


def test_a_shared_n_gram_needs_all_its_words() -> None:
    question, prompt = f"How many atoms are in a grain of salt? {TEMPLATE}", f"Why is the sky blue? {TEMPLATE}"
    length = len(words_of(TEMPLATE))
    assert found(prompt, question, ngram=length, similarity=1.0) == [(question, f"{length}-gram")]
    assert found(prompt, question, ngram=length + 1, similarity=1.0) == []


def test_a_question_of_less_than_8_words_is_only_found_as_the_whole_prompt() -> None:
    seven, eight = "Can you tell me how it works?", "Can you tell me how a pump works?"
    assert (len(words_of(seven)), len(words_of(eight))) == (7, 8)
    for question, inside in ((seven, []), (eight, [(eight, "whole question")])):
        assert found(question.lower(), question) == [(question, "whole question")]
        assert found(f"I have here an engine of 1920, out of order since the war. {question}", question) == inside


def test_a_few_changed_words_are_found_and_other_questions_are_not() -> None:
    question = "What are the names of some famous actors that started their careers on Broadway?"
    edited = "What are the names of three famous actors who began their careers on Broadway?"
    assert found(edited, question) == [(question, "similar")]
    assert found("What are the names of some famous rivers that end in the Black Sea?", question) == []
    assert found("How do I make apple juice?", "How do I make escargot?") == []
    assert found("Hi, I'd like to play ice hockey. Can you explain how the game works?",
                 "Hi, I'd like to learn how to play racquetball. Can you explain the game to me?") == []  # fmt: skip


def test_text_without_spaces() -> None:
    question = "请用三句话解释为什么天空是蓝色的。"
    assert found("老师问:请用三句话解释为什么天空是蓝色的?谢谢", question) == [(question, "whole question")]
    assert found("请用三句话解释为什么海洋是蓝色的。", question) == [(question, "similar")]
    assert found("请写一首关于春天的诗,不超过一百字。", question) == []


def test_what_was_found_is_kept_in_the_order_of_its_keys() -> None:
    contamination = Contamination([questions("one two three", "four"), questions("Four!", name="b")])
    prompts = ["four", "One, two, three.", "five"]
    assert [contamination.holds(prompt_id(prompt), prompt) for prompt in prompts] == [True, True, False]
    assert contamination.counts == {"a": {"questions": 2, "prompts": 2}, "b": {"questions": 1, "prompts": 1}}
    CONTAMINATION.check(contamination.table, Path("contamination.parquet"))
    rows = contamination.table.select(["prompt", "benchmark", "question", "similarity"]).to_pylist()
    values = [tuple(row.values()) for row in rows]
    expected = [("four", "a", "four", 1.0), ("four", "b", "Four!", 1.0), (prompts[1], "a", "one two three", 1.0)]
    assert values == sorted(expected, key=lambda row: (prompt_id(row[0]), row[1]))


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_the_hashing_misses_few(threshold: float) -> None:
    bands, rows = bands_and_rows(threshold)
    assert (1 - threshold**rows) ** bands <= 1e-4
    assert bands * rows <= 384


def test_real_questions_with_words_replaced(real_responses: Path) -> None:
    """The table in the module's docstring, from a third of the questions."""
    texts = pq.read_table(real_responses, columns=["prompt"])["prompt"].to_pylist()
    contamination = Contamination([questions(*texts)])
    vocabulary = [word for text in texts for word in words_of(text)]
    draw = random.Random(0)
    shares = {}
    for changed in (1, 2, 3):
        results = []
        for text in texts[::3]:
            words = list(words_of(text))
            for position in draw.sample(range(len(words)), min(changed, len(words))):
                words[position] = draw.choice(vocabulary)
            results.append((len(words), bool(contamination.matches(" ".join(words)))))
        for low, high in ((5, 7), (8, 12), (13, 1000)):
            hits = [hit for length, hit in results if low <= length <= high]
            shares[changed, low] = sum(hits) / len(hits)
    assert shares[1, 5] > 0.88 and shares[1, 8] > 0.98
    assert shares[2, 8] > 0.78
    assert min(shares[changed, 13] for changed in (1, 2, 3)) > 0.95


def test_real_questions_are_not_similar_to_each_other(real_responses: Path) -> None:
    """But for the 25 that are made from two templates: each of the other ones is found as itself alone."""
    texts = pq.read_table(real_responses, columns=["prompt"])["prompt"].to_pylist()
    templates = re.compile("I like to host guests at my home|take the reader through your reasoning")
    others = [text for text in texts if not templates.search(text)]
    assert len(texts) - len(others) == 25
    contamination = Contamination([questions(*texts[::2]), questions(*texts[1::2], name="b")])
    assert [len(contamination.matches(text)) for text in others] == [1] * len(others)
