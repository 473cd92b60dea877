"""The tiny reward model: ArmoRM's form on the policy's backbone, trained on the judge's ratings and on preferences."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.machine.progress import Progress
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.tiny.conversations import Conversation, Encoder, batches, converse, evenly, padded
from rlhf.tiny.corpus import Style
from rlhf.tiny.language.answer_labels import NO_ANSWER, AnswerLabels
from rlhf.tiny.language.grammar import Aspects, aspects, quality, sentences
from rlhf.tiny.language.tasks import Task
from rlhf.tiny.optimizer import Optimizer
from rlhf.tiny.settings import RewardModelSettings
from rlhf.tokens.chat import turn_change_ids

FRESH_LAYERS = 1
GATING_SIZES = [64]
GATING_TEMPERATURE = 1.0
GATE_TASKS = 1024
GATE_BATCH = 256
GATE_LEARNING_RATE = 3.0e-3
FROZEN_BATCH = 64
PREFERENCE_SLOPE = 10.0
"""How sure the preferences are: a difference of 0.1 in quality is preferred with a chance of sigmoid(1)."""
ASPECT_WEIGHTS = Aspects(correctness=4.0, politeness=3.0, brevity=3.0, willingness=1.0)
"""In the loss: correctness is by far the hardest to learn."""
ANSWER_WEIGHT = 0.2
"""Of the auxiliary losses, the given and the right answer."""
STYLE = {
    "polite": 0.33,
    "rude": 0.33,
    "filler": 0.35,
    "gushing": 0.25,
    "refusal": 0.05,
    "evasion": 0.05,
    "hedging": 0.2,
    "mumbling": 0.15,
}
"""Of what the reward model learns from: more kinds of bad responses than the policy gives, for what it might find."""


def new_reward_model(policy: LlamaForCausalLM, seed: int) -> ArmoRewardModel:
    """The policy's backbone with `FRESH_LAYERS` more layers, below new heads.

    The layers below learn which answer is right and which was given, the fresh ones compare the two.
    """
    torch.manual_seed(seed)
    network = policy.config
    layers = network.num_hidden_layers + FRESH_LAYERS
    config = LlamaConfig.from_dict({**network.to_dict(), "num_hidden_layers": layers, "tie_word_embeddings": False})
    config.gating_temperature = GATING_TEMPERATURE
    config.objective_names = list(Aspects._fields)
    model = ArmoRewardModel(config, len(Aspects._fields), GATING_SIZES)
    model.model.load_state_dict(policy.model.state_dict(), strict=False)
    nn.init.zeros_(model.regression_layer.weight)
    return model


class Teacher:
    """The losses of the reward model's regression.

    The objectives alone are learnt very slowly: whether an answer is right is a comparison of two things that the
    network has no reason to represent. So auxiliary heads below the fresh layers, thrown away afterwards, learn what
    the right answer is and which one was given, at every position where the objectives are rated.
    """

    def __init__(self, model: ArmoRewardModel, encoder: Encoder) -> None:
        self.model = model
        self.labels = AnswerLabels()
        self.head = nn.Linear(model.config.hidden_size, 2 * len(self.labels))
        self.ends = sentence_end_ids(encoder)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the regression trains."""
        return [*self.model.model.parameters(), *self.model.regression_layer.parameters(), *self.head.parameters()]

    def loss(self, conversations: Sequence[Conversation]) -> tuple[Tensor, Tensor]:
        """The loss to descend, and the mean squared errors of the objectives (aspects,)."""
        outputs = self.model.model(input_ids=padded(conversations)[0], use_cache=False, output_hidden_states=True)
        places = [self._places(row, conversation) for row, conversation in enumerate(conversations)]
        rows, positions, targets, right, given = zip(*(place for found in places for place in found), strict=True)
        index = (torch.tensor(rows), torch.tensor(positions))
        predicted = self.model.regression_layer(outputs.last_hidden_state[index])
        errors = (predicted - torch.tensor(targets)).square().mean(0)
        below = self.model.model.norm(outputs.hidden_states[-1 - FRESH_LAYERS][index])
        right_logits, given_logits = self.head(below).chunk(2, dim=-1)
        answers = cross_entropy(right_logits, torch.tensor(right))
        if any(label != NO_ANSWER for label in given):
            answers = answers + cross_entropy(given_logits, torch.tensor(given), ignore_index=NO_ANSWER)
        return (errors * torch.tensor(ASPECT_WEIGHTS)).mean() + ANSWER_WEIGHT * answers, errors.detach()

    def _places(self, row: int, conversation: Conversation) -> list[tuple[int, int, Aspects, int, int]]:
        """Row, position, rating, right and given answer, at each place of the conversation that is rated."""
        task = conversation.task
        right = self.labels.right(task)
        return [
            (row, position, aspects(task, text), right, self.labels.given(task, text))
            for position, text in rated_places(conversation, self.ends)
        ]


