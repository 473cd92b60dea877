"""Small random models, pairs and specs for tests."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
)

from rlhf.pairs.schema import PAIR_COLUMNS, Pair
from rlhf.prompts.schema import PROMPTS, prompt_id
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.tokens.chat import encode_prompt
from rlhf.tokens.prompt_group import TokenIds
from rlhf.training.settings import RecipeSettings, TrainSpec
from small_tokenizers import small_tokenizer
from warm_python import warm_program

VOCABULARY = 64
STOP_IDS = [5, 9]
CPU = torch.device("cpu")
SCRIPTS = Path(__file__).parents[2] / "scripts"

torch.set_num_threads(1)  # tests share the cores


def small_llama(
    vocabulary: int = VOCABULARY, seed: int = 0, initializer_range: float = 0.25, heads: int = 4
) -> LlamaForCausalLM:
    """A random Llama, float32, whose next-token distributions are far from uniform. Its heads have width 32 / heads."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(_configuration(vocabulary, initializer_range, heads)).eval()


def _configuration(vocabulary: int, initializer_range: float, heads: int = 4) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=max(heads // 2, 1),
        max_position_embeddings=128,
        initializer_range=initializer_range,
        bos_token_id=0,
        eos_token_id=STOP_IDS,
        pad_token_id=None,
    )


def save_small_policy(folder: Path, seed: int = 0, heads: int = 4) -> Path:
    """A policy folder as downloaded from the hub: weights, tokenizer with chat template, generation config."""
    tokenizer = small_tokenizer()
    model = small_llama(len(tokenizer), seed, heads=heads)
    extra_stop = tokenizer.convert_tokens_to_ids("<|end_header_id|>")
    model.generation_config = GenerationConfig(eos_token_id=[tokenizer.eos_token_id, extra_stop], temperature=0.6)
    model.generation_config.do_sample = True
    model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def small_reward_model(vocabulary: int = 400, seed: int = 3) -> ArmoRewardModel:
    """A random ArmoRM-like reward model with three objectives."""
    torch.manual_seed(seed)
    config = _configuration(vocabulary, 0.25)
    config.objective_names = ["correct", "polite", "brief"]
    return ArmoRewardModel(config, objectives=3, gating_sizes=[16]).eval()


def save_small_reward_model(folder: Path, seed: int = 3) -> Path:
    """A reward model folder: weights in the published layout, and its tokenizer."""
    tokenizer = small_tokenizer()
    small_reward_model(len(tokenizer), seed).save(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_small_classifier(folder: Path, tokenizer: Any, labels: int = 1) -> LlamaForSequenceClassification:
    """A random sequence classifier with its tokenizer."""
    torch.manual_seed(4)
    config = _configuration(len(tokenizer), 0.25)
    config.num_labels, config.pad_token_id = labels, len(tokenizer) - 1
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_prompts(path: Path, count: int) -> list[dict[str, Any]]:
    """Write `prompts.parquet` with prompts of several lengths; returns its rows."""
    tokenizer = small_tokenizer()
    texts = [f"what is {index} + {index % 3}? " + "the lazy dog " * (index % 4) for index in range(count)]
    rows = [
        {"prompt_id": prompt_id(text), "prompt": text, "prompt_token_ids": encode_prompt(tokenizer, text)}
        for text in texts
    ]
    PROMPTS.write(path, rows, {})
    return rows


def run_program(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `scripts/<name>.py` for real, but warm."""
    command = [str(warm_program()), str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def random_ids(count: int, generator: torch.Generator, vocabulary: int = VOCABULARY) -> list[int]:
    return torch.randint(vocabulary, (count,), generator=generator).tolist()


def pair_rows(count: int, seed: int = 0, longest: int = 12) -> list[dict[str, Any]]:
    """Rows of `PAIRS` with prompts of 3 to 8 tokens and responses of 1 to `longest` tokens."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    return [
        {
            "prompt_id": f"pair-{seed}-{index}",
            "prompt_token_ids": random_ids(number(3, 8), generator),
            "chosen_token_ids": random_ids(number(1, longest), generator),
            "rejected_token_ids": random_ids(number(1, longest), generator),
            "chosen_draw": 0,
            "rejected_draw": 1,
            "chosen_reward": 0.5 + 0.01 * number(0, 50),
            "rejected_reward": 0.4 - 0.01 * number(0, 50),
            "chosen_win_probability": 0.6,
            "rejected_win_probability": 0.4,
            "chosen": "good",
            "rejected": "bad",
        }
        for index in range(count)
    ]


def random_pairs(count: int, seed: int = 0, longest: int = 12) -> list[Pair]:
    """The pairs of `pair_rows`."""
    return [Pair(**{name: row[name] for name in PAIR_COLUMNS}) for row in pair_rows(count, seed, longest)]


def direct_logprob(policy: PreTrainedModel, prompt: TokenIds, response: TokenIds, temperature: float) -> torch.Tensor:
    """Reference: one unpacked sequence, all logits at once, in the dtype of the weights. Shape ()."""
    logits = policy(torch.tensor([[*prompt, *response]])).logits[0] / temperature
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return rows[torch.arange(len(response)), torch.tensor(response)].sum()


def wpo_weight(policy: PreTrainedModel, pair: Pair, temperature: float) -> float:
    """The weight of WPO: of both responses, exp of the mean over tokens of log p(token) - log sum_v p(v)^2."""
    weight = 1.0
    for response in (pair.chosen_token_ids, pair.rejected_token_ids):
        with torch.no_grad():
            logits = policy(torch.tensor([[*pair.prompt_token_ids, *response]])).logits[0] / temperature
        rows = torch.log_softmax(logits[len(pair.prompt_token_ids) - 1 : -1], dim=-1)
        expected = rows.exp().square().sum(1).log().mean()
        weight *= float((rows[torch.arange(len(response)), torch.tensor(response)].mean() - expected).exp())
    return weight


def with_reference(policy: LlamaForCausalLM, pairs: list[Pair], temperature: float) -> list[Pair]:
    """The pairs with their log-probabilities under `policy`, as returned by `read_pairs`."""

    def logprob(pair: Pair, response: TokenIds) -> float:
        return float(direct_logprob(policy, pair.prompt_token_ids, response, temperature))

    with torch.no_grad():
        return [
            replace(
                pair,
                chosen_logprob=logprob(pair, pair.chosen_token_ids),
                rejected_logprob=logprob(pair, pair.rejected_token_ids),
            )
            for pair in pairs
        ]


def train_spec(loss: dict[str, Any], seed: int = 7, temperature: float = 0.8, **recipe: Any) -> TrainSpec:
    """A spec in float32; `recipe` overrides its defaults."""
    return TrainSpec.model_validate(
        {
            "seed": seed,
            "policy": "trained-1",
            "lineage": {"base_model": "owner/base", "parent": "base", "dataset": "owner/prompts"},
            "model": None,
            "precision": "float32",
            "temperature": temperature,
            "loss": loss,
            "recipe": RecipeSettings(**recipe).model_dump(),
        }
    )


def weights(policy: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().double() for parameter in policy.parameters()])


