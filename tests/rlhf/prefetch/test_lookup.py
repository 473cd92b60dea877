"""Commits are looked up once, on a hub that runs here, in processes without the tests' HF_HUB_OFFLINE."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf.models.revisions import read_revisions
from small_hub import COMMIT, TOKEN, SmallHub
from small_models import SCRIPTS

NEW = "f" * 40
LOOK_UP = """
import sys
from pathlib import Path
from rlhf.base.errors import UserError
from rlhf.prefetch.settings import PrefetchSpec
from rlhf.prefetch.lookup import resolve_revisions
try:
    resolve_revisions(PrefetchSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
except UserError as error:
    sys.exit(f"error: {error}")
"""
SPEC = {
    "models": {
        "base_model.revision": {"name": "open/policy"},
        "evaluation.judge.revision": {"name": "open/policy"},
        "rewards.revision": {"name": "open/pinned", "revision": "v1"},
    },
    "datasets": {"prompts.revision": {"name": "open/prompts", "split": "train"}},
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SmallHub]:
    for name in ("models/open/policy", "models/gated/policy", "datasets/open/prompts"):
        (tmp_path / "hub" / name).mkdir(parents=True)
        (tmp_path / "hub" / name / "config.json").write_text("{}")
    with SmallHub(tmp_path / "hub") as running:
        yield running


def start(spec: object, file: Path, url: str, **more: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {
        **kept,
        "HF_ENDPOINT": url,
        "HF_HOME": str(file.parent / "cache"),
        "PYTHONPATH": str(SCRIPTS),
        **more,
    }
    command = [sys.executable, "-c", LOOK_UP, json.dumps(spec), str(file)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def look_up(spec: object, file: Path, url: str, **more: str) -> str:
    """What the process says to standard error."""
    return start(spec, file, url, **more).communicate()[1]


def of_model(name: str) -> dict[str, object]:
    return {"models": {"base_model.revision": {"name": name}}, "datasets": {}}


def test_recorded_commits_stay(hub: SmallHub, tmp_path: Path) -> None:
    file = tmp_path / "results/experiment/revisions.yaml"
    assert look_up(SPEC, file, hub.url) == ""
    assert read_revisions(file).model_dump() == {
        "models": {"open/policy": COMMIT},
        "datasets": {"open/prompts": COMMIT},
    }
    text = file.read_text()
    assert f'  "open/policy": "{COMMIT}"  # base_model.revision, evaluation.judge.revision\n' in text
    assert f'  "open/prompts": "{COMMIT}"  # prompts.revision\n' in text

    hub.push("models/open/policy", NEW)
    (tmp_path / "hub/models/open/other").mkdir()
    hub.asked.clear()
    assert look_up(SPEC, file, hub.url) == ""
    assert (file.read_text(), hub.asked) == (text, [])
    more = {**SPEC, "models": {**SPEC["models"], "base_model.revision": {"name": "open/other"}}}
    assert look_up(more, file, hub.url) == ""
    assert read_revisions(file).models == {"open/policy": COMMIT, "open/other": COMMIT}
    assert [line for line in hub.asked if "/open/" in line] == ["GET /api/models/open/other"]


def test_two_runs_at_once_agree(hub: SmallHub, tmp_path: Path) -> None:
    """Each push makes the hub's answer another one; every run must leave, and then read, the same."""
    file = tmp_path / "revisions.yaml"
    running = [start(SPEC, file, hub.url) for _ in range(3)]
    for number in range(30):
        hub.push("models/open/policy", f"{number:040x}")
    assert [process.communicate()[1] for process in running] == [""] * 3
    assert len([line for line in hub.asked if "/api/models/open/policy" in line]) == 1


def test_names_that_cannot_be_resolved(hub: SmallHub, tmp_path: Path) -> None:
    file = tmp_path / "revisions.yaml"
    said = look_up(of_model("gated/policy"), file, hub.url)
    assert said.startswith("error: gated/policy is gated: accept its license at https://huggingface.co/gated/policy")
    assert look_up(of_model("gated/policy"), tmp_path / "with-token.yaml", hub.url, HF_TOKEN=TOKEN) == ""
    assert "error: model 'open/nothing': the hub has none of that name" in look_up(
        of_model("open/nothing"), file, hub.url
    )
    said = look_up(of_model("open/policy"), file, "http://127.0.0.1:9")
    assert said.startswith("error: model 'open/policy': cannot look up its newest commit: ")
    assert "Pin it (`base_model.revision`)" in said
    assert not file.exists()


def test_offline_the_cached_commit_is_used(tmp_path: Path) -> None:
    file = tmp_path / "revisions.yaml"
    said = look_up(SPEC, file, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert said.startswith("error: model 'open/policy': HF_HUB_OFFLINE is set, and the hub's cache")
    for name in ("models--open--policy", "datasets--open--prompts"):
        (tmp_path / "cache/hub" / name / "refs").mkdir(parents=True)
        (tmp_path / "cache/hub" / name / "refs/main").write_text(NEW)
    assert look_up(SPEC, file, "http://127.0.0.1:9", HF_HUB_OFFLINE="1") == ""
    assert read_revisions(file).model_dump() == {"models": {"open/policy": NEW}, "datasets": {"open/prompts": NEW}}
