"""The finished micro experiment, made once for all tests of the workflow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflow import Project, copy_project


@pytest.fixture(scope="session")
def finished_micro(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which the micro experiment has run. Do not edit: use `micro`."""
    project = copy_project(tmp_path_factory.mktemp("micro"))
    project.run()
    return project


@pytest.fixture
def micro(finished_micro: Project) -> Iterator[Project]:
    """The finished micro experiment; sources and configuration are restored after the test, results must not change."""
    kept = finished_micro.folder.with_name("kept")
    for name in ("config", "scripts", "rules"):
        shutil.copytree(finished_micro.folder / name, kept / name, dirs_exist_ok=True)
    try:
        yield finished_micro
    finally:
        for name in ("config", "scripts", "rules"):
            shutil.rmtree(finished_micro.folder / name)
            shutil.copytree(kept / name, finished_micro.folder / name)
        shutil.rmtree(kept)


@pytest.fixture
def scratch_micro(finished_micro: Project, tmp_path: Path) -> Project:
    """A copy of the finished micro experiment, Snakemake's records included, in which a test may run jobs."""
    shutil.copytree(finished_micro.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
