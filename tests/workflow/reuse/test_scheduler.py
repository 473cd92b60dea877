"""Two runs of Snakemake whose jobs make the same: what one does while the other computes it, or fails to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from project import wait_for
from rlhf.base.files.checksums import verify
from small_models import SCRIPTS

pytestmark = pytest.mark.slow

SNAKEFILE = """
import json, sys
from pathlib import Path
sys.path.insert(0, config["scripts"])
import snakemake.workflow as loaded
from workflow.reuse.graph import ReusingGraph
from workflow.reuse.scheduler import SharingScheduler
from workflow.reuse.search import Reuse

RESULTS = f"results/{config['name']}"
ReusingGraph.reuse[RESULTS] = Reuse(("results",), Path(RESULTS), Path(RESULTS, "revisions.yaml"), True, lambda: None)
loaded.DAG, loaded.JobScheduler = ReusingGraph, SharingScheduler

rule make:
    output: f"{RESULTS}/base/{{number}}.parquet"
    params: spec=lambda wildcards: json.dumps({"number": wildcards.number}), code="same"
    shell: "python make.py {output} {wildcards.number}"
"""
MAKE = """
import sys, time
from pathlib import Path
from rlhf.base.provenance import installed_versions
from rlhf.logprobs.schema import LOGPROBS
output, number = Path(sys.argv[1]), sys.argv[2]
name = f"{output.parts[1]}-{number}"
with open("started", "a") as file:
    file.write(f"{name}\\n")
while Path(f"hold-{name}").exists():
    time.sleep(0.05)
if Path(f"fail-{name}").exists():
    sys.exit("failed")
LOGPROBS.write(output, [], {"spec": {"number": number}, "code": "same", "inputs": {}, "versions": installed_versions()})
"""
WAITING = "is computing this; waiting."


@dataclass
class Folder:
    """A working directory, in which `hold-<experiment>-<number>` keeps a job from its end."""

    path: Path
    runs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "snakemake", *arguments, "--config", f"name={name}", f"scripts={SCRIPTS}"]
        variables = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
        with (self.path / name).open("wb") as output:
            run = subprocess.Popen(
                [*command, *(() if "--jobs" in arguments else ("--cores", "1")), "--latency-wait", "1"],
                cwd=self.path,
                stdout=output,
                stderr=output,
                env=variables,
                start_new_session=True,
            )
        self.runs.append(run)
        return run

    def hold(self, job: str) -> None:
        (self.path / f"hold-{job}").touch()

    def let_go(self, job: str) -> None:
        (self.path / f"hold-{job}").unlink()

    def said(self, name: str) -> str:
        return (self.path / name).read_text()

    def started(self) -> list[str]:
        path = self.path / "started"
        return path.read_text().split() if path.exists() else []

    def result(self, name: str, number: int) -> Path:
        return self.path / f"results/{name}/base/{number}.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "make.py").write_text(MAKE)
    made = Folder(tmp_path)
    yield made
    for run in made.runs:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def one_computes_and_one_waits(
    folder: Folder, *arguments: str
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    folder.hold("a-1")
    computing = folder.start("a", "results/a/base/1.parquet")
    wait_for(folder.started, "job of a")
    waiting = folder.start("b", "results/b/base/1.parquet", *arguments)
    wait_for(lambda: WAITING in folder.said("b"), "word that b waits")
    assert f"make: results/b/base/1.parquet: results/a (process {computing.pid} on " in folder.said("b")
    return computing, waiting


def test_the_one_that_waits_takes_it(folder: Folder) -> None:
    computing, waiting = one_computes_and_one_waits(folder)
    folder.let_go("a-1")
    assert (computing.wait(), waiting.wait()) == (0, 0), folder.said("b")
    assert folder.started() == ["a-1"]
    assert folder.result("b", 1).samefile(folder.result("a", 1))
    assert "1 of 1 steps (100%) done" in folder.said("b")
    assert not (folder.path / "results/.claims").exists()


@pytest.mark.parametrize("end", ["fail", signal.SIGKILL, signal.SIGINT])
def test_it_computes_it_itself_where_the_other_does_not_end_well(end: str | signal.Signals, folder: Folder) -> None:
    computing, waiting = one_computes_and_one_waits(folder)
    if isinstance(end, str):
        (folder.path / "fail-a-1").touch()
        folder.let_go("a-1")
    else:
        os.killpg(computing.pid, end)
    assert computing.wait() != 0
    assert waiting.wait() == 0, folder.said("b")
    assert folder.started() == ["a-1", "b-1"]
    assert "did not finish this; it is computed here." in folder.said("b")
    verify(folder.result("b", 1))
    assert not (folder.path / "results/.claims").exists()


def test_a_job_of_a_cluster_is_not_even_submitted(folder: Folder) -> None:
    (folder.path / "submit").write_text('echo submitted >> submitted; sh "$1" > /dev/null 2>&1 & echo $!')
    cluster = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "sh submit", "--jobs", "2")
    computing, waiting = one_computes_and_one_waits(folder, *cluster)
    folder.let_go("a-1")
    assert (computing.wait(), waiting.wait()) == (0, 0), folder.said("b")
    assert not (folder.path / "submitted").exists()
    assert folder.start("b", "results/b/base/2.parquet", *cluster).wait() == 0, folder.said("b")
    assert folder.started() == ["a-1", "b-2"]
    assert (folder.path / "submitted").read_text() == "submitted\n"
    assert not (folder.path / "results/.claims").exists()


def test_a_forced_job_runs_once_the_other_has_ended(folder: Folder) -> None:
    computing, waiting = one_computes_and_one_waits(folder, "--forceall")
    folder.let_go("a-1")
    assert (computing.wait(), waiting.wait()) == (0, 0), folder.said("b")
    assert folder.started() == ["a-1", "b-1"]
    assert not folder.result("b", 1).samefile(folder.result("a", 1))


def test_runs_share_the_work_and_what_is_taken_needs_no_processor(folder: Folder) -> None:
    folder.hold("a-1")
    folder.hold("b-2")
    folder.start("a", "results/a/base/1.parquet")
    wait_for(folder.started, "job of a")
    first, second = (f"results/b/base/{number}.parquet" for number in (1, 2))
    both = folder.start("b", first, second, "--prioritize", first)  # Snakemake would take either one first
    wait_for(lambda: "b-2" in folder.started(), "other job of b")
    wait_for(lambda: WAITING in folder.said("b"), "word that b waits")
    folder.let_go("a-1")
    wait_for(folder.result("b", 1).exists, "result that is taken while the only processor is busy")
    folder.let_go("b-2")
    assert both.wait() == 0, folder.said("b")
    assert folder.started() == ["a-1", "b-2"]


def test_a_plan_neither_claims_nor_waits(folder: Folder) -> None:
    folder.hold("a-1")
    folder.start("a", "results/a/base/1.parquet")
    wait_for(folder.started, "job of a")
    assert folder.start("b", "results/b/base/1.parquet", "--dry-run").wait() == 0
    assert "rule make:" in folder.said("b")
    assert WAITING not in folder.said("b")
    assert len(list((folder.path / "results/.claims").iterdir())) == 1
