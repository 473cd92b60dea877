"""Scores of a reward model: one conversation by itself, or any batch of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chats import conversations as chats
from chats import turns
from rlhf.machine.progress import Progress
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import score_conversations, shared_prefix
from rlhf.rewards.scorer import Conversation, Score
from rlhf.tokens.chat import encode_messages, encode_prompt, turn_change_ids
from small_models import CPU, small_reward_model
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
MODEL = small_reward_model(len(TOKENIZER))
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "what", "is", "2", "+", "2?"]
CONVERSATIONS = [
    (" ".join(WORDS[: 1 + index % 7]), " ".join(WORDS[index % 5 : index % 5 + index % 6])) for index in range(24)
]


def score(conversations: list[tuple[str, str]], max_tokens: int = 128, token_budget: int = 10**6) -> list[Score]:
    distinct = len(set(conversations))
    with Progress(distinct, "responses", "test") as progress:
        scores = score_conversations(
            ArmoScorer(MODEL, TOKENIZER), CPU, TOKENIZER, chats(conversations), max_tokens, token_budget, progress
        )
        assert progress.done == distinct
    return scores


def values(scores: list[Score]) -> list[float]:
    return [found.value for found in scores if found.value is not None]


@torch.inference_mode()
def expected(conversation: tuple[str, str]) -> tuple[float, list[float]]:
    """One conversation by itself, with the attention of transformers."""
    MODEL.model.set_attn_implementation("eager")
    hidden = MODEL.model(torch.tensor([encode_messages(TOKENIZER, turns(conversation))])).last_hidden_state[0]
    prompt = encode_prompt(TOKENIZER, conversation[0])
    header = max(place for place, token in enumerate(prompt) if token == TOKENIZER.eos_token_id)
    objectives = MODEL.regression_layer(hidden[-1])
    return float(MODEL.gating(hidden[header]) @ (objectives @ MODEL.reward_transform_matrix)), objectives.tolist()


def test_scores_are_those_of_each_conversation_by_itself() -> None:
    for conversation, found in zip(CONVERSATIONS, score(CONVERSATIONS), strict=True):
        value, objectives = expected(conversation)
        assert found.value == pytest.approx(value, abs=1e-5)
        assert found.objectives == pytest.approx(objectives, abs=1e-5)
        assert found.invalid is None
    assert len({round(value, 4) for value in values(score(CONVERSATIONS))}) > 15


@pytest.mark.parametrize("token_budget", [1, 100, 10**6])
def test_scores_do_not_depend_on_batch_or_order(token_budget: int) -> None:
    together = values(score(CONVERSATIONS))
    assert values(score(CONVERSATIONS, token_budget=token_budget)) == pytest.approx(together, abs=1e-5)
    backwards = values(score(CONVERSATIONS[::-1], token_budget=token_budget))
    assert backwards[::-1] == pytest.approx(together, abs=1e-5)


def test_what_is_too_long_has_no_score_and_a_reason() -> None:
    lengths = [len(encode_messages(TOKENIZER, turns(conversation))) for conversation in CONVERSATIONS]
    limit = sorted(lengths)[12]
    scores = score(CONVERSATIONS, max_tokens=limit)
    whole = score(CONVERSATIONS)
    for length, found, other in zip(lengths, scores, whole, strict=True):
        if length > limit:
            assert found == Score(None, "too_long", None)
        else:
            assert found.value == pytest.approx(other.value, abs=1e-5)
    assert 0 < scores.count(Score(None, "too_long")) < 24


def test_no_conversation_fits_and_no_conversations() -> None:
    assert score(CONVERSATIONS, max_tokens=1) == [Score(None, "too_long")] * 24
    assert score([]) == []


def test_equal_texts_have_exactly_equal_scores() -> None:
    many = CONVERSATIONS * 3
    scores = score(many, token_budget=90)
    assert scores[: len(CONVERSATIONS)] * 3 == scores


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_shared_prefix_is_the_longest_one(sequences: list[list[int]]) -> None:
    prompt, conversations = sequences[0], [[*ids, 9] for ids in sequences]
    group = shared_prefix(np.array(prompt, np.int32), [np.array(ids, np.int32) for ids in conversations])
    shared = list(group.prompt)
    assert [shared + list(response) for response in group.responses] == conversations
    assert prompt[: len(shared)] == shared
    longer = prompt[: len(shared) + 1]
    assert longer == shared or any(ids[: len(longer)] != longer for ids in conversations)


def test_a_model_reads_the_whole_conversation() -> None:
    turns_before = (("system", "the lazy dog"), ("user", "what is 2"), ("assistant", "a fox"))
    asked = [Conversation((*turns_before, ("user", "jumps")), "over"), Conversation((("user", "jumps"),), "over")]
    with Progress(2, "responses", "test") as progress:
        whole, last = score_conversations(ArmoScorer(MODEL, TOKENIZER), CPU, TOKENIZER, asked, 128, 100, progress)
    MODEL.model.set_attn_implementation("eager")
    with torch.inference_mode():
        ids = encode_messages(TOKENIZER, (*turns_before, ("user", "jumps"), ("assistant", "over")))
        hidden = MODEL.model(torch.tensor([ids])).last_hidden_state[0]
        header = len(encode_messages(TOKENIZER, (*turns_before, ("user", "jumps")))) - len(turn_change_ids(TOKENIZER))
        objectives = MODEL.regression_layer(hidden[-1])
        expected = float(MODEL.gating(hidden[header]) @ (objectives @ MODEL.reward_transform_matrix))
    assert whole.value == pytest.approx(expected, abs=1e-5)
    assert last.value == pytest.approx(values(score([("jumps", "over")]))[0], abs=1e-5)
    assert abs(values([whole])[0] - values([last])[0]) > 1e-4
