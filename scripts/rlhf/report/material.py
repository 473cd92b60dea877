"""What the report shows, read from the artifacts. A policy's name is the name of its folder."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlhf.artifacts import ArtifactError, read_provenance
from rlhf.errors import UserError
from rlhf.evaluation import EVALUATION, ScoredResponse, read_scored_responses
from rlhf.pairs import PAIRS
from rlhf.prompts import PROMPTS
from rlhf.report.settings import ReportSpec
from rlhf.training import TRAINING

Scored = dict[str, list[ScoredResponse]]


@dataclass(frozen=True)
class ReportFiles:
    """The artifacts, laid out as in the pipeline: `<policy>/evaluation.parquet`, `<policy>/rewards/<part>.parquet`."""

    evaluations: Sequence[Path]
    prompts: Path
    responses: Sequence[Path]
    rewards: Sequence[Path]
    judgements: Sequence[Path] = ()
    training: Sequence[Path] = ()
    pairs: Sequence[Path] = ()


@dataclass(frozen=True)
class PairStatistics:
    """The pairs of a policy."""

    margins: list[float]
    """Reward of chosen less reward of rejected, one per pair."""
    counts: dict[str, int]
    """What `build_pairs` counted: prompts, pairs, and what was dropped by reason."""


@dataclass(frozen=True)
class Policy:
    """All that is known of one policy."""

    name: str
    evaluations: dict[str, dict[str, Any]]
    """Rows of the evaluation, by judge: `reward`, and `judge` where there is one."""
    rewards: Scored
    judgements: Scored
    training: pa.Table | None = None
    pairs: PairStatistics | None = None
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the first file of each kind of artifact."""

    @property
    def variant(self) -> str:
        """The training recipe; of `base` it is `base`."""
        return split_name(self.name)[0]

    @property
    def iteration(self) -> int:
        """Round of training, from 1; 0 for a policy that no recipe made."""
        return split_name(self.name)[1]


@dataclass(frozen=True)
class Example:
    """One prompt with the first draw of each policy."""

    prompt: str
    answers: dict[str, tuple[ScoredResponse, float | None]]
    """By policy: the response with its reward, and its judgement."""


@dataclass(frozen=True)
class Material:
    """Everything on the page."""

    spec: ReportSpec
    policies: list[Policy]
    examples: list[Example]


def split_name(policy: str) -> tuple[str, int]:
    """Variant and iteration: of `rebel-2` they are `rebel` and 2, of `base` they are `base` and 0."""
    variant, dash, iteration = policy.rpartition("-")
    return (variant, int(iteration)) if dash and iteration.isdigit() else (policy, 0)


def read_material(spec: ReportSpec, files: ReportFiles) -> Material:
    """Read and check all artifacts.

    Raises:
        UserError: a policy of the spec lacks its evaluation or responses, or a file belongs to no policy of the spec.
    """
    grouped = {
        "evaluation": _by_policy(spec, files.evaluations, 1),
        "training": _by_policy(spec, files.training, 1),
        "pairs": _by_policy(spec, files.pairs, 2),
        "responses": _by_policy(spec, files.responses, 2),
        "rewards": _by_policy(spec, files.rewards, 2),
        "judgements": _by_policy(spec, files.judgements, 2),
    }
    required = ["evaluation", "responses", "rewards", *(["judgements"] if spec.judge_label is not None else [])]
    for kind in required:
        missing = [policy for policy in spec.policies if policy not in grouped[kind]]
        if missing:
            raise UserError(f"no {kind} of {', '.join(missing)}: give the files of every policy in `policies`")
    policies = [_read_policy(name, {kind: paths.get(name, []) for kind, paths in grouped.items()}, spec)
                for name in spec.policies]  # fmt: skip
    return Material(spec, policies, _choose_examples(spec, files.prompts, policies))


def _by_policy(spec: ReportSpec, paths: Iterable[Path], depth: int) -> dict[str, list[Path]]:
    """Group files by the folder that lies `depth` levels above them."""
    grouped: dict[str, list[Path]] = {}
    for path in sorted(paths):
        name = path.absolute().parents[depth - 1].name
        if name not in spec.policies:
            raise UserError(f"{path}: {name!r}, the name of its folder, is none of {', '.join(spec.policies)}")
        grouped.setdefault(name, []).append(path)
    return grouped


def _read_policy(name: str, paths: Mapping[str, list[Path]], spec: ReportSpec) -> Policy:
    evaluations = {row["judge"]: row for path in paths["evaluation"] for row in EVALUATION.read(path).to_pylist()}
    wanted = {"reward", "judge"} if spec.judge_label is not None else {"reward"}
    if not wanted <= evaluations.keys():
        raise ArtifactError(
            f"{paths['evaluation'][0]}: rows for the judges {sorted(evaluations)}, and the report needs "
            f"{sorted(wanted)}. Run evaluate_policy with the judgements, or set judge_label to null."
        )
    return Policy(
        name,
        evaluations,
        rewards=read_scored_responses(paths["responses"], paths["rewards"]),
        judgements=read_scored_responses(paths["responses"], paths["judgements"]) if paths["judgements"] else {},
        training=TRAINING.read(paths["training"][0]) if paths["training"] else None,
        pairs=_read_pairs(paths["pairs"]) if paths["pairs"] else None,
        provenance={kind: read_provenance(found[0]) for kind, found in paths.items() if found},
    )


def _read_pairs(paths: Sequence[Path]) -> PairStatistics:
    margins: list[float] = []
    counts: Counter[str] = Counter()
    for path in paths:
        table = PAIRS.read(path, ["chosen_reward", "rejected_reward"])
        chosen, rejected = table["chosen_reward"].to_pylist(), table["rejected_reward"].to_pylist()
        margins += [win - lose for win, lose in zip(chosen, rejected, strict=True)]
        counts.update(flat_counts(read_provenance(path).get("counts", {})))
    return PairStatistics(margins, dict(counts))


def flat_counts(counts: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Nested counts as one level, `{"dropped": {"tie": 3}}` as `{"dropped: tie": 3}`."""
    flat: dict[str, int] = {}
    for name, value in counts.items():
        if isinstance(value, Mapping):
            flat |= flat_counts(value, f"{prefix}{name}: ")
        else:
            flat[prefix + name] = value
    return flat


def _choose_examples(spec: ReportSpec, prompts: Path, policies: Sequence[Policy]) -> list[Example]:
    """Prompts that every policy answers, in the order of a hash: nobody picked them, and they stay the same."""
    if not spec.examples:
        return []
    shared = set.intersection(*(set(policy.rewards) for policy in policies))
    table = PROMPTS.read(prompts, ["prompt_id", "prompt"])
    texts = dict(zip(table["prompt_id"].to_pylist(), table["prompt"].to_pylist(), strict=True))
    unknown = shared - texts.keys()
    if unknown:
        raise ArtifactError(f"{prompts}: no prompt_id={min(unknown)!r}, which the responses answer")
    chosen = sorted(shared, key=lambda prompt_id: hashlib.sha256(prompt_id.encode()).hexdigest())[: spec.examples]
    return [
        Example(texts[prompt_id], {policy.name: _first_draw(policy, prompt_id) for policy in policies})
        for prompt_id in chosen
    ]


def _first_draw(policy: Policy, prompt_id: str) -> tuple[ScoredResponse, float | None]:
    judgement = policy.judgements[prompt_id][0].score if policy.judgements else None
    return policy.rewards[prompt_id][0], judgement
