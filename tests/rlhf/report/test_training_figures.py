"""Curves of the training metrics."""

from pathlib import Path

import pytest

from rlhf.report.material import read_material
from rlhf.report.settings import ReportSpec
from rlhf.report.style import figure_style
from rlhf.report.training_figures import LOGRATIO_GAP, curve, training_figures
from rlhf.training.schema import TRAINING
from synthetic_experiment import write_experiment

COLUMNS = [name for name in TRAINING.schema.names if name not in ("step", "epoch")]


def write(path: Path, rows: list[dict[str, float | None]]) -> None:
    TRAINING.write(path, [{"epoch": 0.0, **dict.fromkeys(COLUMNS), **row} for row in rows], {})


def test_nulls_are_no_points(tmp_path: Path) -> None:
    write(tmp_path / "t", [{"step": 0}, {"step": 1, "loss": 2.0}, {"step": 2}, {"step": 3, "loss": 1.0}])
    table = TRAINING.read(tmp_path / "t")
    assert curve(table, "loss") == ([1, 3], [2.0, 1.0])
    assert curve(table, "validation_loss") == ([], [])


def test_the_gap_is_chosen_less_rejected(tmp_path: Path) -> None:
    write(tmp_path / "t", [{"step": 0, "chosen_logratio": 1.0}, {"step": 4, "chosen_logratio": 1.0,
                                                               "rejected_logratio": -0.5}])  # fmt: skip
    assert curve(TRAINING.read(tmp_path / "t"), LOGRATIO_GAP) == ([4], [1.5])


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (["base"], set()),
        (["base", "simpo-1"], {"sign_agreement", "grad_norm", "loss_0"}),
        (["base", "dpo-1", "dpo-2"], {"sign_agreement", "logratio_gap", "grad_norm", "loss_0", "logratios_0"}),
    ],
)
def test_there_is_a_figure_for_what_is_not_null(tmp_path: Path, policies: list[str], expected: set[str]) -> None:
    spec = ReportSpec(experiment="e", policies=policies, judge_label=None, examples=0)
    material = read_material(spec, write_experiment(tmp_path, policies, judged=False))
    with figure_style():
        assert {drawing.name for drawing in training_figures(material)} == expected


def test_the_caption_says_what_the_margin_of_each_loss_is(tmp_path: Path) -> None:
    policies = ["base", "dpo-1", "dpo-2", "rebel-1", "simpo-1"]
    spec = ReportSpec(experiment="e", policies=policies, judge_label=None, examples=0)
    files = write_experiment(tmp_path, policies, judged=False)
    old = tmp_path / "rebel-1/training.parquet"
    TRAINING.write(old, TRAINING.read(old), {"spec": {}, "versions": {}})  # of a version that did not record it
    with figure_style():
        captions = {drawing.name: drawing.caption for drawing in training_figures(read_material(spec, files))}
    assert captions["sign_agreement"].endswith(
        "right side of the reference point. Margin of dpo: difference of log-ratios. Margin of simpo: difference of "
        "mean log-probabilities."
    )
    assert "Margin" not in captions["grad_norm"]
