"""Checks of the experiment against the configurations of its models, as far as those are known here."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.machine.model_shapes import SHIPPED, ModelShape, model_folder
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.tiny.settings import CONTEXT
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.planning.memory_check import policy_shape, scorer_shape

LLAMA_MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Of the tiny world's models, and of those whose shapes the repository ships."""
NO_MATRICES = ("norm", "embed", "lm_head")


def check_models(experiment: Experiment) -> None:
    """Check context lengths, that GPUs divide the attention heads, and that LoRA targets exist.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    _check_contexts(experiment)
    _check_heads(experiment)
    _check_lora_targets(experiment)


def _check_contexts(experiment: Experiment) -> None:
    name, longest = experiment.base_model.name, experiment.responses.max_model_len
    prompt, response = experiment.prompts.max_tokens, experiment.responses.max_tokens
    context = _context(name, policy_shape(experiment))
    if context and prompt + response > context:
        allowed = f"at most {context - prompt}" if prompt + 2 <= context else "a lower prompts.max_tokens"
        raise UserError(
            f"responses.max_tokens: it is {response}, and with prompts.max_tokens ({prompt}) that makes "
            f"{prompt + response} tokens, where {name} has a context of {context}; allowed: {allowed}"
        )
    if context and longest is not None and longest > context:
        raise UserError(
            f"responses.max_model_len: it is {longest}, and {name} has a context of {context} tokens; allowed: at most "
            "that, or null"
        )
    for key, scorer in experiment.scorers().items():
        # The default is no claim: of a shorter model, conversations beyond its context have no reward.
        if not isinstance(scorer, ModelScorer) or "max_tokens" not in scorer.model_fields_set:
            continue
        context = _context(scorer.model, scorer_shape(scorer))
        if context and scorer.max_tokens > context:
            raise UserError(
                f"{key}.max_tokens: it is {scorer.max_tokens}, and {scorer.model} has a context of {context} tokens; "
                "allowed: at most that"
            )


def _context(name: str, shape: ModelShape | None) -> int:
    """Context length of a model in tokens; 0 if unknown."""
    if name.startswith(MADE_BY_RULES):
        return CONTEXT
    return 0 if shape is None else shape.context


def _check_heads(experiment: Experiment) -> None:
    """vLLM splits the attention heads evenly over the GPUs."""
    shape, gpus = policy_shape(experiment), experiment.hardware.generate_responses.gpu
    if shape is not None and gpus and experiment.responses.engine == "vllm" and shape.heads % gpus:
        fitting = ", ".join(str(number) for number in range(1, shape.heads + 1) if shape.heads % number == 0)
        raise UserError(
            f"hardware.generate_responses.gpu: it is {gpus}, and the {shape.heads} attention heads of "
            f"{experiment.base_model.name} are divided among the GPUs of a job; allowed: {fitting}"
        )


def _check_lora_targets(experiment: Experiment) -> None:
    matrices = policy_matrices(experiment)
    for variant in experiment.variants:
        lora = experiment.variants[variant].recipe(experiment.training).lora
        if lora is None or lora.targets == "all-linear" or not matrices:
            continue
        for target in lora.targets:
            if not any(name == target or name.endswith(f".{target}") for name in matrices):
                allowed = sorted({name.rsplit(".", 1)[-1] for name in matrices})
                near = difflib.get_close_matches(target, allowed, n=1)
                own = experiment.variants[variant].lora is not None
                raise UserError(
                    f"{f'variants.{variant}' if own else 'training'}.lora.targets: {experiment.base_model.name} has no "
                    f"matrix {target!r}."
                    + (f" Did you mean {near[0]!r}?" if near else "")
                    + f" Allowed: 'all-linear', or a list of {', '.join(allowed)}"
                )


def policy_matrices(experiment: Experiment) -> list[str]:
    """Names of the weight matrices in the layers of the policy; empty if unknown."""
    name, revision = experiment.base_model.name, experiment.base_model.revision
    if name.startswith(MADE_BY_RULES):
        return list(LLAMA_MATRICES)
    folder = model_folder(name, revision)
    weights = _weight_names(folder) if folder else []
    if not weights and name in json.loads(SHIPPED.read_text()):
        return list(LLAMA_MATRICES)
    modules = {weight.removesuffix(".weight") for weight in weights if weight.endswith(".weight")}
    return sorted(module for module in modules if not any(word in module for word in NO_MATRICES))


def _weight_names(folder: Path) -> list[str]:
    """Tensor names from the index or header of a folder's safetensors; empty if neither can be read."""
    try:
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            return list(json.loads(index.read_text())["weight_map"])
        with (folder / "model.safetensors").open("rb") as file:
            return list(json.loads(file.read(int.from_bytes(file.read(8), "little"))))
    except (OSError, ValueError, KeyError, OverflowError, MemoryError):
        return []  # what is damaged is said where it is loaded
