"""The trained policy on disk, in Hugging Face form, with its provenance and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rlhf.folders import whole_folder
from rlhf.training import TrainSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_checkpoint(
    folder: Path,
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: TrainSpec,
    metrics: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> None:
    """Weights in the spec's precision, tokenizer with chat template, generation config, provenance, model card."""
    with whole_folder(folder) as temporary:
        policy.to(getattr(torch, spec.precision)).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        text = json.dumps(provenance, indent=2, sort_keys=True)
        (temporary / "provenance.json").write_text(text + "\n")
        (temporary / "README.md").write_text(model_card(spec, metrics))


def model_card(spec: TrainSpec, metrics: Sequence[Mapping[str, Any]]) -> str:
    """What the policy is: parent, loss, recipe, and its last validation."""
    first, last = metrics[0], metrics[-1]
    parent = spec.model.name if spec.model else "the policy that sampled its pairs"
    settings = {**spec.loss.model_dump(), **spec.recipe.model_dump(), "seed": spec.seed}
    lines = [
        f"# {spec.policy}",
        "",
        f"A policy trained on preference pairs by `{spec.loss.name}`, starting from {parent}.",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in settings.items()),
        "",
        "| metric | before | after |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {_shown(first.get(name))} | {_shown(last.get(name))} |"
            for name in ("validation_loss", "sign_agreement")
        ),
        "",
        "`provenance.json` holds the digests of code and inputs, and the versions of the libraries.",
        "",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
