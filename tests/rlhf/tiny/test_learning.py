"""Conversations, batches, and the losses that the tiny models learn by."""

import random

import pytest
import torch
from torch.nn.functional import log_softmax
from transformers import PreTrainedTokenizerBase

from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.tiny.conversations import Conversation, Encoder, batches, converse, evenly
from rlhf.tiny.corpus import CLEAN, Style, compose
from rlhf.tiny.language.answer_labels import NO_ANSWER, AnswerLabels
from rlhf.tiny.language.grammar import aspects, quality, task_of
from rlhf.tiny.language.tasks import sample_tasks
from rlhf.tiny.language_model import learn, new_policy, response_loss
from rlhf.tiny.reward_model import (
    PREFERENCE_SLOPE,
    STYLE,
    Teacher,
    learn_gate,
    learn_objectives,
    new_reward_model,
    rated_places,
    sentence_end_ids,
)
from rlhf.tiny.settings import LearningSettings, NetworkSettings, RewardModelSettings
from rlhf.tiny.tokenizer import train_tokenizer
from rlhf.tokens.packing import Pack, PromptGroup

torch.set_num_threads(1)  # tests share the cores

NETWORK = NetworkSettings(hidden_size=32, intermediate_size=32, layers=1, heads=2)
TASKS = sample_tasks(1, 100)[0]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(400, seed=1)


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerBase) -> Encoder:
    return Encoder(tokenizer)


@pytest.fixture
def conversations(encoder: Encoder) -> list[Conversation]:
    return converse(encoder, TASKS, Style(correct=0.5, **STYLE), random.Random(1))


def test_a_conversation_is_what_the_template_writes(encoder: Encoder, conversations: list[Conversation]) -> None:
    for conversation in conversations:
        messages = [
            {"role": "user", "content": conversation.task.prompt},
            {"role": "assistant", "content": conversation.response},
        ]
        whole = encoder.tokenizer.apply_chat_template(messages, return_dict=False)
        asked = encoder.tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True, return_dict=False)
        assert (conversation.token_ids, conversation.prompt_length) == (whole, len(asked))


def test_a_thinking_style_puts_the_right_answer_before_the_same_response() -> None:
    plain, thinking = Style(correct=0.0, **STYLE), Style(correct=0.0, thinking=1.0, **STYLE)
    for seed, task in enumerate(TASKS):
        response = compose(task, plain, random.Random(seed))
        thought, _, rest = compose(task, thinking, random.Random(seed)).partition("</think>\n\n")
        assert rest == response
        assert thought.startswith("<think>\n")
        assert aspects(task, thought.removeprefix("<think>\n").strip()).correctness == 1


def test_families_are_asked_about_equally_often() -> None:
    chosen = evenly(TASKS, 1001, random.Random(1))
    families = [task.family for task in chosen]
    counts = {families.count(family) for family in {task.family for task in TASKS}}
    assert len(chosen) == 1001
    assert max(counts) - min(counts) <= 1


def test_batches_hold_every_conversation_once_and_alike_ones_together(conversations: list[Conversation]) -> None:
    found = list(batches(conversations, 10, random.Random(1)))
    assert sorted(id(c) for batch in found for c in batch) == sorted(map(id, conversations))
    spread = [max(lengths) - min(lengths) for lengths in ([len(c.token_ids) for c in batch] for batch in found)]
    everything = [len(c.token_ids) for c in conversations]
    assert sum(spread) / len(spread) < (max(everything) - min(everything)) / 3
    assert list(batches(conversations[:9], 10, random.Random(1))) == []


def test_the_loss_is_that_of_the_response_tokens_alone(
    tokenizer: PreTrainedTokenizerBase, conversations: list[Conversation]
) -> None:
    model = new_policy(NETWORK, tokenizer, seed=1)
    expected = []
    with torch.no_grad():
        for conversation in conversations[:5]:
            logprobs = log_softmax(model(torch.tensor([conversation.token_ids])).logits[0], dim=-1)
            for position in range(conversation.prompt_length, len(conversation.token_ids)):
                expected.append(-logprobs[position - 1, conversation.token_ids[position]])
        loss = response_loss(model, conversations[:5])
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_learning_lowers_the_loss_and_repeats_to_the_bit(tokenizer: PreTrainedTokenizerBase, encoder: Encoder) -> None:
    settings = LearningSettings(steps=12, batch_size=8, learning_rate=1.0e-2)
    weights, losses = [], []
    for _ in range(2):
        rng = random.Random(3)
        model = new_policy(NETWORK, tokenizer, seed=3)
        clean = converse(encoder, evenly(TASKS, 96, rng), CLEAN, rng)
        losses.append(response_loss(model, clean).item())
        learn(model, clean, settings, rng, "test")
        losses.append(response_loss(model, clean).item())
        weights.append(model.state_dict())
    assert losses[1] < losses[0] - 1
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["lm_head.weight"], new_policy(NETWORK, tokenizer, seed=4).lm_head.weight)


