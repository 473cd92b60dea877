"""Publish, delete everything, train again from what was published: from its folder, and from a hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments import patch
from project import Project, copy_project
from rlhf.base.files.checksums import verify
from rlhf.base.lineage import checked_inputs
from rlhf.pairs.schema import PAIRS
from rlhf.publishing.preferences import PREFERENCES
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from small_hub import TOKEN
from uploading_hub import NAMESPACE, UploadingHub

pytestmark = pytest.mark.slow
RESULTS, PUBLISHED = Path("results/micro"), Path("results/micro/published")
WEIGHTS = "model.safetensors"
TRAINED = ("rebel-1", "rebel-2", "simpo-1")


@pytest.fixture(scope="module")
def published(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The micro experiment, published. Nobody edits it."""
    folder = tmp_path_factory.mktemp("published") / "project"
    shutil.copytree(finished_micro.folder, folder)
    Project(folder).run("publish")
    return Project(folder)


def stranger(folder: Path, published: Project | None, reuse: str) -> tuple[Project, str]:
    """Somebody with the pipeline and what was published, and nothing else: the project, and the configuration."""
    project = copy_project(folder)
    if published is not None:
        shutil.copytree(published.folder / PUBLISHED, project.folder / "theirs")
    return project, project.write_config(patch(project.read_config(), {"reuse": [reuse]}), "theirs")


def jobs(project: Project) -> set[str]:
    """What ran: rule, or rule/policy."""
    logs = project.folder / "logs/micro"
    return {str(path.relative_to(logs).with_suffix("")) for path in logs.rglob("*.log")}


def test_every_dataset_is_read_and_holds_the_results(published: Project, tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    folder, results = published.folder / PUBLISHED / "dataset", published.folder / RESULTS
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0
    names = get_dataset_config_names(str(folder))
    read = {name: load_dataset(str(folder), name, cache_dir=str(tmp_path)) for name in names}
    for name, artifact in (("responses", RESPONSES), ("rewards", REWARDS), ("pairs", PAIRS)):
        rows = read[f"base_{name}"]["train"].to_list()
        files = sorted((results / "base" / name).glob("train-*.parquet"))
        assert rows == [row for file in files for row in artifact.read(file).to_pylist()]
    draws, rewards = (
        [(row["prompt_id"], row["draw"]) for row in read[name]["train"]] for name in ("base_responses", "base_rewards")
    )
    assert draws == rewards
    assert read["prompts"]["prompts"].num_rows == 16
    default = load_dataset(str(folder), split="test", cache_dir=str(tmp_path)).to_list()
    assert default == PREFERENCES.read(folder / "base/preferences/test-000.parquet").to_pylist()
    assert default == read["base_preferences"]["test"].to_list()
    assert (folder / "prompts.parquet").samefile(results / "prompts.parquet")


def test_models_load_and_their_cards_are_true(published: Project) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for policy in TRAINED:
        folder = published.folder / PUBLISHED / "models" / policy
        verify(folder)
        checked_inputs(policy=folder)  # as a base model of somebody else
        assert (folder / WEIGHTS).samefile(published.folder / RESULTS / policy / "checkpoint" / WEIGHTS)
        AutoModelForCausalLM.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
        card = (folder / "README.md").read_text()
        assert "{results}" not in card
        front_matter = yaml.safe_load(card.split("---\n")[1])
        assert front_matter["tags"] == ["rlhf", policy.split("-")[0]]
        assert "on 8 preference pairs" in card


def test_publishing_again_changes_nothing(published: Project) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        found = [path for path in (published.folder / PUBLISHED).rglob("*") if path.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found if path.name != "SHA256SUMS"}

    before = state()
    published.run("publish")
    assert state() == before
    assert published.planned() == {}


def test_the_policies_are_trained_again_to_the_byte(published: Project, tmp_path: Path) -> None:
    """Only training is computed; the data of a later iteration are taken once the policy before it is there."""
    project, config = stranger(tmp_path / "project", published, "theirs")
    other = project.write_config(patch(project.read_config("theirs"), {"responses.top_p": 0.5}), "other")
    assert project.planned(configfile=other)["generate_responses"] >= {"base"}
    assert "generate_responses" not in project.planned(str(RESULTS / "rebel-1/checkpoint"), configfile=config)
    project.run(*(str(RESULTS / policy / "checkpoint") for policy in ("rebel-1", "simpo-1")), configfile=config)
    assert jobs(project) == {"train_policy/rebel-1", "train_policy/simpo-1"}
    project.run(str(RESULTS / "rebel-2/checkpoint"), configfile=config)
    assert jobs(project) == {f"train_policy/{policy}" for policy in TRAINED}
    for policy in TRAINED:
        trained = project.folder / RESULTS / policy / "checkpoint" / WEIGHTS
        theirs = project.folder / "theirs/models" / policy / WEIGHTS
        assert trained.read_bytes() == theirs.read_bytes()
        assert not trained.samefile(theirs)
    assert project.planned(configfile=config) == {"report": {""}}  # which is not published


def test_from_a_hub_alone(published: Project, tmp_path: Path) -> None:
    """The upload breaks in the middle, and the second try completes it; then somebody else trains from the hub."""
    owner = Project(tmp_path / "owner")
    shutil.copytree(published.folder, owner.folder)
    mine = {"publish": {"upload": True, "namespace": NAMESPACE, "policies": ["rebel-1"]}}
    config = owner.write_config(patch(owner.read_config(), mine), "mine")
    with UploadingHub(tmp_path / "hub") as hub:

        def run(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
            """With a hub: programs that start warm have none."""
            kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
            given = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(project.folder / ".home")}
            command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2"]
            environment = {**kept, **given, "HF_TOKEN": TOKEN}
            return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)

        hub.uploads.most_objects = 3
        assert run(owner, "publish", "--configfile", config).returncode == 1
        log = (owner.folder / "logs/micro/publish.log").read_text()
        assert f"error: {NAMESPACE}/micro: the upload did not complete" in log
        taken = list(hub.uploads.objects)
        assert len(taken) == 3
        hub.uploads.most_objects = None
        done = run(owner, "publish", "--configfile", config)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"uploaded to {hub.url}/datasets/{NAMESPACE}/micro" in done.stdout
        assert not set(taken) & set(hub.uploads.objects[3:])
        assert sorted(name for name, _ in hub.uploads.commits) == [
            f"datasets/{NAMESPACE}/micro",
            f"models/{NAMESPACE}/micro-rebel-1",
        ]
        assert all(hub.uploads.private.values())
        written = [path for path in owner.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
        assert TOKEN not in done.stdout + done.stderr

        project, config = stranger(tmp_path / "project", None, f"hub:{NAMESPACE}/micro")
        target = str(RESULTS / "rebel-1/checkpoint")
        early = run(project, target, "--configfile", config)
        assert early.returncode == 1
        assert f"reuse.0: hub:{NAMESPACE}/micro is not in the hub's cache on this machine" in early.stderr
        fetched = run(project, "prefetch", "--configfile", config)
        assert fetched.returncode == 0, fetched.stderr
        assert f"reuse.0: hub:{NAMESPACE}/micro@" in fetched.stdout
        done = run(project, target, "--configfile", config)
        assert done.returncode == 0, done.stdout + done.stderr
        assert jobs(project) == {"prefetch", "train_policy/rebel-1"}
    theirs = tmp_path / "hub/models" / NAMESPACE / "micro-rebel-1" / WEIGHTS
    assert (project.folder / target / WEIGHTS).read_bytes() == theirs.read_bytes()
