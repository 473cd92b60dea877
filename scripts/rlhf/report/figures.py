"""The figures of the evaluation: win rates, reward against judgement, distributions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from rlhf.report.material import Material, Policy
from rlhf.report.style import INK, MUTED, PAPER, add_legend, new_figure, policy_colours, to_svg

Values = NDArray[np.float32] | NDArray[np.float64]
"""Of a group, one by one."""
BINS = 80
SMOOTHING_BINS = 1.6
"""Standard deviation of the Gaussian that smooths the histograms."""


@dataclass(frozen=True)
class Drawing:
    """A figure of the page."""

    name: str
    """Of its file, without the ending."""
    group: str
    """The section that it belongs to: `evaluation`, `sweeps`, `scores`, `training` or `pairs`."""
    title: str
    caption: str
    svg: str


def evaluation_figures(material: Material) -> Iterator[Drawing]:
    """Win rates, reward against judgement, and the distributions of both, as far as there is data."""
    trained = [policy for policy in material.policies if policy.iteration]
    label = material.spec.judge_label
    if trained:
        yield win_rates(trained, label, [policy.name for policy in material.policies])
    if label is not None and trained:
        yield reward_and_judge(material.policies, label)
    colours = policy_colours([policy.name for policy in material.policies])
    rewards = {policy.name: policy.rewards.valid.to_numpy() for policy in material.policies}
    yield Drawing(
        "rewards",
        "scores",
        "Rewards of the test responses",
        "Smoothed histograms; the dot is the mean. The outline in grey repeats the first policy for comparison.",
        ridges(rewards, colours, "reward", "rewards"),
    )
    if label is not None:
        judgements = {
            policy.name: policy.judgements.valid.to_numpy() for policy in material.policies if policy.judgements
        }
        yield Drawing(
            "judgements",
            "scores",
            f"{label.capitalize()} of the test responses",
            "The same responses, by the independent judge.",
            ridges(judgements, colours, label, "judgements"),
        )


def pair_figure(material: Material) -> Drawing | None:
    """Reward margins of the pairs of each policy; None if no policy has pairs."""
    margins = {policy.name: policy.pairs.margins.to_numpy() for policy in material.policies if policy.pairs}
    margins = {name: values for name, values in margins.items() if len(values)}
    if not margins:
        return None
    svg = ridges(margins, policy_colours(list(margins)), "reward of chosen − reward of rejected", "margins")
    return Drawing("margins", "pairs", "Reward margins of the pairs", "By the policy whose responses were paired.", svg)


def win_rates(trained: Sequence[Policy], label: str | None, order: Sequence[str]) -> Drawing:
    """Win rate against base with its interval, by reward (dot) and by the judge (diamond)."""
    figure, axes = new_figure(1.1 + 0.42 * len(trained))
    colours = policy_colours(order)
    judges = [("reward", "o", "by the reward"), *([("judge", "D", f"by {label}")] if label is not None else [])]
    shift = 0.15 if len(judges) > 1 else 0.0
    for judge, marker, legend in judges:
        offset = -shift if judge == "reward" else shift
        for i, policy in enumerate(trained):
            row, colour = policy.evaluations[judge], colours[policy.name]
            axes.plot(
                [row["win_rate_low"], row["win_rate_high"]], [i + offset] * 2, color=colour, linewidth=2, zorder=2
            )
            face = colour if judge == "reward" else PAPER
            axes.plot(row["win_rate"], i + offset, marker, color=colour, markerfacecolor=face, markersize=6.5,
                      markeredgewidth=1.6, zorder=3)  # fmt: skip
        face = MUTED if judge == "reward" else PAPER
        axes.plot([], [], marker, color=MUTED, markerfacecolor=face, markersize=6.5, markeredgewidth=1.6, label=legend)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(trained)), [policy.name for policy in trained])
    axes.set_ylim(len(trained) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("win rate against base")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    add_legend(figure, axes)
    caption = "Mean over the test prompts with bootstrap intervals; at 50 % a policy is as good as base."
    if label is not None:
        caption += f" A dot far right of its diamond means that the reward overstates what {label} confirms."
    return Drawing("win_rates", "evaluation", "Win rate against base", caption, to_svg(figure, "win_rates"))


def reward_and_judge(policies: Sequence[Policy], label: str) -> Drawing:
    """The path of each variant through its iterations, in the plane of mean reward and mean judgement."""
    figure, axes = new_figure(max(3.4, 1.1 + 0.42 * (len(policies) - 1)))
    colours = policy_colours([policy.name for policy in policies])
    points = {policy.name: (policy.evaluations["reward"]["mean_reward"], policy.evaluations["judge"]["mean_reward"])
              for policy in policies}  # fmt: skip
    start = [name for name in points if name == "base"]
    variants = list(dict.fromkeys(policy.variant for policy in policies if policy.iteration))
    for variant in variants:
        steps = sorted(
            (policy for policy in policies if policy.variant == variant), key=lambda policy: policy.iteration
        )
        path = [points[name] for name in [*start, *(policy.name for policy in steps)]]
        colour = colours[steps[-1].name]
        axes.plot(*zip(*path, strict=True), color=colour, alpha=0.75, zorder=2)
        for policy in steps:
            axes.plot(*points[policy.name], "o", color=colour, markersize=11.5, zorder=3)
            axes.text(*points[policy.name], str(policy.iteration), color="white", ha="center", va="center_baseline",
                      fontsize=8, fontweight="bold", zorder=4)  # fmt: skip
        axes.plot([], [], "-o", color=colour, markersize=7, label=variant)
    for policy in policies:
        if not policy.iteration:
            axes.plot(*points[policy.name], "o", color=colours[policy.name], markersize=11.5, zorder=3)
            axes.annotate(policy.name, points[policy.name], xytext=(0, -14), textcoords="offset points", ha="center")
    axes.margins(0.1, 0.16)
    axes.set_xlabel("mean reward: what training optimises")
    axes.set_ylabel(f"mean {label}")
    add_legend(figure, axes)
    caption = (
        "Numbers are iterations. Up and right is progress; right and down is reward hacking: "
        f"more reward, less {label}."
    )
    title = f"Reward against {label}"
    return Drawing("reward_and_judge", "evaluation", title, caption, to_svg(figure, "reward_and_judge"))


def ridges(groups: Mapping[str, Values], colours: Mapping[str, str], unit: str, name: str) -> str:
    """Smoothed histograms stacked on one axis, with their means."""
    figure, axes = new_figure(0.9 + 0.52 * max(len(groups), 2))
    low, high = _range(list(groups.values()))
    edges = np.linspace(low, high, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    densities = {group: _density(values, edges) for group, values in groups.items()}
    scale = 0.95 / max(density.max() for density in densities.values())
    first = next(iter(densities))
    for i, (group, density) in enumerate(densities.items()):
        top = i - density * scale
        axes.fill_between(centres, i, top, color=colours[group], alpha=0.45, linewidth=0, zorder=2 + i)
        axes.plot(centres, top, color=colours[group], linewidth=1.4, zorder=2 + i)
        if group != first:
            axes.plot(centres, i - densities[first] * scale, color=MUTED, linewidth=0.9, alpha=0.8, zorder=2 + i)
        if len(groups[group]):
            axes.plot(
                groups[group].astype(np.float64).mean(), i, "o", color=INK, markersize=4.5, clip_on=False, zorder=60
            )
    _label_rows(axes, list(groups))
    axes.set_xlim(low, high)
    axes.set_xlabel(unit)
    return to_svg(figure, name)


def _range(groups: Sequence[Values]) -> tuple[float, float]:
    """Range of the values with a margin; never empty, even if all are equal."""
    bounds = [(float(values.min()), float(values.max())) for values in groups if len(values)] or [(0.0, 1.0)]
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _density(values: Values, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothed histogram, shape (bins,), that sums to 1, or to 0 without values."""
    counts = np.histogram(values, edges)[0] / max(len(values), 1)
    reach = int(4 * SMOOTHING_BINS)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING_BINS) ** 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.75, -1.35)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
