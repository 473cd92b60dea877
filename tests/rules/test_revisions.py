"""A null revision is one commit for all jobs of an experiment, whatever is pushed to the hub between them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from project import Project, copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.models.revisions import read_revisions
from small_hub import COMMIT, SmallHub
from small_models import save_small_policy

CONFIG = "config/hub.yaml"
PROMPTS, RESPONSES = "results/hub/prompts.parquet", "results/hub/base/responses/train-000.parquet"
PUSHED = "f" * 40


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The micro experiment with policy and prompts from the hub."""
    project = copy_project(tmp_path / "project")
    project.python = sys.executable  # of which the hub's library reads where the hub is
    config = project.read_config()
    del config["tiny"]
    config |= {"experiment": "hub", "base_model": {"name": "open/policy"}}
    config["prompts"] |= {"dataset": "open/prompts"}
    config["rewards"] = {"kind": "function", "function": "rlhf.tiny.language.grammar:true_quality"}
    assert project.write_config(config, "hub") == CONFIG
    return project


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    save_small_policy(tmp_path / "hub/models/open/policy")
    (tmp_path / "hub/datasets/open/prompts").mkdir(parents=True)
    table = pa.table({"prompt": [f"what is {number} + 2?" for number in range(12)]})
    pq.write_table(table, tmp_path / "hub/datasets/open/prompts/train.parquet")
    with SmallHub(tmp_path / "hub") as running:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        yield running


@pytest.mark.slow
def test_jobs_before_and_after_a_push_take_the_same_commit(project: Project, hub: SmallHub) -> None:
    project.run(PROMPTS, configfile=CONFIG)
    record = project.folder / "results/hub/revisions.yaml"
    assert read_revisions(record).models == {"open/policy": COMMIT}
    assert f'  "open/prompts": "{COMMIT}"  # prompts.revision\n' in record.read_text()

    save_small_policy(hub.push("models/open/policy", PUSHED), seed=1)
    project.run(RESPONSES, configfile=CONFIG)
    for path in (PROMPTS, RESPONSES):
        assert read_provenance(project.folder / path)["model_revision"] == COMMIT
        assert read_provenance(project.folder / path)["spec"]["model"]["revision"] is None

    assert project.planned(PROMPTS, RESPONSES, configfile=CONFIG) == {}
    record.unlink()
    assert project.planned(PROMPTS, RESPONSES, configfile=CONFIG) == {}


def test_a_hub_out_of_reach_stops_the_run_and_not_the_plan(
    project: Project, hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert project.snakemake("--dry-run", PROMPTS, configfile=CONFIG).returncode == 0
    stopped = project.snakemake(PROMPTS, configfile=CONFIG)
    assert stopped.returncode != 0
    assert "error: model 'open/policy': cannot look up its newest commit" in stopped.stderr
    assert "jobid" not in stopped.stderr


def test_as_a_module_the_commits_are_looked_up_too(project: Project, hub: SmallHub, tmp_path: Path) -> None:
    lines = [
        f"module rlhf:\n    snakefile: {str(project.folder / 'Snakefile')!r}\n    config: config\n",
        "use rule * from rlhf as rlhf_*\n",
    ]
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent/Snakefile").write_text("\n".join(lines))
    parent = Project(tmp_path / "parent", sys.executable)
    parent.run(PROMPTS, configfile=str(project.folder / CONFIG))
    assert read_revisions(parent.folder / "results/hub/revisions.yaml").models == {"open/policy": COMMIT}
    assert read_provenance(parent.folder / PROMPTS)["model_revision"] == COMMIT
