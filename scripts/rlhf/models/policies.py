"""Loads policies, and their generation configs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.models.files import find_file, refuse_own_code, refuse_pickled_weights
from rlhf.models.pretrained import load_config, load_pretrained
from rlhf.models.weights import check_loading_report, check_numbers

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel


def load_generation_config(name: str, revision: str | None) -> GenerationConfig:
    """The model's generation config; without such a file, the generation settings in its `config.json`.

    Raises:
        UserError: it cannot be read, or the hub cannot be reached.
    """
    from transformers import GenerationConfig

    kind = "generation config"
    try:
        has_file = find_file(name, "generation_config.json", revision) is not None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load a {kind} from {name!r}: {error}") from error
    if has_file:
        config: GenerationConfig = load_pretrained(GenerationConfig, kind, name, revision)
        return config
    return GenerationConfig.from_model_config(load_config(name, revision))


def check_policy_files(name: str, revision: str | None) -> None:
    """The checks of `load_policy` before it reads weights, for engines that load the model themselves.

    Raises:
        UserError: the policy needs custom code, or its weights are pickled.
    """
    refuse_own_code("AutoModelForCausalLM", name, revision)
    refuse_pickled_weights(name, revision)


def load_policy(name: str, revision: str | None, dtype: Precision, device: torch.device) -> PreTrainedModel:
    """Load a causal language model in evaluation mode, with weights in `dtype`, on `device`.

    Raises:
        UserError: there is no such model, or its weights are incomplete, not finite or pickled.
    """
    import torch
    from transformers import AutoModelForCausalLM

    kind = "causal language model"
    model, report = load_model(AutoModelForCausalLM, kind, name, revision, getattr(torch, dtype))
    check_loading_report(name, model, report)
    model = model.to(device).eval()  # type: ignore[arg-type]  # transformers wraps `to` and loses its type
    check_numbers(name, model)
    return model


def load_model(
    loader: Any, kind: str, name: str, revision: str | None, dtype: torch.dtype
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a model, and return it with transformers' `loading_info` for `check_loading_report`.

    Raises:
        UserError: as for `load_pretrained`, or its weights are pickled.
    """
    if Path(name).is_dir():
        refuse_pickled_weights(name, revision)
    try:
        model, report = load_pretrained(
            loader,
            kind,
            name,
            revision,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # check_loading_report refuses them
        )
    except UserError:
        refuse_pickled_weights(name, revision)  # asks the hub, so only after loading safetensors failed
        raise
    return model, report
