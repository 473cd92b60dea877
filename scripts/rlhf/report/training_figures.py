"""The figures of training: losses and log-ratios of each variant, and what can be compared between variants."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rlhf.report.figures import Drawing
from rlhf.report.material import Material, Policy
from rlhf.report.style import MUTED, add_legend, iteration_line, new_figure, policy_colours, to_svg

HEIGHT = 3.1
LOGRATIO_GAP = "logratio_gap"
"""Not a column: `chosen_logratio` less `rejected_logratio`."""
MOST_MARKERS = 30
"""Curves of more points are lines without dots."""
SIGN_AGREEMENT = "sign_agreement"
COMPARED = (
    (SIGN_AGREEMENT, "Sign agreement", "sign agreement",
     "Share of the validation pairs with a positive margin: on which the policy prefers the chosen response; of "
     "examples (KTO), on the right side of the reference point."),
    (LOGRATIO_GAP, "Log-ratio gap", "chosen − rejected",
     "Log-ratio of chosen less that of rejected, mean over a training batch: how far the policy tells them apart."),
    ("grad_norm", "Gradient norm", "norm of the gradient", "Before clipping, of the loss as it is optimised."),
)  # fmt: skip
"""Columns that mean the same under every loss: column, title, axis, caption."""


def training_figures(material: Material) -> Iterator[Drawing]:
    """All training figures for which there is data; a column that is entirely null has none."""
    trained = [policy for policy in material.policies if policy.training is not None]
    colours = policy_colours([policy.name for policy in material.policies])
    for column, title, unit, caption in COMPARED:
        svg = _compared(trained, colours, column, unit)
        if svg:
            meant = margins(trained) if column == SIGN_AGREEMENT else []
            yield Drawing(column, "training", title, " ".join([caption, *meant]), svg)
    for number, variant in enumerate(dict.fromkeys(policy.variant for policy in trained)):
        policies = [policy for policy in trained if policy.variant == variant]
        colour = colours[policies[0].name]
        loss = _losses(policies, colour, f"loss_{number}")
        if loss:
            caption = "Pale: training batches. Full: validation pairs. Different losses have different scales."
            yield Drawing(f"loss_{number}", "training", f"Loss of {variant}", caption, loss)
        ratios = _logratios(policies, colour, f"logratios_{number}")
        if ratios:
            wanted, unwanted = _kinds(policies[0])
            caption = (
                f"Log-probability less the reference's, means of training batches: {wanted} in colour, {unwanted} grey."
            )
            yield Drawing(f"logratios_{number}", "training", f"Log-ratios of {variant}", caption, ratios)


def curve(training: pa.Table, column: str) -> tuple[list[int], list[float]]:
    """Steps and non-null values of a column (or of `LOGRATIO_GAP`)."""
    if column == LOGRATIO_GAP:
        values = pc.subtract(training["chosen_logratio"], training["rejected_logratio"])
    else:
        values = training[column]
    pairs = zip(training["step"].to_pylist(), values.to_pylist(), strict=True)
    kept = [(step, value) for step, value in pairs if value is not None]
    return [step for step, _ in kept], [value for _, value in kept]


def margins(policies: Sequence[Policy]) -> list[str]:
    """A sentence for each meaning that the margin has, as training recorded it, with the variants whose it is."""
    variants: dict[str, dict[str, None]] = {}
    for policy in policies:
        meaning = policy.provenance["training"].get("margin")
        if meaning is not None:
            variants.setdefault(meaning, {})[policy.variant] = None
    return [f"Margin of {', '.join(names)}: {meaning}." for meaning, names in variants.items()]


def _compared(policies: Sequence[Policy], colours: dict[str, str], column: str, unit: str) -> str | None:
    figure, axes = new_figure(HEIGHT + 0.16 * max(0, len(policies) // 4 - 1))
    for policy in policies:
        _plot(axes, policy, column, colours[policy.name], label=policy.name)
    if not axes.lines:
        return None
    if column == SIGN_AGREEMENT:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _finish(axes, unit)
    add_legend(figure, axes)
    return to_svg(figure, column)


def _losses(policies: Sequence[Policy], colour: str, name: str) -> str | None:
    figure, axes = new_figure(HEIGHT)
    for policy in policies:
        _plot(axes, policy, "loss", colour, alpha=0.55)
        _plot(axes, policy, "validation_loss", colour, label=policy.name)
    if not axes.lines:
        return None
    _finish(axes, "loss")
    add_legend(figure, axes)
    return to_svg(figure, name)


def _logratios(policies: Sequence[Policy], colour: str, name: str) -> str | None:
    figure, axes = new_figure(HEIGHT)
    for policy in policies:
        wanted, unwanted = _kinds(policy)
        _plot(axes, policy, "chosen_logratio", colour, label=f"{policy.name}, {wanted}")
        _plot(axes, policy, "rejected_logratio", MUTED, label=f"{policy.name}, {unwanted}")
    if not axes.lines:
        return None
    _finish(axes, "log-ratio")
    add_legend(figure, axes)
    return to_svg(figure, name)


def _kinds(policy: Policy) -> tuple[str, str]:
    """What the responses are called that a training raises and lowers: those of pairs, or of examples."""
    inputs = policy.provenance.get("training", {}).get("inputs", {})
    return ("desirable", "undesirable") if "examples" in inputs else ("chosen", "rejected")


def _plot(axes: Axes, policy: Policy, column: str, colour: str, **style: object) -> None:
    """Plot the non-null values: few points as thick lines with dots, many as thin lines."""
    steps, values = curve(policy.training, column)
    few = len(steps) <= MOST_MARKERS
    if values:
        axes.plot(
            steps,
            values,
            color=colour,
            linestyle=iteration_line(policy.name),
            linewidth=1.8 if few else 1.1,
            marker="o" if few else "",
            markersize=4,
            **style,  # type: ignore[arg-type]
        )


def _finish(axes: Axes, unit: str) -> None:
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(unit)
    axes.margins(x=0.03)
