"""What the report shows, read from the artifacts. A policy's name is the name of its folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import split_name
from rlhf.benchmarks.schema import SUMMARY
from rlhf.evaluation.schema import EVALUATION, LENGTH_CONTROL
from rlhf.evaluation.scored_responses import ScoredResponses, read_scored_responses
from rlhf.logprobs.schema import DRIFT, Drift
from rlhf.pairs.schema import read_pair_table
from rlhf.report.examples import ANSWERS, Example, choose_examples
from rlhf.report.settings import ReportSpec
from rlhf.report.sweeps.results import SweepResult, read_sweeps
from rlhf.training.schema import TRAINING

CONTROLLED = (
    "length_controlled_win_rate",
    "length_controlled_low",
    "length_controlled_high",
    "difficulty_from",
    "unknown",
    "compared",
    "common_prompts",
    "better_than",
    "length_controlled_better_than",
)
AGAINST_ITSELF = {**dict.fromkeys(CONTROLLED, 0), **dict.fromkeys(CONTROLLED[:3], 0.5), "unknown": None}
"""Of `base`, the reference of all comparisons."""


@dataclass(frozen=True)
class ReportFiles:
    """Input files, laid out as in the pipeline: `<policy>/evaluation.parquet`, `<policy>/rewards/<part>.parquet`."""

    evaluations: Sequence[Path]
    length_control: Path
    benchmarks: Path | None
    prompts: Path
    responses: Sequence[Path]
    rewards: Sequence[Path]
    judgements: Sequence[Path] = ()
    training: Sequence[Path] = ()
    pairs: Sequence[Path] = ()
    sweeps: Sequence[Path] = ()
    drift: Sequence[Path] = ()


@dataclass(frozen=True)
class PairStatistics:
    """The pairs of a policy."""

    number: int
    margins: pa.Array
    """Reward of chosen less reward of rejected, of the pairs that have rewards, float64."""
    counts: dict[str, int]
    """What was counted when they were made: prompts, pairs, and what was dropped by reason."""


@dataclass(frozen=True)
class Scores:
    """The scores of a policy's test responses by one judge."""

    valid: pa.Array
    """Those that there are, float32, by prompt and draw."""
    prompts: int
    responses: int
    draws: int
    """Responses of a prompt, at most."""
    invalid: dict[str, int]
    """Responses without a score, by why."""

    @classmethod
    def of(cls, found: ScoredResponses) -> "Scores":
        rows = found.draws
        invalid = Counter(rows.filter(rows["reward"].is_null())["invalid"].to_pylist())
        return cls(found.valid(), len(found.counts), len(rows), int(found.counts.max()), dict(invalid))


