"""Every program that writes, on a disk that fills up: a sentence, no broken file, and with room it goes on."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from project import Project
from rlhf.base.names import Rows
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.settings import ImportResponsesSpec, ImportSpec
from rlhf.rewards.settings import CombineSpec
from small_disk import NEEDS_ROOT, SmallDisk
from test_determinism import digest
from warm_python import warm_program

pytestmark = [pytest.mark.slow, NEEDS_ROOT]

RESULTS = "results/micro"
OUTPUTS = {
    "collect_prompts": ["prompts.parquet"],
    "generate_responses": ["base/responses/train-000.parquet"],
    "score_responses": ["base/rewards/train-000.parquet"],
    "build_pairs": ["base/pairs/train-000.parquet"],
    "compute_logprobs": ["base/logprobs/train-000.parquet"],
    "train_policy": ["rebel-1/checkpoint", "rebel-1/training.parquet"],
    "evaluate_policy": ["rebel-1/evaluation.parquet", "rebel-1/comparisons.parquet"],
    "length_control": ["length_control.parquet"],
    "report": ["report"],
}
"""All of a job of each rule, as the rule orders them."""
PAGE = 4096


@dataclass
class Program:
    """A program that is started in the folder of a project, with outputs elsewhere."""

    project: Project
    command: Sequence[object]

    def run(self) -> subprocess.CompletedProcess[str]:
        command = [str(warm_program()), *map(str, self.command)]
        return subprocess.run(command, cwd=self.project.folder, capture_output=True, text=True)


@pytest.fixture(scope="session")
def commands(finished_micro: Project) -> dict[str, list[str]]:
    """By the first output: what the rules start, in words."""
    done = finished_micro.snakemake("--dry-run", "--forceall", "--printshellcmds")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    found = {}
    for line in re.findall(r"^\s*(?:exec )?python (/.*/scripts/.*) 2>", text, re.MULTILINE):
        words = shlex.split(line)
        found[next(words[words.index(flag) + 1] for flag in ("--output", "--checkpoint") if flag in words)] = words
    return found


def moved(commands: dict[str, list[str]], stage: str, places: Sequence[Path]) -> list[str]:
    """The command of a stage with its outputs in other places."""
    words = commands[f"{RESULTS}/{OUTPUTS[stage][0]}"]
    for output, place in zip(OUTPUTS[stage], places, strict=True):
        words = [str(place) if word == f"{RESULTS}/{output}" else word for word in words]
    return words


def content(path: Path) -> dict[str, str]:
    """Digests of a file, or of the files of a folder, hidden ones (Snakemake's) left out."""
    files = sorted(path.rglob("[!.]*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): digest(file) for file in files if file.is_file()}


def size(path: Path) -> int:
    files = path.rglob("[!.]*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def assert_stops_and_goes_on(program: Program, place: Path, expected: Path) -> None:
    """With a disk for half of the output at the folder of `place`."""
    disk = place.parent
    disk.mkdir()
    room = max(PAGE, size(expected) // 2 // PAGE * PAGE)
    with SmallDisk(disk, size=str(room)) as small:
        if room >= size(expected):
            (disk / "filler").write_bytes(bytes(room))
        stopped = program.run()
        assert_says(stopped, place, disk)
        assert [path.name for path in disk.iterdir() if path.name != "filler"] == []
        small.resize("100m")
        done = program.run()
        assert done.returncode == 0, done.stderr
        assert content(place) == content(expected) != {}
        assert {path.name for path in disk.iterdir()} <= {"filler", place.name}


def assert_says(stopped: subprocess.CompletedProcess[str], target: Path, disk: Path) -> None:
    assert stopped.returncode == 1, stopped.stderr
    last = stopped.stderr.splitlines()[-1]
    assert last.startswith(f"error: {target}: cannot be written: the disk {disk} is full"), stopped.stderr
    assert last.endswith("Free some space on the disk or in the quota, and run the same command again.")
    assert "Traceback" not in stopped.stderr


@pytest.mark.parametrize(("stage", "full"), [(stage, name) for stage, names in OUTPUTS.items() for name in names])
def test_programs_of_rules(
    stage: str, full: str, commands: dict[str, list[str]], finished_micro: Project, tmp_path: Path
) -> None:
    """The disk of one output fills up; there is room for the others."""
    folder, elsewhere = finished_micro.folder / RESULTS, tmp_path / "roomy"
    elsewhere.mkdir()
    places = {name: (tmp_path / "disk" if name == full else elsewhere) / Path(name).name for name in OUTPUTS[stage]}
    program = Program(finished_micro, moved(commands, stage, list(places.values())))
    assert_stops_and_goes_on(program, places[full], folder / full)
    others = [name for name in OUTPUTS[stage] if name != full]
    assert [content(places[name]) for name in others] == [content(folder / name) for name in others]
    assert {path.name for path in elsewhere.iterdir()} == {places[name].name for name in others}


def test_a_training_that_saves_its_state(
    commands: dict[str, list[str]], finished_micro: Project, tmp_path: Path
) -> None:
    """Model, optimizer and random states: each is written by another library."""
    folder = finished_micro.folder / RESULTS / "rebel-1"
    disk = tmp_path / "disk"
    disk.mkdir()
    words = moved(commands, "train_policy", [disk / "checkpoint", tmp_path / "training.parquet"])
    words[words.index("--save-seconds") + 1] = "0"
    program = Program(finished_micro, words)
    weights = size(folder / "checkpoint/model.safetensors")
    with SmallDisk(disk, size=str(PAGE)) as small:
        for room in (PAGE, weights // 2, weights + 4 * PAGE, 2 * weights):  # within the weights, then the optimizer's
            small.resize(str(room // PAGE * PAGE))
            stopped = program.run()
            (state,) = (disk / "training_state").iterdir()
            assert_says(stopped, state, disk)
            assert list(state.iterdir()) == []
        small.resize("100m")
        done = program.run()
        assert done.returncode == 0, done.stderr
        assert content(disk / "checkpoint") == content(folder / "checkpoint")
        assert len(list(state.glob("step-*"))) == len(list(state.iterdir())) == 1
        assert not list(disk.rglob(".*"))


def imported(project: Project, folder: Path) -> dict[str, list[object]]:
    """Flags of programs that micro has no rule for, but for the output; what is imported is its own."""
    results = project.folder / RESULTS
    tables = {
        name: pq.read_table(results / f"base/{name}/train-000.parquet").to_pylist() for name in ("responses", "rewards")
    }
    table = pq.read_table(results / "prompts.parquet").replace_schema_metadata()
    PROMPTS.write(folder / "prompts.parquet", table, {})  # of no dataset: theirs is another one
    prompts = {row["prompt_id"]: row["prompt"] for row in table.to_pylist()}
    rows: dict[str, dict[str, Any]] = {}
    for response, reward in zip(tables["responses"], tables["rewards"], strict=True):
        row = rows.setdefault(response["prompt_id"], {"prompt": prompts[response["prompt_id"]]})
        row[f"response_{response['draw']}"] = response["response"]
        row[f"response_{response['draw']}_reward"] = reward["reward"]
    dataset = folder / "dataset.jsonl"
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    common: dict[str, Any] = {"dataset": str(dataset), "dataset_fingerprint": "x", "revision": None, "split": "train"}
    common.update(column="prompt", rows=Rows(start=0, stop=4), draws=3)
    responses = ImportResponsesSpec(**common, model=None, max_tokens=30).model_dump_json()
    rewards = ImportSpec(**common).model_dump_json()
    weights = CombineSpec(weights={"armo": 1.0, "again": 2.0}).model_dump_json()
    scores = [results / "base/rewards/train-000.parquet"] * 2
    combined = ["--spec", weights, "--responses", results / "base/responses/train-000.parquet"]
    flags = ["--prompts", folder / "prompts.parquet"]
    return {
        "import_responses": ["--spec", responses, *flags, "--policy", results / "world/policy"],
        "import_rewards": ["--spec", rewards, *flags],
        "combine_rewards": [*combined, "--scores", *scores, "--reference-scores", *scores],
    }


@pytest.mark.parametrize("name", ["import_responses", "import_rewards", "combine_rewards"])
def test_programs_without_a_rule_in_micro(name: str, finished_micro: Project, tmp_path: Path) -> None:
    command = [f"scripts/{name}.py", *imported(finished_micro, tmp_path)[name], "--output"]
    expected, place = tmp_path / "expected.parquet", tmp_path / "disk/out.parquet"
    done = Program(finished_micro, [*command, expected]).run()
    assert done.returncode == 0, done.stderr
    assert_stops_and_goes_on(Program(finished_micro, [*command, place]), place, expected)
