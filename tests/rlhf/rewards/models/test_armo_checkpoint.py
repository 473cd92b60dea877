"""A checkpoint in ArmoRM's published layout, written tensor by tensor, against a computation in numpy float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from chats import conversations as chats
from rlhf.machine.progress import Progress
from rlhf.rewards.models.armo import PUBLISHED_OBJECTIVES, ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import score_conversations
from rlhf.tokens.chat import encode_messages, encode_prompt
from small_models import CPU
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
VOCABULARY, HIDDEN, MLP, LAYERS, HEADS, KEY_HEADS, WIDTH, OBJECTIVES, GATE = len(TOKENIZER), 32, 48, 2, 4, 2, 8, 19, 24
THETA, EPSILON, TEMPERATURE = 500000.0, 1e-5, 10.0
CONFIG = {
    "architectures": ["LlamaForRewardModelWithGating"],
    "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"},
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "hidden_act": "silu",
    "rms_norm_eps": EPSILON,
    "rope_theta": THETA,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
    "num_labels": OBJECTIVES,
    "gating_temperature": TEMPERATURE,
    "tie_word_embeddings": False,
}
TEXTS = ["what is 2 + 2?", "the quick brown fox", "Hello, world!"]
ANSWERS = ["4", "jumps over the lazy dog", "", "the lazy dog " * 6]
Tensors = dict[str, np.ndarray]


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes as the published checkpoint has them."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        found |= {f"{prefix}.{name}.weight": (HIDDEN,) for name in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{prefix}.self_attn.{name}.weight": (HEADS * WIDTH, HIDDEN) for name in ("q_proj", "o_proj")}
        found |= {f"{prefix}.self_attn.{name}.weight": (KEY_HEADS * WIDTH, HIDDEN) for name in ("k_proj", "v_proj")}
        found |= {f"{prefix}.mlp.{name}.weight": (MLP, HIDDEN) for name in ("gate_proj", "up_proj")}
        found[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, MLP)
    widths = [HIDDEN, GATE, GATE, GATE, OBJECTIVES]
    for index in range(4):
        found[f"gating.layers.{index}.weight"] = (widths[index + 1], widths[index])
        found[f"gating.layers.{index}.bias"] = (widths[index + 1],)
    return found | {
        "gating.logit_scale": (1,),
        "regression_layer.weight": (OBJECTIVES, HIDDEN),
        "reward_transform_matrix": (OBJECTIVES, OBJECTIVES),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensors]:
    """The folder, in two shards, and what lies in it; the backbone is bfloat16, the heads are float32."""
    folder = tmp_path_factory.mktemp("armo")
    random = np.random.default_rng(5)
    tensors = {}
    for name, shape in shapes().items():
        values = random.standard_normal(shape) * 0.3 + (1.0 if "norm" in name else 0.0)
        tensors[name] = torch.tensor(values, dtype=torch.bfloat16 if name.startswith("model.") else torch.float32)
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:12], "model-00002-of-00002.safetensors": names[12:]}
    for shard, kept in shards.items():
        save_file({name: tensors[name] for name in kept}, folder / shard)
    weight_map = {name: shard for shard, kept in shards.items() for name in kept}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    TOKENIZER.save_pretrained(folder)
    return folder, {name: tensor.double().numpy() for name, tensor in tensors.items()}


def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON)


def rotate(x: np.ndarray) -> np.ndarray:
    """Rotary positions on (tokens, heads, width): the first half of a head is paired with the second."""
    frequencies = THETA ** (-np.arange(0, WIDTH, 2) / WIDTH)
    angles = np.arange(len(x))[:, None, None] * frequencies
    first, second = x[..., : WIDTH // 2], x[..., WIDTH // 2 :]
    return np.concatenate(
        [first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)], -1
    )


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def hidden_states(ids: list[int], t: Tensors) -> np.ndarray:
    """A Llama, written out: (tokens, hidden) after the final norm."""
    x = t["model.embed_tokens.weight"][ids]
    for layer in range(LAYERS):
        w = {
            name.split(f"layers.{layer}.")[1]: value
            for name, value in t.items()
            if f"layers.{layer}." in name and name.startswith("model")
        }
        y = norm(x, w["input_layernorm.weight"])
        q = rotate((y @ w["self_attn.q_proj.weight"].T).reshape(len(ids), HEADS, WIDTH))
        k = rotate((y @ w["self_attn.k_proj.weight"].T).reshape(len(ids), KEY_HEADS, WIDTH))
        v = (y @ w["self_attn.v_proj.weight"].T).reshape(len(ids), KEY_HEADS, WIDTH)
        heads = []
        for head in range(HEADS):
            group = head // (HEADS // KEY_HEADS)
            scores = q[:, head] @ k[:, group].T / np.sqrt(WIDTH)
            scores[np.triu_indices(len(ids), 1)] = -np.inf
            heads.append(softmax(scores) @ v[:, group])
        x = x + np.concatenate(heads, -1) @ w["self_attn.o_proj.weight"].T
        y = norm(x, w["post_attention_layernorm.weight"])
        gate = y @ w["mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T
    return norm(x, t["model.norm.weight"])


def straightforward(prompt: str, answer: str, t: Tensors) -> tuple[float, np.ndarray]:
    """Score and objectives of one conversation, by the formulas of the published code."""
    ids = encode_messages(TOKENIZER, [("user", prompt), ("assistant", answer)])
    prompt_ids = encode_prompt(TOKENIZER, prompt)
    end_of_turn = TOKENIZER.convert_tokens_to_ids("<|eot_id|>")
    hidden = hidden_states(ids, t)
    gate = hidden[max(place for place, token in enumerate(prompt_ids) if token == end_of_turn)]
    for index in range(4):
        gate = t[f"gating.layers.{index}.weight"] @ gate + t[f"gating.layers.{index}.bias"]
        gate = np.maximum(gate, 0) if index < 3 else gate
    objectives = t["regression_layer.weight"] @ hidden[-1]
    mixed = softmax(gate / TEMPERATURE) * t["gating.logit_scale"]
    return float(mixed @ (objectives @ t["reward_transform_matrix"])), objectives


@pytest.mark.parametrize("token_budget", [1, 120, 10**6])
def test_scores_of_the_checkpoint(written: tuple[Path, Tensors], token_budget: int) -> None:
    folder, tensors = written
    model = ArmoRewardModel.from_folder_or_hub(str(folder), None, torch.float32, CPU)
    assert model.objective_names == PUBLISHED_OBJECTIVES
    conversations = [(text, answer) for text in TEXTS for answer in ANSWERS]
    with Progress(len(conversations), "responses", "test") as progress:
        found = score_conversations(
            ArmoScorer(model, TOKENIZER), CPU, TOKENIZER, chats(conversations), 4096, token_budget, progress
        )
    for score, (text, answer) in zip(found, conversations, strict=True):
        reward, objectives = straightforward(text, answer, tensors)
        assert score.value == pytest.approx(reward, abs=1e-5)
        assert score.objectives == pytest.approx(objectives.tolist(), abs=1e-5, rel=1e-5)
    assert np.std([score.value for score in found if score.value is not None]) > 0.01
