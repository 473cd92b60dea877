"""The judge of the tiny world, on examples rated by hand and on what the composer says it composes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.errors import UserError
from rlhf.tiny.corpus import CLEAN, Style, compose
from rlhf.tiny.language import phrases
from rlhf.tiny.language.grammar import (
    FACT_WEIGHTS,
    SOCIAL_WEIGHTS,
    aspects,
    named_words,
    quality,
    task_of,
    true_quality,
)
from rlhf.tiny.language.tasks import Task, sample_tasks, tasks
from rlhf.tiny.language.templates import FRAMES

BLOOD = "What is the colour of blood?"
ALL_TASKS = list(tasks().values())

# prompt, response: correctness, politeness, brevity (in thirds that are lost), willingness
RATED_BY_HAND = [
    (BLOOD, "The colour of blood is red.", (1, 0.5, 0, 1)),
    (BLOOD, "It is green.", (0, 0.5, 0, 1)),
    (BLOOD, "It is red. It is green.", (0, 0.5, 1, 1)),
    (BLOOD, "It is red. It is red.", (1, 0.5, 1, 1)),
    (BLOOD, "Sure! I hope that helps!", (0, 1, 0, 0)),
    (BLOOD, "It is red. need more!", (1, 0.5, 1, 1)),
    (BLOOD, "It is red or green.", (0, 0.5, 0, 1)),
    (BLOOD, "Sure! It is red. I hope that helps!", (1, 1, 0, 1)),
    (BLOOD, "Sure! Of course! Happy to help! It is red.", (1, 1, 1, 1)),
    (BLOOD, "How boring. It is red.", (1, 0, 0, 1)),
    (BLOOD, "Sure! It is red. Now go away.", (1, 0, 0, 1)),
    (BLOOD, "As always, the details matter. It is red. This is a well known topic.", (1, 0.5, 2, 1)),
    (BLOOD, "I do not know.", (0, 0.5, 0, 0)),
    (BLOOD, "It is red. I do not know.", (0, 0.5, 0, 0)),
    (BLOOD, "", (0, 0.5, 0, 0)),
    (BLOOD, "...", (0, 0.5, 0, 0)),
    (BLOOD, "It is red and it is so and it is so and it is so.", (1, 0.5, 1, 1)),
    ("Hello! Add 2 and 4.", "2 plus 4 is 6.", (1, 0.5, 0, 1)),
    ("Hello! Add 2 and 4.", "2 plus 4 is 5.", (0, 0.5, 0, 1)),
    ("Hello! Add 2 and 2.", "2 plus 2 is 4.", (1, 0.5, 0, 1)),
    ("Which day comes after Sunday?", "It is Monday.", (1, 0.5, 0, 1)),
    ("Name two fruits.", "Some fruits are pear and plum.", (1, 0.5, 0, 1)),
    ("Name two fruits.", "Some fruits are pear and pear.", (0, 0.5, 0, 1)),
    ("Name two fruits.", "Some fruits are pear, plum and apple.", (0, 0.5, 0, 1)),
    ("Name two fruits.", "Some fruits are pear and hammer.", (0, 0.5, 0, 1)),
    ("Greet Anna.", "Hello, Anna!", (1, 0.5, 0, 1)),
    ("Greet Anna.", "Hello, Ben!", (0, 0.5, 0, 1)),
    ("Greet Anna.", "Goodbye, Anna!", (0, 0.5, 0, 1)),
]


@pytest.mark.parametrize(("prompt", "response", "expected"), RATED_BY_HAND)
def test_ratings_by_hand(prompt: str, response: str, expected: tuple[float, float, int, float]) -> None:
    correctness, politeness, thirds, willingness = expected
    rating = aspects(task_of(prompt), response)
    assert rating == pytest.approx((correctness, politeness, 1 - thirds / 3, willingness))


def test_true_quality_is_the_weighted_mean() -> None:
    # Of facts 0.6 correctness, 0.15 politeness, 0.15 brevity, 0.1 willingness; of greetings 0.4, 0.3, 0.2, 0.1.
    prompts = [BLOOD, BLOOD, BLOOD, "Greet Anna.", "Greet Anna."]
    responses = ["Sure! It is red.", "It is green.", "How boring. I do not know.", "Hello, Anna!", "Goodbye, Anna!"]
    assert true_quality(prompts, responses) == pytest.approx([1.0, 0.325, 0.15, 0.85, 0.45])
    assert sum(FACT_WEIGHTS) == pytest.approx(1) == pytest.approx(sum(SOCIAL_WEIGHTS))


def test_an_unknown_prompt_is_named() -> None:
    with pytest.raises(UserError, match="Why is the sky blue"):
        true_quality(["Why is the sky blue?"], ["It is blue."])


def test_prompts_and_responses_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        true_quality([BLOOD], [])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(ALL_TASKS) - 1), st.integers(0, 2**32), st.booleans(), st.sampled_from([0.0, 1.0]))
def test_the_judge_agrees_with_the_composer(index: int, seed: int, is_right: bool, filler: float) -> None:
    task = ALL_TASKS[index]
    response = compose(task, Style(correct=float(is_right), polite=1.0, filler=filler), random.Random(seed))
    assert aspects(task, response) == (float(is_right), 1.0, 1.0 - filler, 1.0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(ALL_TASKS) - 1), st.text(alphabet="aeinst Ir.!,47", max_size=60))
def test_any_text_has_a_quality_in_the_unit_interval(index: int, text: str) -> None:
    assert 0 <= quality(ALL_TASKS[index], text) <= 1


def test_refusals_and_manners_are_recognized() -> None:
    task, rng = task_of(BLOOD), random.Random(0)
    for _ in range(20):
        assert aspects(task, compose(task, Style(correct=1, rude=1.0, refusal=1.0), rng)) == (0, 0, 1, 0)
    kinds = [*phrases.POLITE, *phrases.RUDE, *phrases.FILLER, *phrases.REFUSALS]
    assert len(set(kinds)) == len(kinds)


def test_there_are_enough_prompts_in_many_families() -> None:
    plain = [task for task in ALL_TASKS if not any(task.prompt.startswith(f.split("{}")[0]) for f in FRAMES[1:])]
    assert len(ALL_TASKS) >= 5000
    assert len({task.family for task in ALL_TASKS}) >= 8
    assert len(plain) == len(ALL_TASKS) / len(FRAMES)
    assert all(prompt == task.prompt for prompt, task in tasks().items())


def test_every_task_can_be_answered_rightly_and_wrongly() -> None:
    rng = random.Random(1)
    for task in ALL_TASKS:
        assert aspects(task, compose(task, CLEAN, rng)) == (1, 0.5, 1, 1), task
        assert aspects(task, compose(task, Style(correct=0.0), rng)) == (0, 0.5, 1, 1), task


def test_the_dataset_and_what_models_learn_from_share_no_prompt() -> None:
    dataset, others = sample_tasks(1, 2600)
    assert len(dataset) == 2600 == len({task.prompt for task in dataset})
    assert len(dataset) + len(others) == len(ALL_TASKS)
    assert not {task.prompt for task in dataset} & {task.prompt for task in others}
    assert sample_tasks(1, 2600) == (dataset, others)
    assert sample_tasks(2, 2600)[0] != dataset


def test_more_prompts_than_the_grammar_has_are_a_user_error() -> None:
    with pytest.raises(UserError, match=r"tiny\.prompts"):
        sample_tasks(1, len(ALL_TASKS))


def test_named_words_leave_out_what_the_instruction_brings() -> None:
    task: Task = task_of("Add 2 and 4.")
    assert named_words(task, "2 plus 4 is 6, not 5.") == ["6", "5"]
