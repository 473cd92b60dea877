"""The summary table as numbers and as Markdown."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rlhf.logprobs.schema import DRIFT
from rlhf.report.material import read_material
from rlhf.report.settings import ReportSpec
from rlhf.report.summary import decimals, markdown, model_cards, number, percent, summarize, summarize_benchmarks
from synthetic_experiment import DEFAULT_POLICIES, level, write_experiment


def table(text: str) -> list[list[str]]:
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_has_a_row_per_policy_in_order(tmp_path: Path) -> None:
    spec = ReportSpec(experiment="e", policies=list(DEFAULT_POLICIES), judge_label="true quality", examples=0)
    titles, rule, *rows = table(markdown(summarize(read_material(spec, write_experiment(tmp_path)))))
    assert titles == ["policy", "mean reward", "true quality", "win rate %", "length-controlled %",
                      "win rate by true quality %", "tokens", "truncated %"]  # fmt: skip
    assert set("".join(rule)) == {"-", ":"}
    assert [row[0] for row in rows] == list(DEFAULT_POLICIES)
    for row in rows:
        assert float(row[1]) == pytest.approx(level(row[0])[0], abs=1e-4)
        assert float(row[2]) == pytest.approx(level(row[0])[1], abs=1e-4)
    assert rows[0][3:6] == ["50.0 [50.0, 50.0]"] * 3
    assert rows[1][3:5] == ["72.5 [68.5, 76.5]", "70.5 [65.5, 75.5]"]


def test_markdown_without_a_judge_has_no_columns_of_it(tmp_path: Path) -> None:
    spec = ReportSpec(experiment="e", policies=["base", "dpo-1"], judge_label=None, examples=0)
    files = write_experiment(tmp_path, ["base", "dpo-1"], judged=False)
    titles, *_ = table(markdown(summarize(read_material(spec, files))))
    assert titles == ["policy", "mean reward", "win rate %", "length-controlled %", "tokens", "truncated %"]


def test_the_drift_has_columns_where_it_was_measured(tmp_path: Path) -> None:
    """Log-ratios of 1 and 3 over 4 tokens each of one prompt, and 2 of another: a mean of 2, no spread of prompts."""
    spec = ReportSpec(experiment="e", policies=["base", "rebel-1", "dpo-1"], judge_label=None, examples=0)
    files = write_experiment(tmp_path, spec.policies, judged=False)
    rows = [
        {"prompt_id": prompt, "draw": draw, "logprob": ratio - 5.0, "base_logprob": -5.0, "tokens": 4}
        for prompt, draw, ratio in (("a", 0, 1.0), ("a", 1, 3.0), ("b", 0, 2.0))
    ]
    DRIFT.write(tmp_path / "rebel-1/drift.parquet", rows, {})
    material = read_material(spec, replace(files, drift=[tmp_path / "rebel-1/drift.parquet"]))
    titles, _, *cells = table(markdown(summarize(material)))
    assert titles[-2:] == ["KL to base", "KL per token"]
    assert [row[-2:] for row in cells] == [["0.0000", "0.0000"], ["2.0000 ± 0.0000", "0.5000"], ["–", "–"]]


def test_only_a_policy_that_is_significantly_better_than_all_others_is_marked(tmp_path: Path) -> None:
    """The reward finds that of rebel-2 by its win rate; the judge has it highest too, and that proves nothing."""
    spec = ReportSpec(experiment="e", policies=list(DEFAULT_POLICIES), judge_label="true quality", examples=0)
    found = summarize(read_material(spec, write_experiment(tmp_path)))
    marked = {
        (name, found.titles[i]) for name, cells in found.rows.items() for i, cell in enumerate(cells) if cell.best
    }
    assert marked == {("rebel-2", "win rate %")}


def test_benchmarks_have_a_table_with_published_rows(tmp_path: Path) -> None:
    paper = {"alpaca_eval": 41.8, "alpaca_eval_lc": 48.3, "mt_bench": 8.13}
    spec = ReportSpec(
        experiment="e", policies=["base", "dpo-1"], judge_label="j", published={"paper": paper}, examples=0
    )
    found = summarize_benchmarks(read_material(spec, write_experiment(tmp_path, ["base", "dpo-1"], benchmarks=True)))
    assert found is not None
    titles, _, *rows = table(markdown(found))
    assert titles == ["policy", "AlpacaEval 2, length-controlled %", "AlpacaEval 2 %", "MT-Bench", "GSM8K %",
                      "GSM8K, change"]  # fmt: skip
    assert [row[0] for row in rows] == ["base", "dpo-1", "paper"]
    quality = 100 * level("dpo-1")[1]
    assert rows[1][1] == f"{quality / 5:.1f}"
    assert rows[1][2] == f"{quality / 3:.1f} [{quality / 3 - 5:.1f}, {quality / 3 + 5:.1f}]"
    assert rows[1][3].startswith(f"{quality / 10:.2f} [")
    assert rows[1][5] == "-2.1 [-3.1, +0.9]"
    assert rows[0][5] == "–"
    assert rows[2][1:] == ["48.3", "41.8", "8.13", "–", "–"]


def test_model_cards_hold_results_as_the_hub_reads_them(tmp_path: Path) -> None:
    spec = ReportSpec(experiment="e", policies=["base", "dpo-1"], judge_label="j", examples=0)
    cards = model_cards(read_material(spec, write_experiment(tmp_path, ["base", "dpo-1"], benchmarks=True)))
    assert cards.keys() == {"base", "dpo-1"}
    _, front, text = cards["dpo-1"].split("---\n", 2)
    (index,) = yaml.safe_load(front)["model-index"]
    values = {metric["name"]: metric["value"] for result in index["results"] for metric in result["metrics"]}
    assert values["AlpacaEval 2 %"] == pytest.approx(100 * level("dpo-1")[1] / 3, abs=0.01)
    assert values["MT-Bench"] == pytest.approx(10 * level("dpo-1")[1], abs=0.01)
    assert "| GSM8K % | 29.5 [24.5, 34.5] | -2.1 [-3.1, +0.9] |" in text


def test_our_length_control_is_named_as_ours(tmp_path: Path) -> None:
    spec = ReportSpec(experiment="e", policies=["base"], judge_label="j", examples=0)
    material = read_material(spec, write_experiment(tmp_path, ["base"], benchmarks=True))
    ours = [row for row in material.benchmarks if not row["metric"].startswith("published")]
    found = summarize_benchmarks(replace(material, benchmarks=ours))
    assert found is not None
    assert found.titles[0] == "AlpacaEval 2, length-controlled (ours) %"


def test_without_benchmarks_there_is_no_table_of_them(tmp_path: Path) -> None:
    spec = ReportSpec(experiment="e", policies=["base"], judge_label="j", examples=0)
    assert summarize_benchmarks(read_material(spec, write_experiment(tmp_path, ["base"]))) is None


@pytest.mark.parametrize(
    ("values", "expected"), [([0.1234, -0.5], 4), ([3.0, 1.5], 3), ([-12.5], 2), ([12345.0], 0), ([0.0], 4)]
)
def test_decimals_give_the_largest_value_four_digits(values: list[float], expected: int) -> None:
    assert decimals(values) == expected


def test_missing_numbers_are_dashes() -> None:
    assert (number(None), percent(None)) == ("–", "–")
    assert (number(0.123456, 3), number(1234.0, 4), percent(0.7256)) == ("0.123", "1234", "72.6")
