"""The finished micro experiment, made once for all tests of the workflow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from project import Project, copy_project


@pytest.fixture(scope="session")
def finished_micro(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A copy of the project in which the micro experiment has run, one for all workers. Nobody edits it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished-micro"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            running = copy_project(folder.with_name("running-micro"))
            running.run()
            running.folder.rename(folder)
    return Project(folder)


@pytest.fixture(scope="session")
def editable_micro(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of it, Snakemake's records included."""
    folder = tmp_path_factory.mktemp("editable") / "project"
    shutil.copytree(finished_micro.folder, folder)
    return Project(folder)


@pytest.fixture
def micro(editable_micro: Project) -> Iterator[Project]:
    """The finished micro experiment to plan with; sources and configuration are restored after the test."""
    kept = editable_micro.folder.with_name("kept")
    for name in ("config", "scripts", "rules"):
        shutil.copytree(editable_micro.folder / name, kept / name)
    try:
        yield editable_micro
    finally:
        for name in ("config", "scripts", "rules"):
            shutil.rmtree(editable_micro.folder / name)
            shutil.copytree(kept / name, editable_micro.folder / name)
        shutil.rmtree(kept)


@pytest.fixture
def scratch_micro(finished_micro: Project, tmp_path: Path) -> Project:
    """A copy of the finished micro experiment in which a test may run jobs."""
    shutil.copytree(finished_micro.folder, tmp_path / "project")
    return Project(tmp_path / "project")
