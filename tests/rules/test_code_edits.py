"""An edit of code reruns the stages whose results it can change; a new choice reruns nothing."""

import re

import pytest

from experiments import patch
from project import Project
from rerun_rows import REBEL, REPORT, SIMPO, Row, same
from test_reruns import expected


def test_comments_docstrings_and_formatting_of_code_rerun_nothing(micro: Project) -> None:
    for path in (micro.folder / "scripts").rglob("*.py"):
        text = path.read_text()
        edited = re.sub(r'\A"""', '"""Edited. ', text)
        path.write_text("# a comment\n" + edited.replace("\n\n\n", "\n\n\n\n# another comment\n\n"))
    assert micro.planned() == {}


def edit_code(project: Project, module: str, old: str, new: str) -> None:
    path = project.folder / "scripts" / module
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_edited_loss_reruns_the_trainings_with_it_and_what_follows(micro: Project) -> None:
    edit_code(micro, "rlhf/training/losses/rebel.py", "residual / max(1.0, eta)", "residual / max(2.0, eta)")
    assert micro.planned() == expected(Row("", {}, REBEL, REPORT))


@pytest.mark.parametrize("like", ["rewards/kinds/function.py", "responses/engines/transformers.py"])
def test_a_new_kind_of_reward_or_engine_reruns_nothing(micro: Project, like: str) -> None:
    path = micro.folder / "scripts/rlhf" / like
    path.with_stem("my_own").write_text(path.read_text().replace('"function"', '"my_own"'))
    assert micro.planned() == {}


def test_a_new_loss_reruns_nothing(micro: Project) -> None:
    losses = micro.folder / "scripts/rlhf/training/losses"
    text = (losses / "dpo.py").read_text()
    (losses / "my_own.py").write_text(text.replace('"dpo"', '"my_own"').replace("DpoSettings", "MySettings"))
    assert micro.planned() == {}
    mine = {"variants.mine": {"loss": {"name": "my_own"}}}
    config = micro.write_config(patch(micro.read_config(), mine), "edited")
    assert micro.planned(configfile=config) == expected(Row("", {}, {"mine-1": SIMPO["simpo-1"]}, REPORT))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("command_line.py", "the settings: inline JSON", "settings: inline JSON"),
        ("workflow/hardware.py", "mem_mb=128000, runtime=1440", "mem_mb=128000, runtime=1500"),
        ("rlhf/machine/leases.py", "0.5", "0.25"),
        ("rlhf/machine/progress.py", "LOG_INTERVAL_SECONDS = 10.0", "LOG_INTERVAL_SECONDS = 5.0"),
        ("rlhf/training/trackers.py", "tracker {tracker}:", "the tracker {tracker}:"),
    ],
)
def test_an_edit_of_what_changes_no_result_reruns_nothing(micro: Project, module: str, old: str, new: str) -> None:
    edit_code(micro, module, old, new)
    assert micro.planned() == {}


def test_edited_report_reruns_the_report_alone(micro: Project) -> None:
    edit_code(micro, "rlhf/report/page.html", "</body>", "<p></p></body>")
    assert micro.planned() == {"report": {""}}


def test_edited_reward_function_of_the_user_reruns_what_it_scores(scratch_micro: Project) -> None:
    function = scratch_micro.folder / "my_rewards.py"
    function.write_text("def score(prompts, responses):\n    return [float(len(r)) for r in responses]\n")
    judge = {"evaluation.judge": {"kind": "function", "function": "my_rewards:score"}}
    path = scratch_micro.write_config(patch(scratch_micro.read_config(), judge), "edited")
    scratch_micro.run(configfile=path)
    assert scratch_micro.planned(configfile=path) == {}
    function.write_text(function.read_text().replace("len(r)", "len(r) + 1"))
    judged = same(frozenset({"judge_responses", "evaluate_policy"}))
    assert scratch_micro.planned(configfile=path) == expected(Row("", {}, judged, REPORT))
