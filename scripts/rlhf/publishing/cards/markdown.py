"""Cards are Markdown with a front matter, as the hub reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from rlhf.publishing.cards.facts import Facts, KnownSource
from rlhf.publishing.cards.licences import licence_in_words

UNKNOWN = "not known"


def card(front_matter: Mapping[str, Any], *sections: str) -> str:
    """A card; sections without text are left out."""
    text = yaml.safe_dump(dict(front_matter), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def sources_table(facts: Facts) -> str:
    """What the results derive from."""
    rows = [
        (f"`{known.source.key}`", _where(known), known.commit or known_digest(known), licence_in_words(known.licence))
        for known in facts.sources
    ]
    about = (
        "A licence is what the source's own card states; where it is unknown, the source has no card that could be "
        "read here. Whoever uses what derives from a source has to keep its licence."
    )
    return f"## Sources\n\n{table(('key', 'source', 'revision or digest', 'licence'), rows)}\n\n{about}"


def known_digest(known: KnownSource) -> str:
    """The digest of a local model; empty for others."""
    model = known.source.model
    return (model.fingerprint or "") if model is not None else ""


def evaluation_table(facts: Facts, policies: Sequence[str]) -> str:
    """Win rates with their intervals, by judge."""
    rows = [
        (
            row["policy"],
            row["judge"],
            f"{row['mean_reward']:.4g}",
            _interval(row, "win_rate"),
            _interval(row, "length_controlled_win_rate", "length_controlled"),
            row.get("prompts", ""),
        )
        for row in facts.evaluations(policies)
    ]
    about = (
        "Win rates in percent against `base`, ties half, with intervals over the test prompts; the judge `reward` is "
        "the reward that training saw."
    )
    header = ("policy", "judge", "mean score", "win rate", "length-controlled", "test prompts")
    return f"## Evaluation\n\n{about}\n\n{table(header, rows)}"


def _interval(row: Mapping[str, Any], name: str, bounds: str | None = None) -> str:
    value = row.get(name)
    low, high = row.get(f"{bounds or name}_low"), row.get(f"{bounds or name}_high")
    if value is None:
        return ""
    return f"{100 * value:.1f}" + ("" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]")


def _where(known: KnownSource) -> str:
    source = known.source
    if known.hub_name:
        kind = "datasets/" if source.dataset else ""
        return f"[{known.hub_name}](https://huggingface.co/{kind}{known.hub_name})"
    if source.made_here:
        return f"made by the experiment itself: `{source.made_here}` in the dataset"
    name = source.model.name if source.model else source.dataset.name if source.dataset else UNKNOWN
    return f"a local {'folder' if source.model else 'file'}, `{name}`"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