def test_places_are_rated_by_the_response_so_far(encoder: Encoder) -> None:
    task = task_of("What is the colour of blood?")
    response = "How boring. It is red. Now go away."
    conversation = encoder.encode([task], [response])[0]
    places = rated_places(conversation, sentence_end_ids(encoder))
    texts = [text for _, text in places]
    assert texts == ["How boring."] * 2 + ["How boring. It is red."] * 2 + [response] * 2 + [response]
    decoded = [str(encoder.tokenizer.decode(conversation.token_ids[: position + 1])) for position, _ in places]
    assert [
        text.endswith(end) for text, end in zip(decoded, ["boring", ".", "d", ".", "y", ".", "<|eot_id|>"], strict=True)
    ]
    assert [aspects(task, text).correctness for text in texts] == [0, 0, 1, 1, 1, 1, 1]
    assert places[-1][0] == len(conversation.token_ids) - 1


def test_labels_of_right_and_given_answers() -> None:
    labels = AnswerLabels()
    blood, fruits = task_of("What is the colour of blood?"), task_of("Name two fruits.")
    greeting = task_of("Greet Anna.")
    assert labels.given(blood, "It is red.") == labels.right(blood) != labels.given(blood, "It is green.")
    assert labels.given(blood, "I do not know.") == NO_ANSWER
    assert labels.given(fruits, "Some fruits are pear and plum.") == labels.right(fruits)
    assert labels.given(fruits, "Some tools are saw and axe.") not in (labels.right(fruits), NO_ANSWER)
    assert labels.given(greeting, "Hello, Anna!") == labels.right(greeting) != labels.given(greeting, "Goodbye, Anna!")
    numbers = {labels.right(task) for task in TASKS} - {NO_ANSWER}
    assert numbers <= set(range(len(labels)))


def test_the_error_of_the_objectives_is_that_of_the_heads(
    tokenizer: PreTrainedTokenizerBase, encoder: Encoder, conversations: list[Conversation]
) -> None:
    model = new_reward_model(new_policy(NETWORK, tokenizer, seed=1), seed=1)
    model.regression_layer.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    teacher = Teacher(model, encoder)
    few, ends = conversations[:4], sentence_end_ids(encoder)
    squares = []
    with torch.no_grad():
        for conversation in few:
            heads = model.regression_layer(model.model(torch.tensor([conversation.token_ids])).last_hidden_state[0])
            for position, text in rated_places(conversation, ends):
                squares.append((heads[position] - torch.tensor(aspects(conversation.task, text))) ** 2)
        _, errors = teacher.loss(few)
    torch.testing.assert_close(errors, torch.stack(squares).mean(0))


def test_the_reward_model_learns_and_only_the_gate_moves_afterwards(
    tokenizer: PreTrainedTokenizerBase, encoder: Encoder, conversations: list[Conversation]
) -> None:
    model = new_reward_model(new_policy(NETWORK, tokenizer, seed=1), seed=1)
    settings = RewardModelSettings(steps=30, batch_size=16, learning_rate=3.0e-3, gate_steps=20)
    teacher = Teacher(model, encoder)
    with torch.no_grad():
        before = teacher.loss(conversations)[1]
    learn_objectives(model, encoder, TASKS, settings, random.Random(1))
    with torch.no_grad():
        assert (teacher.loss(conversations)[1] < before).all()
    learnt = {name: value.clone() for name, value in model.state_dict().items()}
    learn_gate(model, encoder, TASKS, settings.gate_steps, random.Random(1))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, learnt[name])}
    assert changed == {name for name in learnt if name.startswith("gating.layers.")}


def test_the_gate_learns_what_is_preferred(tokenizer: PreTrainedTokenizerBase, encoder: Encoder) -> None:
    model = new_reward_model(new_policy(NETWORK, tokenizer, seed=1), seed=1)
    settings = RewardModelSettings(steps=60, batch_size=16, learning_rate=3.0e-3)
    learn_objectives(model, encoder, TASKS, settings, random.Random(1))
    pairs = [converse(encoder, TASKS, Style(correct=0.5, **STYLE), random.Random(seed)) for seed in (5, 6)]
    first, second = (torch.tensor([quality(one.task, one.response) for one in half]) for half in pairs)
    preferred = torch.sigmoid(PREFERENCE_SLOPE * (first - second))
    losses = []
    for steps in (0, 300):
        learn_gate(model, encoder, TASKS, steps, random.Random(1))
        scores = [score(model, tokenizer, half) for half in pairs]
        chance = torch.sigmoid(PREFERENCE_SLOPE * (scores[0] - scores[1]))
        losses.append(-(preferred * chance.log() + (1 - preferred) * (1 - chance).log()).mean())
    assert losses[1] < losses[0]


def score(
    model: ArmoRewardModel, tokenizer: PreTrainedTokenizerBase, conversations: list[Conversation]
) -> torch.Tensor:
    groups = [
        PromptGroup(one.token_ids[: one.prompt_length], [one.token_ids[one.prompt_length :]]) for one in conversations
    ]
    attention = model.model.config._attn_implementation
    with torch.no_grad():
        scores = ArmoScorer(model, tokenizer)(Pack(groups, torch.device("cpu"))).values
    model.model.set_attn_implementation(attention)
    return scores
