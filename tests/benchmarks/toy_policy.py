"""A random policy with peaked next-token distributions that hardly ever stops, and random prompts for it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.responses.engine import Request
from rlhf.responses.settings import SamplingSettings
from small_tokenizers import small_tokenizer


def save_toy_policy(folder: Path, options: dict[str, Any]) -> None:
    """Write a random Llama with the tokenizer of the tests.

    Args:
        options: `vocabulary`, `hidden`, `layers`, `heads`, and `spread`, the standard deviation of next-token logits:
            with 5 and 32,000 tokens the nucleus has about ten, as for a trained policy.
    """
    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    config = LlamaConfig(
        vocab_size=options["vocabulary"],
        hidden_size=options["hidden"],
        intermediate_size=options["hidden"] * 11 // 4,
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        num_key_value_heads=options["heads"],
        max_position_embeddings=512,
        initializer_range=0.08,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # The last layer's states have a mean square of one.
        model.lm_head.weight.normal_(std=options["spread"] / options["hidden"] ** 0.5)
        model.lm_head.weight[tokenizer.all_special_ids] = 0.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def toy_requests(options: dict[str, Any]) -> list[Request]:
    """Random prompts of `prompt_tokens` (shortest, longest), sorted by length, with a seed for each of the `draws`."""
    numbers = random.Random(0)
    lengths = sorted(numbers.randint(*options["prompt_tokens"]) for _ in range(options["prompts"]))
    return [
        Request(
            f"{row:03}",
            [numbers.randrange(100, 300) for _ in range(length)],
            [1000 * row + draw for draw in range(options["draws"])],
        )
        for row, length in enumerate(lengths)
    ]


def toy_sampling(options: dict[str, Any]) -> SamplingSettings:
    return SamplingSettings(temperature=0.8, top_p=0.9, max_tokens=options["max_tokens"], precision="float32")
