"""Entries of `reuse` that name published results."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.base.errors import UserError
from rlhf.prefetch.settings import PublishedResults
from workflow.reuse.published import local_folders, published_results


def test_a_dataset_of_the_hub() -> None:
    assert published_results("hub:my-org/mine") == PublishedResults(name="my-org/mine", on_hub=True)
    pinned = PublishedResults(name="my-org/mine.v2", on_hub=True, revision="c0ffee")
    assert published_results("hub:my-org/mine.v2@c0ffee") == pinned


@pytest.mark.parametrize("entry", ["hub:", "hub:mine", "hub:a/b/c", "hub:a/b@", "hub:datasets/a/b"])
def test_what_is_none(entry: str) -> None:
    with pytest.raises(UserError, match=f"'{entry}' is no dataset of the hub: allowed are `hub:owner/name"):
        published_results(entry)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "published/dataset").mkdir(parents=True)
    (tmp_path / "published/dataset/experiment.yaml").touch()
    (tmp_path / "results").mkdir()
    expected = PublishedResults(name=str(tmp_path / "published/dataset"), on_hub=False)
    assert published_results(str(tmp_path / "published")) == expected
    assert published_results(str(tmp_path / "published/dataset")) == expected
    assert published_results(str(tmp_path / "results")) is None
    assert local_folders([str(tmp_path / "results"), str(tmp_path / "published")]) == [
        str(tmp_path / "results"),
        str(tmp_path / "published/dataset"),
    ]


def test_what_was_not_downloaded_is_said() -> None:
    """Tests have an empty cache, or one without this, and HF_HUB_OFFLINE."""
    with pytest.raises(
        UserError, match=r"reuse\.1: hub:no-such/results is not in the hub's cache .*snakemake prefetch"
    ):
        local_folders(["results", "hub:no-such/results"])
