"""The card of the published dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import yaml

from rlhf.base.provenance import digest
from rlhf.publishing.cards.facts import Facts
from rlhf.publishing.cards.markdown import card, evaluation_table, sources_table, table
from rlhf.publishing.places import DEFAULT, configs

WHAT = {
    "preferences": "pairs in the columns of TRL and alignment-handbook",
    "prompts": "all prompts: train parts are rows from its start, test parts from its end",
    "contamination": "prompts that were dropped as questions of benchmarks",
    "responses": "all draws, as text and as the tokens that were sampled",
    "rewards": "the rewards of these draws, and their objectives",
    "scores": "the scores behind combined rewards",
    "judgements": "the independent judge's scores of test draws",
    "pairs": "chosen and rejected draws, as training reads them",
    "logprobs": "log-probabilities of these pairs under the reference",
    "examples": "desirable and undesirable draws, as training reads them",
    "example_logprobs": "log-probabilities of these examples under the reference",
    "training": "metrics by optimizer step",
    "evaluation": "win rates against `base`",
    "comparisons": "each draw against those of `base`",
    "length_control": "win rates at equal length",
    "benchmarks": "scores in benchmarks",
}
"""By the kind of file that a dataset is made of."""


def dataset_card(facts: Facts, datasets: Mapping[str, dict[str, str]], files: Mapping[str, int], name: str) -> str:
    """The card's text.

    Args:
        datasets: name -> split -> pattern of its files.
        files: path of each Parquet file in the dataset's folder -> rows.
        name: what `load_dataset` is given: the repository, or the folder.
    """
    spec = facts.spec
    front_matter = {
        "pretty_name": spec.experiment,
        "tags": ["rlhf", "preferences"],
        "configs": configs(dict(datasets)),
    }
    return card(
        front_matter,
        _introduction(facts, name, paired=any(each.endswith("_pairs") for each in datasets)),
        _datasets_section(datasets, files),
        sources_table(facts),
        _counts_section(facts),
        evaluation_table(facts, ["base", *spec.policies]),
        _reproduction_section(facts, name),
        "## Settings\n\nThe experiment's file, `experiment.yaml`; `{results}` stands for the folder of its results, "
        f"here for this dataset.\n\n```yaml\n{settings_text(facts)}```",
    )


def settings_text(facts: Facts) -> str:
    """The experiment's file, without what concerns one machine alone."""
    return yaml.safe_dump(facts.spec.configuration, sort_keys=False, allow_unicode=True, width=120)


def _introduction(facts: Facts, name: str, *, paired: bool) -> str:
    learned = "preference pairs" if paired else "examples"
    first = (
        f'pairs = load_dataset("{name}", split="train")  # {DEFAULT}: for TRL\'s DPOTrainer, as it is'
        if paired
        else f'examples = load_dataset("{name}", "base_examples", split="train")'
    )
    return f"""# {facts.spec.experiment}

Prompts, responses, rewards, {learned} and log-probabilities of an experiment in reinforcement learning from \
human feedback, from which {", ".join(f"`{policy}`" for policy in facts.spec.policies)} were trained. Of the policies, \
`base` is the model that training starts from, and `rebel-2`, say, is the second iteration of a variant `rebel`.

```python
from datasets import load_dataset

{first}
draws = load_dataset("{name}", "base_responses", split="train")
rewards = load_dataset("{name}", "base_rewards", split="train")  # of the same rows in the same order
```"""


def _datasets_section(datasets: Mapping[str, dict[str, str]], files: Mapping[str, int]) -> str:
    rows = [
        (
            f"`{name}`",
            ", ".join(f"{split} {_rows(pattern, files):,}" for split, pattern in splits.items()),
            _what(min(splits.values())),
        )
        for name, splits in datasets.items()
    ]
    return f"## Datasets\n\n{table(('name', 'splits and their rows', 'what it is'), rows)}"


def _rows(pattern: str, files: Mapping[str, int]) -> int:
    start, _, end = pattern.partition("*")
    return sum(rows for place, rows in files.items() if place.startswith(start) and place.endswith(end))


def _what(pattern: str) -> str:
    parts = PurePosixPath(pattern).with_suffix("").parts
    return WHAT.get(parts[1] if len(parts) > 1 else parts[0], "")


def _counts_section(facts: Facts) -> str:
    rows = list(facts.counts())
    return f"## Counts, and what was dropped and why\n\n{table(('files', 'counted', 'number'), rows)}" if rows else ""


def _reproduction_section(facts: Facts, name: str) -> str:
    on_hub = facts.spec.settings.upload
    where = f"hub:{name}" if on_hub else name
    first = f"hf download --repo-type dataset {name} experiment.yaml --local-dir .\n" if on_hub else ""
    arguments = f"--configfile {'' if on_hub else f'{name}/'}experiment.yaml --config 'reuse=[\"{where}\"]'"
    download = f"snakemake prefetch {arguments}   # downloads the dataset\n" if on_hub else ""
    made = {"prompts.parquet": facts.results / "prompts.parquet"}
    made |= {policy: facts.results / policy / "checkpoint" for policy in facts.spec.policies}
    digests = table(("made", "digest"), [(f"`{label}`", digest(path)) for label, path in made.items()])
    return f"""## Digests, and how to train on it again

Every Parquet file states what made it (its settings, digests of code and inputs, library versions, hub commits) and \
has a checksum of itself in its footer; `sha256sum --check SHA256SUMS` checks all files.

{digests}

With the same version of the pipeline and its libraries, the following takes the files instead of computing them, \
where they are exactly what it would make, and trains. The section `hardware` of your machine is missing in \
`experiment.yaml`: it changes no result.

```
{first}{download}snakemake {arguments}
```"""
