"""The trained policy on disk, in Hugging Face format, with its provenance and a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rlhf.base.files.folders import write_folder_provenance
from rlhf.training.adapters import add_adapters, merge_adapters, save_adapters
from rlhf.training.settings import TrainSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_policy(
    folder: Path,
    policy: PreTrainedModel,
    weights: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    spec: TrainSpec,
) -> None:
    """Save weights in the spec's precision, tokenizer with chat template, generation config, and adapters if any.

    Args:
        policy: the trained policy; its own weights may be sharded over several processes.
        weights: the full weights by their names in `policy`, adapters included.
    """
    if spec.recipe.lora:
        save_adapters(folder / "adapter", weights, spec.recipe.lora)
    plain = plain_policy(policy, weights, spec)
    plain.to(getattr(torch, spec.precision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def describe_policy(
    folder: Path,
    spec: TrainSpec,
    rows: int,
    metrics: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> None:
    """Write provenance and model card.

    Args:
        rows: number of training pairs or examples.
    """
    write_folder_provenance(folder, provenance)
    (folder / "README.md").write_text(model_card(spec, rows, metrics))


def plain_policy(policy: PreTrainedModel, weights: Mapping[str, torch.Tensor], spec: TrainSpec) -> PreTrainedModel:
    """A plain transformers model with these weights and the adapters merged; only merged matrices are copied."""
    with torch.device("meta"):
        plain = type(policy)(policy.config)
        adapters = add_adapters(plain, spec.recipe.lora) if spec.recipe.lora else None
    plain.load_state_dict(weights, assign=True)
    plain.tie_weights()
    plain.generation_config = policy.generation_config
    if adapters is not None:
        merge_adapters(adapters, spec.precision, spec.seed)
    return plain


def model_card(spec: TrainSpec, rows: int, metrics: Sequence[Mapping[str, Any]]) -> str:
    """The model card: start, reference and pairs, loss, recipe, and the validation before and after training."""
    first, last = metrics[0], metrics[-1]
    lineage = spec.lineage
    settings = {**spec.loss.model_dump(), **spec.recipe.model_dump(), "seed": spec.seed}
    lines = [
        f"# {spec.policy}",
        "",
        f"A policy trained by `{spec.loss.name}` on {rows} {_first_source(spec)}{_sources(spec)}",
        "",
        f"- base model: `{lineage.base_model}`",
        f"- prompts: `{lineage.dataset}`",
        *([f"- pairs for `base`: `{lineage.imported}`"] if lineage.imported else []),
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


def _first_source(spec: TrainSpec) -> str:
    """What the policy learned from, and of which policy that is."""
    if spec.loss.unpaired:
        return f"desirable and undesirable responses of `{spec.lineage.parent}`"
    imported = spec.lineage.imported is not None and spec.lineage.parent == "base"
    source = "imported for `base`" if imported else f"of responses of `{spec.lineage.parent}`"
    return f"preference pairs {source}"


def _sources(spec: TrainSpec) -> str:
    """The rest of the sentence about where a policy comes from; short if all is of its parent."""
    lineage = spec.lineage
    share = f" ({100 * spec.earlier_share:g} % of the pairs)" if spec.earlier_share is not None else ""
    earlier = f" and, from earlier iterations, of {_named(lineage.earlier)}{share}" if lineage.earlier else ""
    pooled = f", chosen from a pool with responses of {_named(lineage.responses_of)}" if lineage.responses_of else ""
    if lineage.start is None and not earlier and not pooled:
        start = ", from which it starts."
    else:
        start = f". It starts from `{lineage.first_weights}`."
    return earlier + pooled + start + (f" Its reference is `{lineage.reference}`." if lineage.reference else "")


def _named(policies: Sequence[str]) -> str:
    return ", ".join(f"`{policy}`" for policy in policies)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
