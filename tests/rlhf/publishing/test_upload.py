"""The upload against a hub that runs here: nothing is sent that may not be, and an interrupted one is resumed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_hub import TOKEN
from small_models import SCRIPTS
from uploading_hub import NAMESPACE, UploadingHub

UPLOAD = """
import json, sys
from pathlib import Path
from rlhf.base.errors import UserError
from rlhf.publishing.upload import open_hub, upload
names, private = json.loads(sys.argv[2]), sys.argv[3] == "private"
try:
    hub = open_hub(names, private=private)
    print("checked")
    for address in upload(hub, Path(sys.argv[1]), names, private=private):
        print(address)
except UserError as error:
    sys.exit(f"error: {error}")
"""
NAMES = {"dataset": f"{NAMESPACE}/mine", "models/rebel-1": f"{NAMESPACE}/mine-rebel-1"}
LARGE = {"dataset/base/pairs.parquet": b"pairs", "dataset/prompts.parquet": b"prompts"}
WEIGHTS = {"models/rebel-1/model.safetensors": bytes(300_000)}
TEXTS = {"dataset/README.md": b"---\nconfigs: []\n---\n", "models/rebel-1/README.md": b"---\ntags: [rlhf]\n---\n"}
FILES = LARGE | WEIGHTS | TEXTS


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[UploadingHub]:
    with UploadingHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "published" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "published"


def send(
    hub: UploadingHub, folder: Path, names: dict[str, str] | None = None, private: str = "private", **variables: str
) -> subprocess.CompletedProcess[str]:
    """An upload in a process of its own, for huggingface_hub reads the environment when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    given = {"HF_HOME": str(folder.parent / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    environment = {**kept, **given, "HF_TOKEN": TOKEN, **variables}
    command = [sys.executable, "-c", UPLOAD, str(folder), json.dumps(names or NAMES), private]
    return subprocess.run(command, cwd=SCRIPTS, env=environment, capture_output=True, text=True)


def there(hub: UploadingHub, folder: Path) -> dict[str, bytes]:
    """The files of the hub's repositories, by their place in the published folder."""
    root = folder.parent / "hub"
    found = {}
    for place, name in NAMES.items():
        repository = root / ("datasets" if place == "dataset" else "models") / name
        found |= {f"{place}/{path.relative_to(repository)}": path for path in repository.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def changes(hub: UploadingHub) -> list[str]:
    """Requests that could change something on the hub."""
    return [line for line in hub.asked if line.startswith(("POST", "PUT")) and "validate-yaml" not in line]


def test_repositories_are_private_and_hold_what_was_published(hub: UploadingHub, folder: Path) -> None:
    done = send(hub, folder)
    assert done.returncode == 0, done.stderr
    assert there(hub, folder) == FILES
    assert [(asked["name"], asked["visibility"]) for asked in hub.uploads.created] == [
        ("mine", "private"),
        ("mine-rebel-1", "private"),
    ]
    again = send(hub, folder)
    assert again.returncode == 0, again.stderr
    assert len(hub.uploads.commits) == 2
    assert len(hub.uploads.objects) == len(LARGE | WEIGHTS)


def test_the_second_try_completes_and_sends_nothing_twice(hub: UploadingHub, folder: Path) -> None:
    hub.uploads.most_objects = 1
    broken = send(hub, folder)
    assert broken.returncode == 1
    assert f"error: {NAMES['dataset']}: the upload did not complete: " in broken.stderr
    assert "the same command again sends the rest" in broken.stderr
    assert TOKEN not in broken.stderr + broken.stdout
    taken = list(hub.uploads.objects)
    assert len(taken) == 1
    assert hub.uploads.commits == []
    hub.uploads.most_objects = None
    done = send(hub, folder)
    assert done.returncode == 0, done.stderr
    assert there(hub, folder) == FILES
    sent = [hashlib.sha256(content).hexdigest() for content in (LARGE | WEIGHTS).values()]
    assert sorted(hub.uploads.objects) == sorted(sent)
    assert hub.uploads.objects[:1] == taken


def test_files_that_are_published_no_longer_are_removed(hub: UploadingHub, folder: Path) -> None:
    assert send(hub, folder).returncode == 0
    by_hand = folder.parent / "hub/datasets" / NAMES["dataset"] / "figure.png"
    by_hand.write_bytes(b"")
    (folder / "dataset/base/pairs.parquet").unlink()
    (folder / "dataset/prompts.parquet").write_bytes(b"other prompts")
    done = send(hub, folder)
    assert done.returncode == 0, done.stderr
    assert hub.uploads.commits[2:] == [(f"datasets/{NAMES['dataset']}", ["base/pairs.parquet", "prompts.parquet"])]
    assert by_hand.is_file()


@pytest.mark.parametrize(
    ("variables", "names", "said"),
    [
        ({"HF_TOKEN": ""}, None, "publish.upload: the environment variable HF_TOKEN is not set"),
        ({"HF_HUB_OFFLINE": "1"}, None, "publish.upload: HF_HUB_OFFLINE is set in the environment"),
        ({"HF_TOKEN": "hf_wrong"}, None, "publish.upload: the hub does not answer, or refuses the token in HF_TOKEN"),
        ({}, {"dataset": "others/mine"}, "cannot write to 'others'; allowed: someone, my-org"),
    ],
)
def test_what_cannot_be_uploaded_stops_before_anything_is_sent(
    variables: dict[str, str], names: dict[str, str] | None, said: str, hub: UploadingHub, folder: Path
) -> None:
    stopped = send(hub, folder, names, **variables)
    assert stopped.returncode == 1
    assert said in stopped.stderr.splitlines()[-1]
    assert "checked" not in stopped.stdout
    assert changes(hub) == []


def test_nothing_private_goes_to_a_public_repository(hub: UploadingHub, folder: Path) -> None:
    (folder.parent / "hub/models" / NAMES["models/rebel-1"]).mkdir(parents=True)
    stopped = send(hub, folder)
    assert stopped.returncode == 1
    assert f"error: publish.private: the model {NAMES['models/rebel-1']} exists and is public" in stopped.stderr
    assert changes(hub) == []
    assert send(hub, folder, private="public").returncode == 0


def test_a_private_repository_stays_private(hub: UploadingHub, folder: Path) -> None:
    assert send(hub, folder).returncode == 0
    again = send(hub, folder, private="public")
    assert again.returncode == 0, again.stderr
    assert all(hub.uploads.private.values())
    assert f"{NAMES['dataset']} exists and is private" in again.stderr