@dataclass(frozen=True)
class Policy:
    """Everything the page shows about one policy."""

    name: str
    evaluations: dict[str, dict[str, Any]]
    """Rows of evaluation and length control, by judge: `reward`, and `judge` where there is one."""
    rewards: Scores
    judgements: Scores | None
    prompt_ids: pa.Array = field(repr=False)
    """Of the test prompts, ascending."""
    judging: dict[str, Counter[str]]
    """What a language model as a judge counted (`pairs`, `disagreements`, `asked_again`), by `reward` and `judge`."""
    training: pa.Table | None = None
    pairs: PairStatistics | None = None
    drift: Drift | None = None
    """Of a trained policy, where it was measured."""
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the first file of each kind of artifact."""

    @property
    def variant(self) -> str:
        """The training recipe; of `base` it is `base`."""
        return split_name(self.name)[0]

    @property
    def iteration(self) -> int:
        """Training iteration, from 1; 0 for `base`."""
        return split_name(self.name)[1]


@dataclass(frozen=True)
class Material:
    """Everything on the page."""

    spec: ReportSpec
    policies: list[Policy]
    examples: list[Example]
    benchmarks: list[dict[str, Any]]
    """Rows of the summary of the benchmarks; empty where none were run."""
    sweeps: list[SweepResult]


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
        "drift": _by_policy(spec, files.drift, 1),
    }
    required = ["evaluation", "responses", "rewards", *(["judgements"] if spec.judge_label is not None else [])]
    for kind in required:
        missing = [policy for policy in spec.policies if policy not in grouped[kind]]
        if missing:
            raise UserError(f"no {kind} of {', '.join(missing)}: give the files of every policy in `policies`")
    controlled = read_length_control(files.length_control)
    policies = [
        _read_policy(name, {kind: paths.get(name, []) for kind, paths in grouped.items()}, spec, controlled)
        for name in spec.policies
    ]
    answers = {
        policy.name: (policy.prompt_ids, {kind: grouped[kind].get(policy.name, []) for kind in ANSWERS})
        for policy in policies
    }
    benchmarks = [] if files.benchmarks is None else SUMMARY.read(files.benchmarks).to_pylist()
    examples = choose_examples(spec.examples, files.prompts, answers)
    return Material(spec, policies, examples, benchmarks, read_sweeps(files.sweeps))


def _by_policy(spec: ReportSpec, paths: Iterable[Path], depth: int) -> dict[str, list[Path]]:
    """Group files by the name of the folder `depth` levels above them."""
    grouped: dict[str, list[Path]] = {}
    for path in sorted(paths):
        name = path.absolute().parents[depth - 1].name
        if name not in spec.policies:
            raise UserError(f"{path}: {name!r}, the name of its folder, is none of {', '.join(spec.policies)}")
        grouped.setdefault(name, []).append(path)
    return grouped


Controlled = dict[tuple[str, str], dict[str, Any]]
"""The columns `CONTROLLED`, by judge and policy."""


def read_length_control(path: Path) -> Controlled:
    """The rows of the length control, without the win rates that the evaluations have too."""
    columns = ["judge", "policy", *CONTROLLED]
    rows = LENGTH_CONTROL.read(path, columns).to_pylist()
    return {(row["judge"], row["policy"]): {name: row[name] for name in CONTROLLED} for row in rows}


def _read_policy(name: str, paths: Mapping[str, list[Path]], spec: ReportSpec, controlled: Controlled) -> Policy:
    evaluations = {row["judge"]: row for path in paths["evaluation"] for row in EVALUATION.read(path).to_pylist()}
    wanted = {"reward", "judge"} if spec.judge_label is not None else {"reward"}
    if not wanted <= evaluations.keys():
        raise ArtifactError(
            f"{paths['evaluation'][0]}: rows for the judges {sorted(evaluations)}, and the report needs "
            f"{sorted(wanted)}. Run evaluate_policy with the judgements, or set judge_label to null."
        )
    for judge, row in evaluations.items():
        if name != "base" and (judge, name) not in controlled:
            raise UserError(f"no length control of {name} by {judge}: run length_control with its comparisons")
        row.update(controlled.get((judge, name), AGAINST_ITSELF))
    kinds = {"reward": paths["rewards"], **({"judge": paths["judgements"]} if paths["judgements"] else {})}
    scored = read_scored_responses(paths["responses"], kinds)
    return Policy(
        name,
        evaluations,
        rewards=Scores.of(scored["reward"]),
        judgements=Scores.of(scored["judge"]) if "judge" in scored else None,
        prompt_ids=scored["reward"].prompt_ids,
        judging={kind: _judging(found) for kind, found in kinds.items()},
        training=TRAINING.read(paths["training"][0]) if paths["training"] else None,
        pairs=_read_pairs(paths["pairs"]) if paths["pairs"] else None,
        drift=Drift.of(DRIFT.read(paths["drift"][0])) if paths["drift"] else None,
        provenance={kind: read_provenance(found[0]) for kind, found in paths.items() if found},
    )


def _judging(paths: Sequence[Path]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(read_provenance(path).get("judging", {}))
    return counts


def _read_pairs(paths: Sequence[Path]) -> PairStatistics:
    number = 0
    margins: list[pa.Array] = []
    counts: Counter[str] = Counter()
    for path in paths:
        table = read_pair_table(path, ["chosen_reward", "rejected_reward"])
        chosen, rejected = (table[f"{side}_reward"].cast(pa.float64()) for side in ("chosen", "rejected"))
        found = pc.subtract(chosen, rejected)
        number += len(found)
        margins += found.filter(pc.is_finite(found)).chunks
        counts.update(flat_counts(read_provenance(path).get("counts", {})))
    return PairStatistics(number, pa.chunked_array(margins, pa.float64()).combine_chunks(), dict(counts))


def flat_counts(counts: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Flatten nested counts: `{"dropped": {"tie": 3}}` as `{"dropped: tie": 3}`."""
    flat: dict[str, int] = {}
    for name, value in counts.items():
        if isinstance(value, Mapping):
            flat |= flat_counts(value, f"{prefix}{name}: ")
        else:
            flat[prefix + name] = value
    return flat
