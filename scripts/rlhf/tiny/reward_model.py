"""The tiny reward model: ArmoRM's form on the policy's backbone, taught by the judge's ratings and by preferences."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.armo import ASSISTANT_HEADER_TOKENS, ArmoRewardModel
from rlhf.progress import Progress
from rlhf.tiny.conversations import Conversation, Encoder, batches, converse, evenly, padded
from rlhf.tiny.corpus import Style
from rlhf.tiny.grammar import Aspects, aspects, quality, sentences
from rlhf.tiny.optimizer import Optimizer
from rlhf.tiny.settings import RewardModelSettings
from rlhf.tiny.tasks import Task

GATING_SIZES = [64]
GATING_TEMPERATURE = 1.0
GATE_TASKS = 1500
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
    chosen = evenly(tasks, settings.steps * settings.batch_size // 2, rng)
    # Right and wrong responses to the same tasks: what differs between them is what has to be learnt.
    right, wrong = (converse(encoder, chosen, Style(correct=share, **STYLE), rng) for share in (1.0, 0.0))
    conversations = [conversation for pair in zip(right, wrong, strict=True) for conversation in pair]
    ends = sentence_end_ids(encoder)
    trained = [*model.model.parameters(), *model.regression_layer.parameters()]
    optimizer = Optimizer(trained, settings.learning_rate, settings.steps)
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
    so_far = [(place - before, rating) for place, rating in zip(places, rated, strict=True) for before in (1, 0)]
    return [*so_far, (len(conversation.token_ids) - 1, rated[-1])]


def sentence_end_ids(encoder: Encoder) -> frozenset[int]:
    """Tokens that end with a full stop or an exclamation mark."""
    texts = ((token, encoder.tokenizer.decode([token])) for token in range(len(encoder.tokenizer)))
    return frozenset(token for token, text in texts if text.endswith((".", "!")))


def learn_gate(model: ArmoRewardModel, encoder: Encoder, tasks: Sequence[Task], steps: int, rng: random.Random) -> None:
    """Bradley-Terry learning of the gate from preferences by true quality, everything else frozen."""
    chosen = evenly(tasks, GATE_TASKS, rng)
    style = Style(correct=0.5, **STYLE)
    pairs = [converse(encoder, chosen, style, rng) for _ in range(2)]
    features, first = _frozen(model, pairs[0])
    _, second = _frozen(model, pairs[1])
    qualities = torch.tensor([[quality(one.task, one.response) for one in half] for half in pairs])
    preferred = torch.sigmoid(PREFERENCE_SLOPE * (qualities[0] - qualities[1]))
    # Its scale stays one, so that the score is a mean of the objectives and lies in [0, 1] like the true quality.
    optimizer = Optimizer(model.gating.layers.parameters(), GATE_LEARNING_RATE, steps)
    order = torch.Generator().manual_seed(rng.getrandbits(32))
    for _ in range(steps):
        rows = torch.randint(GATE_TASKS, (GATE_BATCH,), generator=order)
        difference = (first[rows] - second[rows]) @ model.reward_transform_matrix
        margin = PREFERENCE_SLOPE * (model.gating(features[rows]) * difference).sum(-1)
        optimizer.step(binary_cross_entropy_with_logits(margin, preferred[rows]))


@torch.no_grad()
def _frozen(model: ArmoRewardModel, conversations: Sequence[Conversation]) -> tuple[Tensor, Tensor]:
    """What the gate reads (conversations, hidden), and the objectives (conversations, objectives)."""
    features, objectives = [], []
    for start in range(0, len(conversations), GATE_BATCH):
        batch = conversations[start : start + GATE_BATCH]
        token_ids, lengths = padded(batch)
        hidden, rows = model.hidden_states(token_ids), torch.arange(len(batch))
        prompt_lengths = torch.tensor([conversation.prompt_length for conversation in batch])
        features.append(hidden[rows, prompt_lengths - ASSISTANT_HEADER_TOKENS])
        objectives.append(model.regression_layer(hidden[rows, lengths - 1]))
    return torch.cat(features), torch.cat(objectives)
