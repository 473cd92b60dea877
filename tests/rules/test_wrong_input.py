"""What is wrong stops the run in seconds, before the first job, with a sentence and no traceback."""

import resource
from typing import Any

import pytest
from test_reruns import patch
from workflow import Project, copy_project

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "wrong key": ({"trainig": {}}, ["config/wrong.yaml", "trainig", "`training`"]),
    "wrong value": ({"training.learning_rate": "1e-4"}, ["training.learning_rate", "'1e-4'", "number"]),
    "no such dataset": ({"prompts.dataset": "data/none.parquet"}, ["data/none.parquet", "no such file"]),
    "no such model": ({"base_model.name": "./models/none"}, ["./models/none", "no such folder"]),
    "folder without a model": ({"base_model.name": "config"}, ["config", "no config.json"]),
    "no such reward function": (
        {"rewards": {"kind": "function", "function": "nowhere:score"}},
        ["nowhere", "no module"],
    ),
    "no such imported responses": (
        {"responses.imported": {"dataset": "none.jsonl"}},
        ["none.jsonl", "no such file"],
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(tmp_path_factory.mktemp("wrong"))


def computed_seconds() -> float:
    """CPU time of the finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def stopped(project: Project, patches: dict[str, Any]) -> str:
    """What a run says that must stop at once."""
    path = project.write_config(patch(project.read_config(), patches), "wrong")
    before = computed_seconds()
    finished = project.snakemake(configfile=path)
    assert finished.returncode != 0
    assert computed_seconds() - before < 5  # not the time on the wall: other tests run beside this one
    output = finished.stdout + finished.stderr
    assert "Traceback" not in output
    assert "jobid" not in output
    return output


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_stops_before_the_first_job(case: str, project: Project) -> None:
    patches, said = CASES[case]
    output = stopped(project, patches)
    for words in ["error: ", *said]:
        assert words in output


def test_splits_that_meet_stop_at_the_start_where_the_prompts_are_known(micro: Project) -> None:
    output = stopped(micro, {"prompts.train": 15})
    assert "there are 16 prompts" in output
    assert "`prompts.train` (15)" in output
