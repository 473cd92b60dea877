"""The tiny reward model: ArmoRM's form on the policy's backbone, taught by the judge's ratings and by preferences."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, mse_loss
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.armo import ASSISTANT_HEADER_TOKENS, ArmoRewardModel
from rlhf.progress import Progress
from rlhf.tiny.conversations import Conversation, Encoder, batches, padded, sample_conversations
from rlhf.tiny.corpus import Style
from rlhf.tiny.grammar import Aspects, aspects, quality, sentences
from rlhf.tiny.optimizer import Optimizer
from rlhf.tiny.settings import RewardModelSettings
from rlhf.tiny.tasks import Task

GATING_SIZES = [64]
GATING_TEMPERATURE = 1.0
GATE_CONVERSATIONS = 4000
GATE_BATCH = 256
GATE_LEARNING_RATE = 3.0e-3
PREFERENCE_SLOPE = 10.0
"""How sure the preferences are: a difference of 0.1 in quality is preferred with a chance of sigmoid(1)."""
STYLE = {"polite": 0.33, "rude": 0.33, "filler": 0.35, "refusal": 0.06}


def new_reward_model(policy: LlamaForCausalLM, fresh_layers: int, seed: int) -> ArmoRewardModel:
    """The policy's backbone with `fresh_layers` more layers, which do nothing yet, below new heads.

    The policy's last hidden state before an answer is its own answer. Layers above it can compare the two.
    """
    torch.manual_seed(seed)
    network = policy.config
    config = LlamaConfig.from_dict({**network.to_dict(), "num_hidden_layers": network.num_hidden_layers + fresh_layers})
    config.gating_temperature = GATING_TEMPERATURE
    config.objective_names = list(Aspects._fields)
    model = ArmoRewardModel(config, len(Aspects._fields), GATING_SIZES)
    model.model.load_state_dict(policy.model.state_dict(), strict=False)
    for layer in model.model.layers[network.num_hidden_layers :]:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    nn.init.zeros_(model.regression_layer.weight)
    return model


def learn_objectives(
    model: ArmoRewardModel, encoder: Encoder, tasks: Sequence[Task], settings: RewardModelSettings, rng: random.Random
) -> None:
    """Regression of the judge's aspects at the end of the response, and of those so far after each sentence."""
    count = settings.steps * settings.batch_size
    # Right and wrong responses to the same tasks: what differs between them is what has to be learnt.
    halves = [sample_conversations(encoder, tasks, Style(correct=share, **STYLE), count // 2, rng) for share in (1, 0)]
    conversations = [conversation for pair in zip(*halves, strict=True) for conversation in pair]
    ends = sentence_end_ids(encoder)
    optimizer = Optimizer([*model.model.parameters(), *model.regression_layer.parameters()], settings, settings.steps)
    with Progress(settings.steps, "steps", "learn objectives") as progress:
        for batch in batches(conversations, settings.batch_size, rng):
            loss = objective_loss(model, batch, ends)
            optimizer.step(loss)
            progress.advance(loss=f"{loss.item():.3f}")


def objective_loss(model: ArmoRewardModel, conversations: Sequence[Conversation], ends: frozenset[int]) -> Tensor:
    """Mean squared error of the objectives at the rated positions."""
    hidden = model.hidden_states(padded(conversations)[0])
    rated = [
        (row, position, rating)
        for row, conversation in enumerate(conversations)
        for position, rating in ratings(conversation, ends)
    ]
    rows, positions, targets = zip(*rated, strict=True)
    return mse_loss(model.regression_layer(hidden[list(rows), list(positions)]), torch.tensor(targets))


def ratings(conversation: Conversation, ends: frozenset[int]) -> list[tuple[int, Aspects]]:
    """Positions with the judge's ratings: after each sentence of the response so far, and at its end of turn."""
    found = sentences(conversation.response)
    places = [
        position
        for position, token in enumerate(conversation.token_ids)
        if position >= conversation.prompt_length and token in ends
    ]
    rated = [aspects(conversation.task, " ".join(found[: index + 1])) for index in range(len(found))]
    return [*zip(places, rated, strict=True), (len(conversation.token_ids) - 1, rated[-1])]


def sentence_end_ids(encoder: Encoder) -> frozenset[int]:
    """Tokens that end with a full stop or an exclamation mark."""
    texts = ((token, encoder.tokenizer.decode([token])) for token in range(len(encoder.tokenizer)))
    return frozenset(token for token, text in texts if text.endswith((".", "!")))


def learn_gate(
    model: ArmoRewardModel, encoder: Encoder, tasks: Sequence[Task], settings: RewardModelSettings, rng: random.Random
) -> None:
    """Bradley-Terry learning of the gate from preferences by true quality, everything else frozen."""
    if not settings.gate_steps:
        return
    halves = [
        sample_conversations(encoder, tasks, Style(correct=0.5, **STYLE), GATE_CONVERSATIONS, random.Random(key))
        for key in (rng.random(),) * 2
    ]
    # The same tasks in the same order: only what is sampled for the second half differs.
    raise NotImplementedError
