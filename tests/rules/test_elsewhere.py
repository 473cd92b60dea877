"""The pipeline runs from any folder, from any source tree, and as a module of another workflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from project import WORLD, Project, copy_project
from small_disk import NEEDS_ROOT, SmallDisk
from test_determinism import digest

UNPLEASANT = 'it\'s a "source" tree'
PARENT = """
configfile: "settings.yaml"

module rlhf:
    snakefile: {snakefile}
    config: config["rlhf"]

use rule * from rlhf as rlhf_*

rule count:
    input: "results/micro/rebel-1/evaluation.parquet"
    output: "count.txt"
    default_target: True
    params: spec=3
    shell: "wc -c < {{input}} > {{output}}"
"""
"""A workflow with this one as a module, and with a rule of its own that uses a result."""


def snakemake(folder: Path, *arguments: str, **environment: str) -> str:
    """What Snakemake says; the test fails with it where the run does."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def digests(folder: Path, *, without: str = "report") -> dict[str, str]:
    """The SHA-256 of each result of the micro experiment, by its path."""
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted((folder / "results/micro").rglob("*"))
        if path.is_file() and without not in path.parts and path.name != ".snakemake_timestamp"
    }


def copy_world(finished: Project, folder: Path) -> None:
    shutil.copytree(finished.folder / "results/micro" / WORLD, folder / "results/micro" / WORLD)


@NEEDS_ROOT
@pytest.mark.slow
def test_a_read_only_source_tree_with_spaces_and_quotes_runs_from_elsewhere(
    finished_micro: Project, tmp_path: Path
) -> None:
    sources, elsewhere = tmp_path / UNPLEASANT, tmp_path / "else where"
    sources.mkdir()
    copy_world(finished_micro, elsewhere)
    with SmallDisk(sources, "100m") as disk:
        copy_project(sources)
        subprocess.run(["mount", "-o", "remount,ro", sources], check=True)
        configfile = str(sources / "config/micro.yaml")
        flags = ("-s", str(sources / "Snakefile"), "--directory", str(elsewhere), "--configfile", configfile)
        snakemake(tmp_path, *flags)
        assert "Nothing to be done" in snakemake(tmp_path, *flags)
        assert disk.folder == sources
    assert digests(elsewhere) == digests(finished_micro.folder)


def test_the_tiny_experiment_is_the_default_from_anywhere(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    planned = snakemake(elsewhere, "-n", "-s", str(project.folder / "Snakefile"))
    assert "results/tiny/report" in planned


def test_a_configuration_in_the_working_directory_goes_before_the_default(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (tmp_path / "elsewhere/config").mkdir(parents=True)
    shutil.copy(project.folder / "config/micro.yaml", tmp_path / "elsewhere/config/config.yaml")
    planned = snakemake(tmp_path / "elsewhere", "-n", "-s", str(project.folder / "Snakefile"))
    assert "results/micro/report" in planned
    assert "results/tiny" not in planned


def write_parent(folder: Path, sources: Project, snakefile: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(PARENT.format(snakefile=snakefile))
    (folder / "settings.yaml").write_text(yaml.safe_dump({"rlhf": sources.read_config()}))


@pytest.mark.slow
def test_as_a_module_of_another_workflow_it_makes_the_same_bytes(finished_micro: Project, tmp_path: Path) -> None:
    sources = copy_project(tmp_path / UNPLEASANT)
    parent = tmp_path / "parent"
    copy_world(finished_micro, parent)
    write_parent(parent, sources, repr(str(sources.folder / "Snakefile")))
    snakemake(parent)
    assert int((parent / "count.txt").read_text()) > 0
    snakemake(parent, "rlhf_all")
    assert digests(parent) == digests(finished_micro.folder)
    assert "Nothing to be done" in snakemake(parent, "rlhf_all", "count")
    edited = sources.folder / "scripts/rlhf/training/losses/rebel.py"
    edited.write_text(edited.read_text().replace("residual / max(1.0, eta)", "residual / max(2.0, eta)"))
    planned = snakemake(parent, "-n", "rlhf_all", "count")
    assert "rule rlhf_train_policy:" in planned
    assert "rule rlhf_build_pairs:" in planned  # of rebel-1, for rebel-2
    assert "rule rlhf_collect_prompts:" not in planned


def test_a_module_from_github_brings_its_programs_along(tmp_path: Path) -> None:
    """The real path through Snakemake's clone of a repository; git itself finds it on this disk."""
    sources = copy_project(tmp_path / "owner/pipeline")
    git = ["git", "-C", str(sources.folder), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    write_parent(tmp_path / "parent", sources, 'github("owner/pipeline", path="workflow/Snakefile", tag="v1")')
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{tmp_path}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    snakemake(tmp_path / "parent", "results/micro/world/tokenizer", **environment)
    assert (tmp_path / "parent/results/micro/world/tokenizer/tokenizer.json").exists()
    assert "Nothing to be done" in snakemake(tmp_path / "parent", "results/micro/world/tokenizer", **environment)
