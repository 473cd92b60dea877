"""A licence is what the source's card says, and unknown where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf.models.source import ModelSource
from rlhf.prefetch.settings import HubDataset
from rlhf.publishing.cards.licences import licence, licence_in_words
from rlhf.publishing.settings import Source
from small_hub import COMMIT, SmallHub
from small_models import SCRIPTS

OTHER = {"license": "other", "license_name": "llama3", "license_link": "LICENSE"}


@pytest.mark.parametrize(
    ("card", "found", "words"),
    [
        ("---\nlicense: apache-2.0\ntags: [x]\n---\n# A model\n", {"license": "apache-2.0"}, "apache-2.0"),
        ("---\nlicense: [mit, cc0-1.0]\n---\n", {"license": ["mit", "cc0-1.0"]}, "mit, cc0-1.0"),
        ("---\nlicense: other\nlicense_name: llama3\nlicense_link: LICENSE\n---\n", OTHER, "llama3"),
        ("---\nlicense_link: LICENSE\n---\n", {}, "unknown"),
        ("---\n- a list\n---\n", {}, "unknown"),
        ("---\n{: no YAML\n---\n", {}, "unknown"),
        ("# licensed under MIT, somebody says\n", {}, "unknown"),
        (None, {}, "unknown"),
    ],
)
def test_the_licence_of_a_local_model(card: str | None, found: dict[str, Any], words: str, tmp_path: Path) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    stated = licence(Source(key="base_model", model=ModelSource(name=str(tmp_path), fingerprint="f")), None)
    assert stated == found
    assert licence_in_words(stated) == words


def test_a_file_and_what_was_made_here_have_none(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").touch()
    local = HubDataset(name=str(tmp_path / "prompts.jsonl"), split="train")
    assert licence(Source(key="prompts", dataset=local), None) == {}
    assert licence(Source(key="base_model", made_here="world/policy"), None) == {}


ASK = """
import json, sys
from rlhf.publishing.cards.licences import licence
from rlhf.publishing.settings import Source
source = Source.model_validate_json(sys.argv[1])
print(json.dumps(licence(source, sys.argv[2])))
"""


def test_the_licence_of_hub_repositories(tmp_path: Path) -> None:
    for kind, text in (("models", "---\nlicense: mit\n---\n"), ("datasets", "---\nlicense: cc-by-4.0\n---\n")):
        (tmp_path / "hub" / kind / "open/one").mkdir(parents=True)
        (tmp_path / "hub" / kind / "open/one/README.md").write_text(text)
    model = Source(key="base_model", model=ModelSource(name="open/one"))
    dataset = Source(key="prompts", dataset=HubDataset(name="open/one", split="train"))
    none = Source(key="rewards", model=ModelSource(name="open/none"))

    def ask(source: Source, **variables: str) -> tuple[Any, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment = {**kept, "HF_HOME": str(tmp_path / "home"), **variables}
        command = [sys.executable, "-c", ASK, source.model_dump_json(), COMMIT]
        done = subprocess.run(command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout), done.stderr

    with SmallHub(tmp_path / "hub") as hub:
        assert ask(model, HF_ENDPOINT=hub.url)[0] == {"license": "mit"}
        assert ask(dataset, HF_ENDPOINT=hub.url)[0] == {"license": "cc-by-4.0"}
        found, said = ask(none, HF_ENDPOINT=hub.url)
    assert found == {}
    assert "rewards: the card of open/none cannot be fetched, so its licence is unknown" in said
    assert ask(model, HF_HUB_OFFLINE="1")[0] == {"license": "mit"}
