"""Published results: their download, and the commits that they were made with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.base.files.checksums import seal_folder
from rlhf.models.revisions import read_revisions
from small_hub import COMMIT, SmallHub
from small_models import SCRIPTS

MADE_WITH, ANOTHER = "a" * 40, "b" * 40
LOOK_UP = """
import sys
from pathlib import Path
from rlhf.base.errors import UserError
from rlhf.prefetch.lookup import resolve_revisions
from rlhf.prefetch.results import fetch_results, fetched_results
from rlhf.prefetch.settings import PrefetchSpec
spec = PrefetchSpec.model_validate_json(sys.argv[1])
try:
    for results in spec.results.values():
        print(fetched_results(results) is not None)
        if sys.argv[3] == "fetch":
            print(fetch_results(results), fetched_results(results).name)
    resolve_revisions(spec, Path(sys.argv[2]))
except UserError as error:
    sys.exit(f"error: {error}")
"""
SPEC = {"models": {"base_model.revision": {"name": "open/policy"}, "rewards.revision": {"name": "open/judge"}}}


def published(folder: Path, commit: str | None = MADE_WITH) -> Path:
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text("experiment: mine\n")
    if commit:
        (folder / "revisions.yaml").write_text(f'models: {{"open/policy": "{commit}"}}\n')
    seal_folder(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("policy", "judge"):
        (tmp_path / "hub/models/open" / name).mkdir(parents=True)
        (tmp_path / "hub/models/open" / name / "config.json").write_text("{}")
    return tmp_path / "hub"


def look_up(
    folder: Path, results: list[str | Path], fetch: str = "no", **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", **variables}
    named = {f"reuse.{i}": {"name": str(name), "on_hub": isinstance(name, str)} for i, name in enumerate(results)}
    spec = json.dumps({**SPEC, "datasets": {}, "results": named})
    command = [sys.executable, "-c", LOOK_UP, spec, str(folder / "revisions.yaml"), fetch]
    return subprocess.run(command, cwd=SCRIPTS, env=environment, capture_output=True, text=True)


def test_the_commits_of_published_results_are_used(root: Path, tmp_path: Path) -> None:
    """Before they are downloaded, from the hub alone; what they do not state is looked up."""
    published(root / "datasets/open/results")
    with SmallHub(root) as hub:
        done = look_up(tmp_path, ["open/results"], HF_ENDPOINT=hub.url)
        assert done.stdout == "False\n", done.stderr
    assert read_revisions(tmp_path / "revisions.yaml").models == {"open/policy": MADE_WITH, "open/judge": COMMIT}


def test_the_first_of_several_counts_and_what_was_looked_up_stays(root: Path, tmp_path: Path) -> None:
    first, second = published(tmp_path / "first"), published(tmp_path / "second", ANOTHER)
    with SmallHub(root) as hub:
        assert look_up(tmp_path, [first, second], HF_ENDPOINT=hub.url).returncode == 0
    assert read_revisions(tmp_path / "revisions.yaml").models["open/policy"] == MADE_WITH
    (tmp_path / "revisions.yaml").write_text(f'models: {{"open/policy": "{ANOTHER}"}}\n')
    with SmallHub(root) as hub:
        assert look_up(tmp_path, [first], HF_ENDPOINT=hub.url).returncode == 0
    assert read_revisions(tmp_path / "revisions.yaml").models["open/policy"] == ANOTHER


@pytest.mark.parametrize("commit", [MADE_WITH, None])
def test_what_was_downloaded_works_without_a_hub(commit: str | None, root: Path, tmp_path: Path) -> None:
    published(root / "datasets/open/results", commit)
    with SmallHub(root) as hub:
        done = look_up(tmp_path, ["open/results"], "fetch", HF_ENDPOINT=hub.url)
        assert done.stdout.splitlines() == ["False", f"{COMMIT} {COMMIT}"], done.stderr
        (tmp_path / "revisions.yaml").write_text(f'models: {{"open/judge": "{ANOTHER}"}}\n')
        offline = look_up(tmp_path, ["open/results"], HF_HUB_OFFLINE="1")
    assert offline.stdout == "True\n"
    if commit:
        assert read_revisions(tmp_path / "revisions.yaml").models == {"open/policy": commit, "open/judge": ANOTHER}
    else:
        assert "error: model 'open/policy': HF_HUB_OFFLINE is set" in offline.stderr


def test_a_part_of_a_download_does_not_count(root: Path, tmp_path: Path) -> None:
    published(root / "datasets/open/results")
    with SmallHub(root) as hub:
        assert look_up(tmp_path, ["open/results"], "fetch", HF_ENDPOINT=hub.url).returncode == 0
    next((tmp_path / "home").rglob("experiment.yaml")).unlink()
    assert look_up(tmp_path, ["open/results"], HF_HUB_OFFLINE="1").stdout == "False\n"


def test_results_that_the_hub_does_not_have(root: Path, tmp_path: Path) -> None:
    with SmallHub(root) as hub:
        for fetch in ("fetch", "no"):
            done = look_up(tmp_path, ["open/nothing"], fetch, HF_ENDPOINT=hub.url)
            assert done.returncode == 1
            assert "error: dataset 'open/nothing'" in done.stderr
    assert not (tmp_path / "revisions.yaml").exists()