def loss_by_hand(policy: LlamaForCausalLM, pair: Pair, spec: TrainSpec) -> torch.Tensor:
    """The loss of a pair by its published formula, without packs."""
    chosen, rejected = (
        direct_logprob(policy, pair.prompt_token_ids, response, spec.temperature)
        for response in (pair.chosen_token_ids, pair.rejected_token_ids)
    )
    d = (chosen - pair.chosen_logprob) - (rejected - pair.rejected_logprob)
    if spec.loss.name == "rebel":
        loss = (d - 10.0 * (pair.chosen_reward - pair.rejected_reward)) ** 2 / 10.0
    elif spec.loss.name == "dpo":
        loss = -torch.log(torch.sigmoid(0.5 * d))
    else:
        means = chosen / len(pair.chosen_token_ids) - rejected / len(pair.rejected_token_ids)
        loss = -torch.log(torch.sigmoid(2.5 * means - 1.0))
    if spec.loss.sft_weight:
        loss = loss - spec.loss.sft_weight * chosen / len(pair.chosen_token_ids)
    return loss


def step_by_hand(
    batch: list[Pair], spec: TrainSpec, max_norm: float | None = None
) -> tuple[torch.Tensor, float, float]:
    """Weights after one AdamW step on the mean loss, the published loss and the gradient's norm, all in float64."""
    policy = small_llama().double()
    losses, weighted = [], []
    for pair in batch:
        losses.append(loss_by_hand(policy, pair, spec))
        weighted.append(losses[-1] * (wpo_weight(policy, pair, spec.temperature) if spec.loss.wpo else 1.0))
    loss = torch.stack(losses).mean()
    torch.stack(weighted).mean().backward()
    parameters = list(policy.parameters())
    norm = float(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm())
    factor = 1.0 if max_norm is None else min(1.0, max_norm / norm)
    recipe = spec.recipe
    with torch.no_grad():
        for parameter in parameters:
            assert parameter.grad is not None
            gradient = parameter.grad * factor
            # The first step of AdamW: bias correction leaves the gradient and its square.
            parameter.sub_(recipe.learning_rate * recipe.weight_decay * parameter)
            parameter.sub_(recipe.learning_rate * gradient / (gradient.abs() + recipe.adam_epsilon))
    return weights(policy), float(loss.detach()) * (10.0 if spec.loss.name == "rebel" else 1.0), norm
