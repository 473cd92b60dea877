"""What an experiment imports from datasets of the user: which sections say so, their checks, and what programs get."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf.models.source import ModelSource
from rlhf.pairs.imported.settings import ImportedPairSettings, ImportPairsSpec
from rlhf.responses.settings import ImportedSettings
from rlhf.rewards.kinds.combined import CombinedSettings
from workflow.sources import local_fingerprint

OWN_SUBSET = re.compile(r"(base|.+-\d+)_responses")
"""The responses of a policy in a published dataset."""

if TYPE_CHECKING:
    from workflow.experiment import Experiment


def imported_sections(experiment: Experiment) -> dict[str, ImportedSettings | ImportedPairSettings]:
    """The sections of imported data, by their keys in the configuration."""
    sections = {"responses.imported": experiment.responses.imported, "pairs.imported": experiment.pairs.imported}
    return {key: section for key, section in sections.items() if section is not None}


def check_imported(experiment: Experiment) -> None:
    """Raise ValueError for imported data that do not go with the rest of the experiment."""
    for key, section in imported_sections(experiment).items():
        if "{" in section.dataset:
            raise ValueError(f"{key}.dataset: no rule makes {section.dataset!r}; give a file or a hub dataset")
    responses, pairs = experiment.responses.imported, experiment.pairs.imported
    if responses and responses.rewards and isinstance(experiment.rewards, CombinedSettings):
        raise ValueError(
            "responses.imported.rewards: imported rewards are not on the scale of combined ones: score the responses "
            "(`rewards: false`), or name a single scorer"
        )
    if pairs is None:
        return
    if responses and "base" not in experiment.pairs.pool:
        raise ValueError(
            "responses.imported: the pairs of `base` are imported ready-made (`pairs.imported`), so nothing reads its "
            "train responses: leave out one of the two, or add `base` to `pairs.pool`"
        )
    for name, variant in experiment.variants.items():
        if variant.loss.needs_rewards and pairs.chosen_score is None:
            raise ValueError(
                f"variants.{name}.loss: {variant.loss.name} learns from rewards, and imported pairs have none: name "
                "the columns with their scores (`pairs.imported.chosen_score`, `rejected_score`), or take another loss "
                "(dpo, for instance)"
            )


def imported_responses(experiment: Experiment, part: str) -> dict[str, Any]:
    """Settings that `import_responses` and `import_rewards` share."""
    imported = experiment.responses.imported
    assert imported is not None
    return {
        "dataset": imported.dataset,
        "dataset_fingerprint": local_fingerprint(imported.dataset),
        "revision": imported.revision,
        "subset": imported.subset,
        "split": imported.split,
        "column": imported.column,
        "turns": experiment.prompts.turns,
        "template": experiment.prompts.template,
        "rows": experiment.rows(part),
        "draws": experiment.responses.draws,
    }


def imported_rewards(experiment: Experiment, part: str) -> dict[str, Any]:
    """Settings of `import_rewards`."""
    imported = experiment.responses.imported
    assert imported is not None
    dataset, subset = rewards_place(imported)
    place = {"dataset": dataset, "dataset_fingerprint": local_fingerprint(dataset), "subset": subset}
    return {**imported_responses(experiment, part), **place}


def rewards_place(imported: ImportedSettings) -> tuple[str, str | None]:
    """Dataset and subset with the rewards: beside responses that the pipeline itself made, else among them.

    `results/other/base/responses` has them in `results/other/base/rewards`, the subset `base_responses` of a published
    dataset in `base_rewards`.
    """
    if imported.subset is not None and OWN_SUBSET.fullmatch(imported.subset):
        return imported.dataset, imported.subset.removesuffix("responses") + "rewards"
    path = Path(imported.dataset)
    folder, *file = (path,) if path.is_dir() else (path.parent, path.name)
    beside = folder.parent.joinpath("rewards", *file)
    found = folder.name == "responses" and beside.exists()
    return str(beside) if found else imported.dataset, imported.subset


def import_pairs_spec(experiment: Experiment, part: str, model: ModelSource | None) -> ImportPairsSpec:
    """The settings of `import_pairs`, but for the policy whose tokenizer it uses, which is given.

    Raises:
        UserError: a local dataset cannot be read.
    """
    imported = experiment.pairs.imported
    assert imported is not None
    return ImportPairsSpec(
        **imported.model_dump(exclude={"column"}),
        column=prompt_column(experiment),
        turns=experiment.prompts.turns,
        template=experiment.prompts.template,
        dataset_fingerprint=local_fingerprint(imported.dataset),
        min_margin=0.0 if imported.chosen_score is None else experiment.pairs.min_margin,
        rows=experiment.rows(part),
        max_tokens=experiment.responses.max_tokens,
        hide=experiment.responses.hide,
        model=model,
    )


def prompt_column(experiment: Experiment) -> str:
    """The column with the prompts of imported pairs."""
    imported = experiment.pairs.imported
    return (imported and imported.column) or experiment.prompts.column


def imported_from(experiment: Experiment, policies: Collection[str]) -> str | None:
    """The dataset that pairs of these policies were imported from, if those of `base` are among them and were."""
    imported = experiment.pairs.imported
    return imported.dataset if imported is not None and "base" in policies else None
