"""The page: one HTML file that makes no network requests."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlhf.benchmarks.catalogue import title
from rlhf.benchmarks.schema import SCORE
from rlhf.report import origin
from rlhf.report.figures import Drawing
from rlhf.report.material import Material, PairStatistics, Policy
from rlhf.report.style import inline, policy_colours
from rlhf.report.summary import Summary, is_best, number, percent
from rlhf.report.sweeps.results import SweepResult, outcome

TEMPLATE = "page.html"
FIRST_COUNTS = {"prompts": 0, "pairs": 1}
"""What leads the table of pairs; reasons for dropping follow by name."""
CONTROL_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Control characters, which HTML forbids, as the signs that Unicode has for them."""


@dataclass(frozen=True)
class PairRow:
    """A line of the table of pairs."""

    policy: str
    counts: dict[str, str]
    median: str
    mean: str


def render(material: Material, summary: Summary, benchmarks: Summary | None, drawings: list[Drawing]) -> str:
    """Render the page as HTML; all text from artifacts is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "percent": percent, "printable": printable, "inline": inline_drawing}
    count_names, pair_rows = pair_table(material)
    return environment.get_template(TEMPLATE).render(
        spec=material.spec,
        policies=material.policies,
        colours=policy_colours([policy.name for policy in material.policies]),
        lead=lead(material),
        facts=facts(material),
        summary=summary,
        benchmarks=benchmarks,
        without_score=without_score(material),
        confidence=confidence(material),
        difficulty=difficulty(material),
        measured_drift=any(policy.drift for policy in material.policies),
        hacked=hacked(material),
        unscored=unscored(material),
        sweeps=[outcome(sweep, _judge_of(sweep, material)) for sweep in material.sweeps],
        disagreements=disagreements(material),
        drawings={group: [drawing for drawing in drawings if drawing.group == group]
                  for group in ("evaluation", "sweeps", "scores", "training", "pairs")},
        count_names=count_names,
        pair_rows=pair_rows,
        examples=material.examples,
        models=origin.models(material),
        versions=origin.versions(material),
        settings=origin.settings(material),
    )  # fmt: skip


def inline_drawing(drawing: Drawing) -> Markup:
    """The SVG of a figure as safe markup: it was made by this program."""
    return Markup(inline(drawing.svg, drawing.title))


def printable(text: str) -> str:
    """The text with control characters made visible."""
    return text.translate(CONTROL_PICTURES)


def lead(material: Material) -> str:
    """The main result in a sentence or two. A policy is only called the best if it is significantly so."""
    trained = [policy for policy in material.policies if policy.iteration]
    if not trained:
        return "No policy was trained: these are the answers of the policy to start from."
    judge = "judge" if material.spec.judge_label is not None else "reward"
    by = {"judge": material.spec.judge_label, "reward": "the reward it was trained on"}
    first = max(trained, key=lambda policy: policy.evaluations[judge]["win_rate"])
    row = first.evaluations[judge]
    wins = (
        f"{percent(row['win_rate'])} % [{percent(row['win_rate_low'])}, {percent(row['win_rate_high'])}] of its "
        f"comparisons with base by {by[judge]}"
    )
    if judge == "judge":
        wins += f", and {percent(first.evaluations['reward']['win_rate'])} % by {by['reward']}"
    prompts = f"{row['common_prompts']:,} test prompt{'' if row['common_prompts'] == 1 else 's'}"
    if len(trained) == 1:
        return f"{first.name} wins {wins}, on {prompts}."
    if is_best(row):
        return (
            f"{first.name} is the best of {len(trained)} trained policies: it wins {wins}. Compared on {prompts}, it "
            "is significantly better than every other one and base, after correction for so many comparisons."
        )
    return (
        f"None of the {len(trained)} trained policies is significantly better than all the others and base, compared "
        f"on {prompts} and corrected for so many comparisons. {first.name} has the highest win rate: {wins}."
    )


def facts(material: Material) -> list[tuple[str, str]]:
    """The size of the experiment: numbers and what they count."""
    first = material.policies[0]
    trained = sum(policy.iteration > 0 for policy in material.policies)
    pairs = sum(policy.pairs.number for policy in material.policies if policy.pairs)
    counted = [
        (trained, "trained policy" if trained == 1 else "trained policies"),
        (first.rewards.prompts, "test prompts"),
        (first.rewards.draws, "responses per prompt"),
        (pairs, "preference pairs"),
    ]
    return [(f"{count:,}".replace(",", "\u202f"), name) for count, name in counted if count]


def confidence(material: Material) -> str | None:
    """Confidence level recorded by the evaluation."""
    level = material.policies[0].provenance["evaluation"].get("spec", {}).get("confidence")
    return None if level is None else f"{100 * level:g}"


def difficulty(material: Material) -> str:
    """From how many policies the length control knows the difficulty of the prompts."""
    counts = [policy.evaluations["reward"]["difficulty_from"] for policy in material.policies if policy.iteration]
    if not any(counts):
        return "It does not know how difficult each prompt is, for lack of other policies: read it with care."
    return f"The difficulty of each prompt is estimated from {min(counts)} other policies; a few of them know little."


def hacked(material: Material) -> list[str]:
    """Policies with a higher reward but a lower judgement than their parent: a sign of reward hacking."""
    if material.spec.judge_label is None:
        return []
    known = {policy.name: policy for policy in material.policies}
    found = []
    for policy in material.policies:
        parent = known.get(_parent(policy)) if policy.iteration else None
        if parent and _rises(policy, parent, "reward") and _rises(parent, policy, "judge"):
            found.append(policy.name)
    return found


def unscored(material: Material) -> list[str]:
    """Policies with unscored test responses, how many, and why."""
    found = []
    for policy in material.policies:
        for label, scored in (("reward", policy.rewards), (material.spec.judge_label, policy.judgements)):
            if scored is not None:
                found += [
                    f"{policy.name}: {count} of {scored.responses} responses have no {label} ({reason})"
                    for reason, count in sorted(scored.invalid.items())
                ]
    return found


def disagreements(material: Material) -> list[str]:
    """How often a language model as a judge preferred another response when the order was swapped."""
    found = []
    for policy in material.policies:
        for kind, counts in policy.judging.items():
            if counts["pairs"]:
                label = "the reward" if kind == "reward" else material.spec.judge_label
                share = percent(counts["disagreements"] / counts["pairs"])
                found.append(f"{share} % of {counts['pairs']} pairs of {policy.name} by {label}")
    return found


def without_score(material: Material) -> list[str]:
    """Policies and benchmarks with questions that have no score."""
    return [
        f"{row['policy']}: {row['without_score']} of {row['questions']} questions of {title(row['benchmark'])}"
        for row in material.benchmarks
        if row["without_score"] and row["metric"] == SCORE
    ]


def pair_table(material: Material) -> tuple[list[str], list[PairRow]]:
    """Column titles of the counts, and one row per policy with pairs."""
    known = [(policy.name, policy.pairs) for policy in material.policies if policy.pairs]
    counted = {name for _, pairs in known for name in pairs.counts}
    names = sorted(counted, key=lambda name: (FIRST_COUNTS.get(name, len(FIRST_COUNTS)), name))
    return names, [_pair_row(policy, pairs, names) for policy, pairs in known]


def _pair_row(policy: str, pairs: PairStatistics, names: list[str]) -> PairRow:
    margins = pairs.margins.to_numpy()
    return PairRow(
        policy,
        {name: f"{pairs.counts.get(name, 0)}" for name in names},
        number(float(np.median(margins)) if len(margins) else None, 3),
        number(math.fsum(margins) / len(margins) if len(margins) else None, 3),
    )


def _judge_of(sweep: SweepResult, material: Material) -> str:
    return str(material.spec.judge_label) if sweep.judge == "judge" else "the reward"


def _parent(policy: Policy) -> str:
    return "base" if policy.iteration == 1 else f"{policy.variant}-{policy.iteration - 1}"


def _rises(policy: Policy, parent: Policy, judge: str) -> bool:
    return policy.evaluations[judge]["mean_reward"] > parent.evaluations[judge]["mean_reward"]
