"""The file of an experiment's commits, as programs read it."""

from pathlib import Path

import pytest

from rlhf.base.errors import UserError
from rlhf.datasets.files import open_dataset
from rlhf.models.revisions import read_revisions, recorded_commit
from rlhf.models.source import ModelSource, model_location

COMMIT, OTHER = "0" * 40, "1e10" * 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "revisions.yaml"
    path.write_text(
        f'models:\n  "owner/model": "{COMMIT}"  # base_model.revision\ndatasets:\n  owner/data: "{OTHER}"\n'
    )
    return path


def test_a_null_revision_is_the_recorded_commit(file: Path) -> None:
    assert model_location(None, ModelSource(name="owner/model"), file) == ("owner/model", COMMIT)
    assert recorded_commit(file, "dataset", "owner/data") == OTHER


def test_what_is_pinned_or_local_is_not_looked_up(file: Path, tmp_path: Path, policy_folder: Path) -> None:
    assert model_location(None, ModelSource(name="owner/model", revision="v1"), file) == ("owner/model", "v1")
    nowhere = tmp_path / "absent.yaml"
    local = ModelSource(name=str(policy_folder), fingerprint="f")
    assert model_location(None, local, nowhere) == (str(policy_folder), None)
    assert model_location(policy_folder, None, nowhere) == (str(policy_folder), None)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hello"}\n')
    with open_dataset(tmp_path / "rows.jsonl", None, "train", None, nowhere) as (rows, commit):
        assert (rows["prompt"][:], commit) == (["Hello"], None)


def test_without_the_flag_it_is_the_newest() -> None:
    assert model_location(None, ModelSource(name="owner/model")) == ("owner/model", None)


def test_a_name_without_a_commit_is_an_error(file: Path, tmp_path: Path) -> None:
    for path, kind, name in ((file, "model", "owner/data"), (tmp_path / "absent.yaml", "dataset", "owner/data")):
        with pytest.raises(UserError, match=f"{path}: no commit of the {kind} '{name}'. Snakemake looks it up"):
            recorded_commit(path, kind, name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [", "not a list of models and datasets"),
        ("models: {a/b: 12}", "not a list of models and datasets"),
        ("weights: {}", "not a list of models and datasets"),
        ("models: {a/b: main}", "a/b: 'main' is not a commit"),
        ("", "not a list of models and datasets"),
    ],
)
def test_a_broken_file(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "revisions.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"revisions.yaml: .*{said}"):
        read_revisions(tmp_path / "revisions.yaml")
