"""The figures of training: losses and log-ratios of each variant, and what can be compared between variants."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rlhf.report.figures import Drawing
from rlhf.report.material import Material, Policy
from rlhf.report.style import PAPER, add_legend, iteration_line, new_figure, policy_colours, to_svg

HEIGHT = 3.1
COMPARED = (
    ("sign_agreement", "Sign agreement", "sign agreement",
     "Share of the validation pairs on which the policy has moved towards the chosen response."),
    ("reward_gap", "Reward gap", "reward gap",
     "Mean over the validation pairs, as training logged it."),
    ("grad_norm", "Gradient norm", "norm of the gradient", "Before clipping, of the loss as it is optimised."),
)  # fmt: skip
"""Columns that mean the same under every loss: column, title, axis, caption."""


def training_figures(material: Material) -> Iterator[Drawing]:
    """The figures that there is data for: columns that are null throughout have none."""
    trained = [policy for policy in material.policies if policy.training is not None]
    colours = policy_colours([policy.name for policy in material.policies])
    for column, title, unit, caption in COMPARED:
        svg = _compared(trained, colours, column, unit)
        if svg:
            yield Drawing(column, "training", title, caption, svg)
    for number, variant in enumerate(dict.fromkeys(policy.variant for policy in trained)):
        policies = [policy for policy in trained if policy.variant == variant]
        colour = colours[policies[0].name]
        loss = _losses(policies, colour, f"loss_{number}")
        if loss:
            caption = "Thin: training batches. With dots: validation pairs. Different losses have different scales."
            yield Drawing(f"loss_{number}", "training", f"Loss of {variant}", caption, loss)
        ratios = _logratios(policies, colour, f"logratios_{number}")
        if ratios:
            caption = "Log-probability less the reference's, mean over validation pairs: chosen filled, rejected open."
            yield Drawing(f"logratios_{number}", "training", f"Log-ratios of {variant}", caption, ratios)


def curve(training: pa.Table, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of a column, where it is not null."""
    pairs = zip(training["step"].to_pylist(), training[column].to_pylist(), strict=True)
    kept = [(step, value) for step, value in pairs if value is not None]
    return [step for step, _ in kept], [value for _, value in kept]


def _compared(policies: Sequence[Policy], colours: dict[str, str], column: str, unit: str) -> str | None:
    figure, axes = new_figure(HEIGHT + 0.16 * max(0, len(policies) // 4 - 1))
    marker = "o" if column != "grad_norm" else None
    width = 1.7 if column != "grad_norm" else 0.9
    for policy in policies:
        _plot(axes, policy, column, colours[policy.name], linewidth=width, marker=marker, label=policy.name)
    if not axes.lines:
        return None
    if column == "sign_agreement":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _finish(axes, unit)
    add_legend(figure, axes)
    return to_svg(figure, column)


def _losses(policies: Sequence[Policy], colour: str, name: str) -> str | None:
    figure, axes = new_figure(HEIGHT)
    for policy in policies:
        _plot(axes, policy, "loss", colour, linewidth=0.9, alpha=0.55)
        _plot(axes, policy, "validation_loss", colour, marker="o", label=policy.name)
    if not axes.lines:
        return None
    _finish(axes, "loss")
    add_legend(figure, axes)
    return to_svg(figure, name)


def _logratios(policies: Sequence[Policy], colour: str, name: str) -> str | None:
    figure, axes = new_figure(HEIGHT)
    for policy in policies:
        _plot(axes, policy, "chosen_logratio", colour, marker="o", label=f"{policy.name}, chosen")
        _plot(axes, policy, "rejected_logratio", colour, marker="o", markerfacecolor=PAPER,
              label=f"{policy.name}, rejected")  # fmt: skip
    if not axes.lines:
        return None
    _finish(axes, "log-ratio")
    add_legend(figure, axes, columns=2)
    return to_svg(figure, name)


def _plot(axes: Axes, policy: Policy, column: str, colour: str, **style: object) -> None:
    steps, values = curve(policy.training, column)
    if values:
        axes.plot(steps, values, color=colour, linestyle=iteration_line(policy.name), markersize=4, **style)  # type: ignore[arg-type]


def _finish(axes: Axes, unit: str) -> None:
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(unit)
    axes.margins(x=0.03)
