"""The page and its figures: self-contained, escaped, deterministic, whole."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rlhf.base.errors import UserError
from rlhf.report.folder import write_report
from rlhf.report.material import read_material
from rlhf.report.page import disagreements, hacked, lead, printable, unscored
from rlhf.report.settings import ReportSpec
from rlhf.rewards.schema import REWARDS
from synthetic_experiment import DEFAULT_POLICIES, NASTY, RIGHT_TO_LEFT, write_experiment

TWENTY = ["base", *(f"{v}-{i}" for v in ("rebel", "dpo", "simpo", "ipo", "sppo", "hinge") for i in (1, 2, 3)), "apo-1"]
LOADS = {"script", "link", "img", "iframe", "object", "embed", "source", "video", "audio", "use", "image", "base"}
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would find: elements, identifiers, text; and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(
    folder: Path, policies: Sequence[str] = DEFAULT_POLICIES, label: str | None = "true quality", examples: int = 24
) -> Path:
    files = write_experiment(folder / "results", policies, judged=label is not None)
    spec = ReportSpec(experiment="tiny & <small>", policies=list(policies), judge_label=label, examples=examples)
    write_report(read_material(spec, files), folder / "report", {})
    return folder / "report"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed(html: str) -> None:
    page = Page(html)
    assert page.open == []
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    references = set(re.findall(r"url\(#([^)]*)\)", html)) | set(re.findall(r'href="#([^"]*)"', html))
    assert references
    assert references <= set(identifiers)


def test_the_page_asks_nothing_of_the_network(html: str) -> None:
    for tag, attributes in Page(html).elements:
        assert tag != "script"
        for name, value in attributes.items():
            if name in {"src", "srcset", "data", "action", "poster"} or name.endswith("href"):
                assert tag == "a" or (value or "").startswith(("#", "data:")), (tag, name, value)
            assert name[:2] != "on", "no event handlers"
        assert tag not in LOADS - {"link", "use"}
    styles = "".join(re.findall(r"<style.*?</style>", html, re.DOTALL)) + "".join(re.findall(r'style="[^"]*"', html))
    assert "@import" not in styles
    assert re.findall(r"url\((?!#)", styles) == []


def test_text_of_the_artifacts_is_escaped_and_shown(html: str) -> None:
    assert "<script" not in html
    assert "<img" not in html
    text = Page(html).text
    assert NASTY in text
    assert f"base says {NASTY}" in text
    assert "$x_1$ {{ 7 * 7 }}" in text
    assert "tiny & <small>" in text
    assert "\x07" not in html
    assert "␇␛[31m" in text


def test_right_to_left_text_has_its_direction(html: str) -> None:
    assert re.search(rf'<div class="text prompt" dir="auto">{RIGHT_TO_LEFT}</div>', html)


def test_figures_are_svg_that_fits_the_theme_on_the_page(folder: Path, html: str) -> None:
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names >= {"win_rates", "reward_and_judge", "rewards", "judgements", "margins", "sign_agreement", "loss_0"}
    for path in (folder / "figures").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "var(--" not in path.read_text(encoding="utf-8")
    assert len(names) == html.count("<svg")
    assert "#22272e" not in re.sub(r"var\(--ink, #22272e\)|--ink: #22272e", "", html)


def test_figures_of_log_ratios_are_left_out_where_there_are_none(folder: Path) -> None:
    titles = re.findall(r"Log-ratios of \w+", (folder / "index.html").read_text(encoding="utf-8"))
    assert set(titles) == {"Log-ratios of rebel", "Log-ratios of dpo"}


def test_equal_inputs_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    again = report(tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for path in files:
        assert (folder / path).read_bytes() == (again / path).read_bytes(), path


@pytest.mark.parametrize(
    ("policies", "label"),
    [(DEFAULT_POLICIES, None), (["base"], None), (["base"], "quality"), (["dpo-1"], "quality"), (TWENTY, "quality")],
    ids=["no judge", "only base, no judge", "only base", "only one trained", "twenty"],
)
def test_every_number_of_policies_and_judges(tmp_path: Path, policies: list[str], label: str | None) -> None:
    page = Page((report(tmp_path, policies, label, examples=2) / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    for policy in policies:
        assert policy in page.text
    assert ("quality" in page.text) == (label is not None)


def test_reward_hacking_is_named(tmp_path: Path) -> None:
    policies = ["base", "dpo-1", "dpo-2"]
    files = write_experiment(tmp_path, policies)
    spec = ReportSpec(experiment="e", policies=policies, judge_label="quality", examples=0)
    material = read_material(spec, files)
    assert hacked(material) == []
    material.policies[2].evaluations["judge"]["mean_reward"] = 0.1
    assert hacked(material) == ["dpo-2"]


def test_what_could_not_be_scored_is_counted_with_its_reason(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base", "dpo-1"])
    spec = ReportSpec(experiment="e", policies=["base", "dpo-1"], judge_label="quality", examples=0)
    said = unscored(read_material(spec, files))
    expected = []
    for policy in ("base", "dpo-1"):
        rows = [row for path in files.rewards if path.parts[-3] == policy for row in REWARDS.read(path).to_pylist()]
        missing = sum(row["reward"] is None for row in rows)
        expected.append(f"{policy}: {missing} of {len(rows)} responses have no reward (too_long)")
        assert missing > 0
    assert said == expected
    write_report(read_material(spec, files), tmp_path / "report", {})
    assert expected[1] in Page((tmp_path / "report/index.html").read_text(encoding="utf-8")).text


def test_a_judge_that_disagrees_with_itself_is_shown_with_the_share(tmp_path: Path) -> None:
    """Summed over the parts of a policy."""
    files = write_experiment(tmp_path, ["base"], judged=True)
    for path in files.judgements:
        counted = {"judging": {"pairs": 40, "disagreements": 3, "asked_again": 0}}
        REWARDS.write(path, REWARDS.read(path), {"spec": {}, "versions": {}, **counted})
    spec = ReportSpec(experiment="e", policies=["base"], judge_label="gpt", examples=0)
    material = read_material(spec, files)
    assert disagreements(material) == ["7.5 % of 80 pairs of base by gpt"]
    write_report(material, tmp_path / "report", {"spec": {}})
    assert "7.5 % of 80 pairs of base by gpt" in (tmp_path / "report/index.html").read_text(encoding="utf-8")


def test_benchmarks_are_a_section_with_published_rows(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base", "rebel-1"], benchmarks=True)
    published = {"A paper <1>": {"mt_bench": 8.13}}
    spec = ReportSpec(experiment="e", policies=["base", "rebel-1"], judge_label="j", published=published, examples=0)
    write_report(read_material(spec, files), tmp_path / "report", {"spec": {}})
    page = Page((tmp_path / "report/index.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert ("section", {"id": "benchmarks"}) in page.elements
    assert "A paper <1>" in page.text
    assert "base: 1 of 80 questions of GSM8K" in page.text
    assert (tmp_path / "report/model_cards/rebel-1.md").is_file()


def test_a_new_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    first = report(tmp_path, ["base", "dpo-1"])
    (first / "figures" / "left_over.svg").write_text("old")
    report(tmp_path, ["base"])
    assert not (first / "figures" / "left_over.svg").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="no report"):
        report(tmp_path, ["base"])
    assert (tmp_path / "report" / "thesis.txt").read_text() == "precious"


def test_control_characters_are_shown_and_line_ends_kept() -> None:
    assert printable("a\x00\tb\n\x7f") == "a␀\tb\n␡"


def test_the_first_sentence_calls_a_policy_the_best_only_if_it_is_significantly_so(tmp_path: Path) -> None:
    policies = ["base", "rebel-1", "rebel-2", "dpo-1"]
    files = write_experiment(tmp_path, policies)
    material = read_material(ReportSpec(experiment="e", policies=policies, judge_label=None, examples=0), files)
    said = lead(material)
    assert said.startswith("rebel-2 is the best of 3 trained policies: it wins ")
    assert "Compared on 40 test prompts, it is significantly better than every other one and base" in said
    judged = read_material(ReportSpec(experiment="e", policies=policies, judge_label="quality", examples=0), files)
    said = lead(judged)
    assert said.startswith("None of the 3 trained policies is significantly better than all the others and base")
    assert "compared on 40 test prompts and corrected for so many comparisons. rebel-2 has the highest win rate" in said
    assert "by quality, and" in said


def test_a_single_policy_is_no_winner(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base", "dpo-1"])
    material = read_material(
        ReportSpec(experiment="e", policies=["base", "dpo-1"], judge_label=None, examples=0), files
    )
    assert lead(material).startswith("dpo-1 wins ")
    assert lead(material).endswith("by the reward it was trained on, on 40 test prompts.")
    assert "best" not in lead(material)
