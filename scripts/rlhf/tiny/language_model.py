"""The tiny policy: a small Llama, and how it is trained on conversations."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlhf.machine.progress import Progress
from rlhf.models.policies import load_policy
from rlhf.tiny.conversations import Conversation, batches, padded
from rlhf.tiny.optimizer import Optimizer
from rlhf.tiny.settings import CONTEXT, LearningSettings, NetworkSettings

INITIALIZER_RANGE = 0.08


def new_policy(network: NetworkSettings, tokenizer: PreTrainedTokenizerBase, seed: int) -> LlamaForCausalLM:
    """A Llama with random float32 weights and the vocabulary of the tokenizer."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=network.hidden_size,
        intermediate_size=network.intermediate_size,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        num_key_value_heads=network.heads,
        max_position_embeddings=CONTEXT,
        # The default of 0.02 is made for wide networks: a narrow one starts too slowly with it.
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, do_sample=True
    )
    return model


def load_pretrained_policy(folder: Path) -> LlamaForCausalLM:
    """The policy that `pretrain_tiny_policy` made, on the CPU.

    Raises:
        UserError: see `load_policy`.
    """
    return cast(LlamaForCausalLM, load_policy(str(folder), None, "float32", torch.device("cpu")))


def learn(
    model: LlamaForCausalLM,
    conversations: Sequence[Conversation],
    settings: LearningSettings,
    rng: random.Random,
    description: str,
) -> None:
    """Next-token training on the responses, for `settings.steps` steps of AdamW."""
    optimizer = Optimizer(model.parameters(), settings.learning_rate, settings.steps)
    with Progress(settings.steps, "steps", description) as progress:
        for batch in batches(conversations, settings.batch_size, rng):
            loss = response_loss(model, batch)
            optimizer.step(loss)
            progress.advance(loss=f"{loss.item():.3f}")


def response_loss(model: LlamaForCausalLM, conversations: Sequence[Conversation]) -> Tensor:
    """Mean cross-entropy of the response tokens, end-of-turn tokens included."""
    token_ids, lengths = padded(conversations)
    prompt_lengths = torch.tensor([conversation.prompt_length for conversation in conversations])
    positions = torch.arange(token_ids.shape[1])
    is_response = (positions >= prompt_lengths[:, None]) & (positions < lengths[:, None])
    hidden = model.model(input_ids=token_ids, use_cache=False).last_hidden_state
    # The state before a token predicts it; the head is computed for no others.
    logits = model.lm_head(hidden[:, :-1][is_response[:, 1:]])
    return cross_entropy(logits, token_ids[is_response])
