"""Results that are not what the configuration asks for are made again, whatever Snakemake's records say of them."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import patch
from project import Project
from rlhf.base.artifacts import read_provenance
from rlhf.base.files.checksums import DamagedError, verify
from rlhf.rewards.schema import REWARDS

pytestmark = pytest.mark.slow
RESULTS = "results/micro"


@pytest.fixture
def project(micro: Project) -> Iterator[Project]:
    """Results that a test may exchange, beside sources that it may not; all is put back after it."""
    kept = micro.folder.with_name("kept-results")
    shutil.copytree(micro.folder / "results", kept, copy_function=shutil.copy2)
    shutil.copytree(micro.folder / ".snakemake", micro.folder.with_name("kept-records"))
    yield micro
    for name, backup in (("results", kept), (".snakemake", micro.folder.with_name("kept-records"))):
        shutil.rmtree(micro.folder / name)
        shutil.move(backup, micro.folder / name)


def exchange(project: Project, source: str, target: str) -> None:
    """Put one result where another one is, with the time that the other one had."""
    target_path = project.folder / RESULTS / target
    status = target_path.stat()
    shutil.copy(project.folder / RESULTS / source, target_path)
    os.utime(target_path, ns=(status.st_atime_ns, status.st_mtime_ns))


def copied(project: Project, changes: dict[str, object]) -> str:
    """Results copied to another experiment's folder, as every user will try; its configuration."""
    shutil.copytree(project.folder / RESULTS, project.folder / "results/copy", copy_function=shutil.copy2)
    return project.write_config(patch(project.read_config(), {"experiment": "copy", **changes}), "copy")


def test_nothing_is_to_be_done_without_records(project: Project) -> None:
    shutil.rmtree(project.folder / ".snakemake")
    assert project.planned() == {}


def test_an_edit_is_noticed_without_records(project: Project) -> None:
    shutil.rmtree(project.folder / ".snakemake")
    config = project.write_config(patch(project.read_config(), {"training.learning_rate": 2e-3}), "edited")
    with_records = {"train_policy", "generate_responses", "evaluate_policy", "report"}
    planned = project.planned(configfile=config)
    assert planned.keys() >= with_records
    assert "base" not in planned["generate_responses"]


def test_a_copy_under_the_same_settings_is_kept(project: Project) -> None:
    assert project.planned(configfile=copied(project, {})).keys() == {"report"}  # which shows the experiment's name


def test_a_copy_under_another_seed_is_made_again_whole(project: Project) -> None:
    config = copied(project, {"seed": 2})
    everything = project.planned("--forceall", configfile=config)
    assert project.planned(configfile=config) == everything


def test_a_copy_under_other_draws_keeps_what_they_do_not_concern(project: Project) -> None:
    planned = project.planned(configfile=copied(project, {"responses.draws": 4}))
    assert "collect_prompts" not in planned
    assert planned["generate_responses"] == {"base", "rebel-1", "rebel-2", "simpo-1"} & planned["train_policy"] | {
        "base"
    }


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("base/rewards/test-000.parquet", "rebel-1/rewards/test-000.parquet"),
        ("rebel-1/judgements/test-000.parquet", "rebel-1/rewards/test-000.parquet"),
        ("base/responses/train-000.parquet", "base/responses/train-001.parquet"),
        ("base/logprobs/test-000.parquet", "rebel-1/logprobs/test-000.parquet"),
    ],
)
def test_exchanged_results_are_made_again(source: str, target: str, project: Project) -> None:
    exchange(project, source, target)
    assert f"{RESULTS}/{target}" in project.planned_outputs()


def test_what_was_made_from_an_exchanged_result_is_made_again(project: Project) -> None:
    """The result itself is as asked for; what comes of it was made from the one before."""
    path = project.folder / RESULTS / "base/rewards/train-000.parquet"
    status = path.stat()
    rows = REWARDS.read(path).to_pylist()
    rows[0]["reward"] += 1.0
    origin = read_provenance(path)
    origin.pop("artifact")
    REWARDS.write(path, rows, origin)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    planned = project.planned_outputs()
    assert f"{RESULTS}/base/rewards/train-000.parquet" not in planned
    assert f"{RESULTS}/base/pairs/train-000.parquet" in planned
    assert f"{RESULTS}/base/pairs/train-001.parquet" not in planned


def test_a_result_without_an_origin_is_made_again(project: Project) -> None:
    path = project.folder / RESULTS / "base/evaluation.parquet"
    status = path.stat()
    path.write_bytes(b"PAR1 damaged")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert f"{RESULTS}/base/evaluation.parquet" in project.planned_outputs()


def test_the_plan_says_what_changed(project: Project) -> None:
    config = project.write_config(patch(project.read_config(), {"responses.temperature": 0.9}), "edited")
    printed = project.snakemake("--dry-run", configfile=config)
    assert "temperature 0.8 -> 0.9" in printed.stdout + printed.stderr


@pytest.mark.parametrize("keep_time", [False, True])
def test_no_flipped_bit_of_any_result_is_used(keep_time: bool, scratch_micro: Project) -> None:
    """2,000 of them, half with the time that the file had: in rows, metadata, weights, tokenizers, provenance."""
    results = scratch_micro.folder / RESULTS
    sealed = [*results.rglob("*.parquet"), *(path.parent for path in results.rglob("SHA256SUMS"))]
    files = [found for path in sealed for found in ([path] if path.is_file() else contents(path))]
    chance, unnoticed = random.Random(keep_time), []
    for _ in range(1000):
        path = chance.choice(files)
        content, status = path.read_bytes(), path.stat()
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        if keep_time:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            verify(next(whole for whole in sealed if whole == path or whole in path.parents))
            unnoticed.append(path)
        except DamagedError:
            pass
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert unnoticed == []


def contents(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "." and path.stat().st_size]


@pytest.mark.parametrize("name", ["rebel-1/responses/test-000.parquet", "base/rewards/test-000.parquet"])
def test_a_damaged_file_stops_the_job_that_reads_it(name: str, scratch_micro: Project) -> None:
    """A flipped bit in its rows, which the plan does not read."""
    path = scratch_micro.folder / RESULTS / name
    content, status = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 4] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = scratch_micro.snakemake(f"{RESULTS}/rebel-1/evaluation.parquet", "--force")
    assert done.returncode == 1, done.stderr
    log = (scratch_micro.folder / "logs/micro/evaluate_policy/rebel-1.log").read_text()
    assert f"error: {RESULTS}/{name}: this file is not as the pipeline wrote it" in log
    assert "Traceback" not in log