def learn_objectives(
    model: ArmoRewardModel, encoder: Encoder, tasks: Sequence[Task], settings: RewardModelSettings, rng: random.Random
) -> None:
    """Regression of the judge's aspects at the end of the response, and of those so far after each sentence."""
    chosen = evenly(tasks, settings.steps * settings.batch_size // 2, rng)
    # Right and wrong responses to the same tasks: what differs between them is what has to be learnt.
    right, wrong = (converse(encoder, chosen, Style(correct=share, **STYLE), rng) for share in (1.0, 0.0))
    conversations = [conversation for pair in zip(right, wrong, strict=True) for conversation in pair]
    teacher = Teacher(model, encoder)
    optimizer = Optimizer(teacher.parameters(), settings.learning_rate, settings.steps)
    with Progress(settings.steps, "steps", "learn objectives") as progress:
        for batch in batches(conversations, settings.batch_size, rng):
            loss, errors = teacher.loss(batch)
            optimizer.step(loss)
            progress.advance(error_of_correctness=f"{errors[0].item():.3f}")


def rated_places(conversation: Conversation, ends: frozenset[int]) -> list[tuple[int, str]]:
    """Positions to rate, with the partial response there: around the end of each sentence, and at the end of turn."""
    found = sentences(conversation.response)
    stops = [
        position
        for position, token in enumerate(conversation.token_ids)
        if position >= conversation.prompt_length and token in ends
    ]
    so_far = [" ".join(found[: count + 1]) for count in range(len(found))]
    places = [(stop - before, text) for stop, text in zip(stops, so_far, strict=True) for before in (1, 0)]
    return [*places, (len(conversation.token_ids) - 1, conversation.response)]


def sentence_end_ids(encoder: Encoder) -> frozenset[int]:
    """Tokens that end with a full stop or an exclamation mark."""
    texts = ((token, str(encoder.tokenizer.decode([token]))) for token in range(len(encoder.tokenizer)))
    return frozenset(token for token, text in texts if text.endswith((".", "!")))


def learn_gate(model: ArmoRewardModel, encoder: Encoder, tasks: Sequence[Task], steps: int, rng: random.Random) -> None:
    """Train the gate with the Bradley-Terry loss on preferences by true quality; everything else is frozen."""
    chosen = evenly(tasks, GATE_TASKS, rng)
    style = Style(correct=0.5, **STYLE)
    pairs = [converse(encoder, chosen, style, rng) for _ in range(2)]
    (features, first), (_, second) = (_frozen(model, encoder, half) for half in pairs)
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
def _frozen(model: ArmoRewardModel, encoder: Encoder, conversations: Sequence[Conversation]) -> tuple[Tensor, Tensor]:
    """What the gate reads (conversations, hidden), and the objectives (conversations, objectives)."""
    features, objectives = [], []
    turn_change = len(turn_change_ids(encoder.tokenizer))
    for start in range(0, len(conversations), FROZEN_BATCH):
        batch = conversations[start : start + FROZEN_BATCH]
        token_ids, lengths = padded(batch)
        hidden = model.model(input_ids=token_ids, use_cache=False).last_hidden_state
        rows = torch.arange(len(batch))
        prompt_lengths = torch.tensor([conversation.prompt_length for conversation in batch])
        features.append(hidden[rows, prompt_lengths - turn_change])
        objectives.append(model.regression_layer(hidden[rows, lengths - 1]))
    return torch.cat(features), torch.cat(objectives)
