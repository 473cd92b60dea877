"""Scores of a reward model: one conversation by itself, or any batch of them."""

import pytest
import torch

from rlhf.armo_scoring import score_by_armo
from rlhf.chat import encode_conversation
from rlhf.function_scoring import Score
from rlhf.progress import Progress
from small_models import CPU, small_reward_model
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
MODEL = small_reward_model(len(TOKENIZER))
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "what", "is", "2", "+", "2?"]
CONVERSATIONS = [
    (" ".join(WORDS[: 1 + index % 7]), " ".join(WORDS[index % 5 : index % 5 + index % 6])) for index in range(24)
]


def score(conversations: list[tuple[str, str]], max_tokens: int = 128, token_budget: int = 10**6) -> list[Score]:
    with Progress(len(conversations), "responses", "test") as progress:
        scores = score_by_armo(MODEL, TOKENIZER, conversations, max_tokens, token_budget, progress)
        assert progress.done == len(conversations)
    return scores


def rewards(scores: list[Score]) -> list[float]:
    return [found.reward for found in scores if found.reward is not None]


@torch.inference_mode()
def expected(conversation: tuple[str, str]) -> tuple[float, list[float]]:
    """One conversation by itself, without padding."""
    ids, prompt_tokens = encode_conversation(TOKENIZER, *conversation)
    output = MODEL(torch.tensor([ids], device=CPU), torch.tensor([prompt_tokens]), torch.tensor([len(ids)]))
    return float(output.score), output.objectives[0].tolist()


def test_scores_are_those_of_each_conversation_by_itself() -> None:
    for conversation, found in zip(CONVERSATIONS, score(CONVERSATIONS), strict=True):
        reward, objectives = expected(conversation)
        assert found.reward == pytest.approx(reward, abs=1e-5)
        assert found.objectives == pytest.approx(objectives, abs=1e-5)
        assert found.invalid is None
    assert len({round(value, 4) for value in rewards(score(CONVERSATIONS))}) > 15


@pytest.mark.parametrize("token_budget", [1, 100, 10**6])
def test_scores_do_not_depend_on_batch_or_order(token_budget: int) -> None:
    together = rewards(score(CONVERSATIONS))
    assert rewards(score(CONVERSATIONS, token_budget=token_budget)) == pytest.approx(together, abs=1e-5)
    backwards = rewards(score(CONVERSATIONS[::-1], token_budget=token_budget))
    assert backwards[::-1] == pytest.approx(together, abs=1e-5)


def test_what_is_too_long_has_no_reward_and_a_reason() -> None:
    lengths = [len(encode_conversation(TOKENIZER, *conversation)[0]) for conversation in CONVERSATIONS]
    limit = sorted(lengths)[12]
    scores = score(CONVERSATIONS, max_tokens=limit)
    whole = score(CONVERSATIONS)
    for length, found, other in zip(lengths, scores, whole, strict=True):
        if length > limit:
            assert found == Score(None, "too_long", None)
        else:
            assert found.reward == pytest.approx(other.reward, abs=1e-5)
    assert 0 < scores.count(Score(None, "too_long")) < 24


def test_nothing_fits_and_nothing_to_score() -> None:
    assert score(CONVERSATIONS, max_tokens=1) == [Score(None, "too_long")] * 24
    assert score([]) == []
