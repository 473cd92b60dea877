"""Rewards of several draws per prompt with a model like ArmoRM: packs with shared prompts, against single rows."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from chats import conversations as chats
from chats import turns
from rlhf.machine.device import granted_device
from rlhf.machine.progress import Progress
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import score_conversations
from rlhf.tokens.chat import encode_messages, encode_prompt, turn_change_ids
from small_tokenizers import small_tokenizer

OBJECTIVES = 19
LONGEST = 8192
WORDS = [" quick", " brown", " fox", " jumps", " over", " lazy", " dog"]


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Make the model, with SDPA attention for the tutorial's way, and the texts; both sides start from texts."""
    torch.set_num_threads(options["threads"])
    device = torch.device(options["device"])
    if way == "pipeline":
        granted_device(gpus=int(device.type == "cuda"), threads=options["threads"])  # as `score_responses` does first
    tokenizer = AutoTokenizer.from_pretrained(options["tokenizer"]) if "tokenizer" in options else small_tokenizer()
    conversations = real_texts(options) if "texts" in options else made_texts(options, tokenizer)
    model = random_reward_model(options, device)
    asked = sum(len(encode_messages(tokenizer, turns(conversation))) for conversation in conversations)
    layers = sum(parameter.numel() for parameter in model.model.layers.parameters())

    def tutorial() -> tuple[list[float], int]:
        return one_by_one(model, tokenizer, conversations, device), asked

    def pipeline() -> tuple[list[float], int]:
        with Progress(len(conversations), "responses", "scoring") as progress:
            scores = score_conversations(
                ArmoScorer(model, tokenizer),
                device,
                tokenizer,
                chats(conversations),
                LONGEST,
                options["token_budget"],
                progress,
            )
        return [score.value for score in scores if score.value is not None], progress.tokens

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        scores, computed = tutorial() if way == "tutorial" else pipeline()
        seconds = time.perf_counter() - start  # the scores are on the CPU: the GPU is done
        facts = {"seconds": seconds, "tokens": asked, "computed_tokens": computed, "scores": scores}
        if options["matrix_tflops"] is not None:
            facts["matrix_share"] = 2 * layers * computed / seconds / (options["matrix_tflops"] * 1e12)
        return facts

    return work


@torch.inference_mode()
def one_by_one(
    model: ArmoRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: list[tuple[str, str]],
    device: torch.device,
) -> list[float]:
    """The score of each conversation alone: a plain forward pass, and the published formula on its states."""
    turn_change = len(turn_change_ids(tokenizer))
    scores = []
    for prompt, response in conversations:
        ids = encode_messages(tokenizer, [("user", prompt), ("assistant", response)])
        turn_end = len(encode_prompt(tokenizer, prompt)) - turn_change
        hidden = model.model(input_ids=torch.tensor([ids], device=device), use_cache=False).last_hidden_state[0].float()
        objectives = model.regression_layer(hidden[-1]) @ model.reward_transform_matrix
        scores.append(float(model.gating(hidden[turn_end]) @ objectives))
    return scores


def random_reward_model(options: dict[str, Any], device: torch.device) -> ArmoRewardModel:
    """Random weights, the same for both sides; made on the device, in the dtype used there."""
    heads, width = options["heads"], options["hidden"]
    config = LlamaConfig(
        vocab_size=options["vocabulary"],
        hidden_size=width,
        intermediate_size=options.get("intermediate", width * 11 // 4),
        num_hidden_layers=options["layers"],
        num_attention_heads=heads,
        num_key_value_heads=options.get("key_heads", heads // 2),
        max_position_embeddings=LONGEST,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    with device:
        model = ArmoRewardModel(config, OBJECTIVES, [1024, 1024, 1024]).eval()
    model.model.to(getattr(torch, options["precision"]))
    return model


def real_texts(options: dict[str, Any]) -> list[tuple[str, str]]:
    """The first `prompts` of the file, with each of their responses."""
    rows = pq.read_table(options["texts"]).slice(0, options["prompts"]).to_pylist()
    return [(row["prompt"], row[f"response_{draw}"]) for row in rows for draw in range(options["draws"])]


def made_texts(options: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    """Random words of one token each, as many as the options ask for in prompts and responses."""
    numbers = random.Random(0)

    def words(count: int) -> str:
        return "".join(numbers.choices(WORDS, k=count)).strip()

    around = len(encode_prompt(tokenizer, WORDS[0])) - 1
    prompts = [words(options["prompt_tokens"] - around) for _ in range(options["prompts"])]
    return [(prompt, words(options["response_tokens"] - 1)) for prompt in prompts for _ in range(options["draws"])]
