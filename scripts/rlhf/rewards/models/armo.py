"""A native implementation of ArmoRM: a Llama backbone, a linear head per objective, and a gate that mixes them.

The published model (RLHFlow/ArmoRM-Llama3-8B-v0.1) is remote code that current versions of transformers cannot load.
This module reads and writes the same checkpoints: the tensors `model.*`, `regression_layer.weight`,
`reward_transform_matrix`, `gating.layers.{i}.weight`, `gating.layers.{i}.bias`, `gating.logit_scale`. The sizes of the
heads are inferred from the tensors.

Source of the formulas: Wang et al. 2024, "Interpretable Preferences via Multi-Objective Reward Modeling and
Mixture-of-Experts", and the model's own code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from rlhf.base.errors import UserError
from rlhf.models.files import refuse_pickled_weights
from rlhf.models.pretrained import load_pretrained
from rlhf.models.weights import require_numbers
from rlhf.rewards.models.packed_scoring import PackScores
from rlhf.tokens.packed_attention import packed_hidden_states
from rlhf.tokens.packing import Pack

DEFAULT_GATING_TEMPERATURE = 10.0
PUBLISHED_ARCHITECTURE = "LlamaForRewardModelWithGating"
PUBLISHED_OBJECTIVES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)


class GatingNetwork(nn.Module):
    """Weights of the objectives from the prompt's hidden state: a ReLU MLP, a softmax with temperature, and a scale."""

    def __init__(self, sizes: list[int], temperature: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.logit_scale = nn.Parameter(torch.ones(1))
        self.temperature = temperature

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (batch, hidden) to weights (batch, objectives)."""
        for layer in self.layers[:-1]:
            hidden = layer(hidden).relu()
        return torch.softmax(self.layers[-1](hidden) / self.temperature, dim=-1) * self.logit_scale


class ArmoRewardModel(nn.Module):
    """A reward model with the architecture of ArmoRM. The backbone has any dtype; heads and scores are float32.

    Args:
        config: config of the backbone; may have `gating_temperature` and `objective_names`.
        objectives: number of objectives.
        gating_sizes: widths of the gate's hidden layers.
    """

    def __init__(self, config: LlamaConfig, objectives: int, gating_sizes: list[int]) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives), requires_grad=False)
        temperature = float(getattr(config, "gating_temperature", DEFAULT_GATING_TEMPERATURE))
        self.gating = GatingNetwork([config.hidden_size, *gating_sizes, objectives], temperature)
        self.objective_names = _objective_names(config, objectives)

    def forward(self, pack: Pack, turn_ends: Tensor) -> PackScores:
        """Score the conversations of a pack.

        Args:
            turn_ends: for each response, the index in the pack of the token that ends the user's turn, which the gate
                reads, int64 (responses,). Computed from the prompt's length, since text could mislead a search.
        """
        hidden = packed_hidden_states(self.model, pack)
        gate = self.gating(hidden[turn_ends].float())
        objectives = self.regression_layer(hidden[pack.last_tokens()].float())
        return PackScores((gate * (objectives @ self.reward_transform_matrix)).sum(-1), objectives)

    @classmethod
    def from_folder_or_hub(
        cls, name: str, revision: str | None, dtype: torch.dtype, device: torch.device
    ) -> ArmoRewardModel:
        """Load a checkpoint, sharded or not, onto `device`: the backbone as `dtype`, the heads as float32.

        Raises:
            UserError: there is no such checkpoint, or it has another architecture.
        """
        config = load_pretrained(LlamaConfig, "reward model", name, revision)
        tensors = _read_tensors(_weight_files(name, revision), dtype, device)
        with torch.device("meta"):
            model = cls(config, *_head_sizes(name, tensors))
        _check_tensors(name, tensors, model.state_dict())
        model.load_state_dict(tensors, assign=True)
        # Not in the checkpoint: computed from the config, and still on the meta device.
        model.model.rotary_emb = LlamaRotaryEmbedding(config).to(device)
        return model.eval()

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors` in the published layout into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.architectures = [PUBLISHED_ARCHITECTURE]
        self.config.num_objectives = len(self.objective_names)
        self.config.objective_names = list(self.objective_names)
        self.config.gating_temperature = self.gating.temperature
        self.config.gating_n_hidden = len(self.gating.layers) - 1
        self.config.gating_hidden_dim = self.gating.layers[0].out_features
        self.config.save_pretrained(folder)
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in self.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _objective_names(config: LlamaConfig, objectives: int) -> tuple[str, ...]:
    """Names from the config, or the published ones, or numbered ones."""
    names = getattr(config, "objective_names", None)
    if names is None and objectives == len(PUBLISHED_OBJECTIVES) and config.architectures == [PUBLISHED_ARCHITECTURE]:
        return PUBLISHED_OBJECTIVES
    names = tuple(names or (f"objective_{index}" for index in range(objectives)))
    if len(names) != objectives:
        raise UserError(f"objective_names in config.json: {len(names)} names for {objectives} objectives")
    return names


def _head_sizes(name: str, tensors: Mapping[str, Tensor]) -> tuple[int, list[int]]:
    """Number of objectives and widths of the gate's hidden layers, from the shapes of the tensors."""
    if "regression_layer.weight" not in tensors or "gating.layers.0.weight" not in tensors:
        raise UserError(
            f"{name}: not a reward model like ArmoRM: it has no `regression_layer.weight` or no `gating.layers`"
        )
    layers = sum(key.startswith("gating.layers.") and key.endswith(".weight") for key in tensors)
    widths = [tensors[f"gating.layers.{index}.weight"].shape[0] for index in range(layers)]
    return tensors["regression_layer.weight"].shape[0], widths[:-1]


def _read_tensors(files: Sequence[Path], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Read all tensors onto `device`: the backbone's as `dtype`, the heads' as float32.

    Raises:
        UserError: a file is damaged, or a tensor has NaN or infinite values.
    """
    tensors = {}
    for path in files:
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                for key in file.keys():  # noqa: SIM118 (not a dict: it cannot be iterated)
                    tensor = file.get_tensor(key)
                    require_numbers(tensor, key, str(path))
                    tensors[key] = tensor.to(dtype if key.startswith("model.") else torch.float32)
        except SafetensorError as error:
            raise UserError(f"{path}: not a complete safetensors file ({error}); download or copy it again") from error
    return tensors


def _check_tensors(name: str, tensors: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> None:
    """Raise UserError if tensors are missing, unexpected, or have the wrong shape."""
    missing, unknown = sorted(needed.keys() - tensors.keys()), sorted(tensors.keys() - needed.keys())
    other = [
        f"{key} {list(tensors[key].shape)} for {list(needed[key].shape)}"
        for key in sorted(tensors.keys() & needed.keys())
        if tensors[key].shape != needed[key].shape
    ]
    if missing or unknown or other:
        raise UserError(
            f"{name}: not the reward model that its config.json describes: missing tensors {missing[:5]}, unknown "
            f"{unknown[:5]}, of another shape {other[:5]}"
        )


def _weight_files(name: str, revision: str | None) -> list[Path]:
    """The safetensors files of a folder or of a hub repository (downloaded into the cache).

    Raises:
        UserError: there are none, there are only pickles, or a shard in the index is missing.
    """
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(name, revision=revision, allow_patterns=["*.safetensors*"]))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        files = [folder / shard for shard in shards]
    else:
        files = sorted(folder.glob("*.safetensors"))
    absent = [file.name for file in files if not file.is_file()]
    if not files:
        refuse_pickled_weights(name, revision)
    if absent or not files:
        raise UserError(f"{name}: no weights: {', '.join(absent) or 'no safetensors file'} in this folder")
    return files
