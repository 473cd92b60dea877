"""Files of different commits of a model are refused, by name."""

from pathlib import Path
from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.logprobs.schema import LOGPROBS
from rlhf.models.commits import commits_behind, common_commits
from rlhf.pairs.schema import PAIRS
from rlhf.rewards.schema import REWARDS
from small_models import pair_rows

OLD, NEW, SCORER = "a" * 40, "b" * 40, "c" * 40


def pairs(folder: Path, name: str, **revisions: str) -> Path:
    path = folder / f"{name}.parquet"
    PAIRS.write(path, pair_rows(2), {"revisions": revisions})
    return path


def logprobs(folder: Path, name: str, commit: str | None) -> Path:
    path = folder / f"{name}-logprobs.parquet"
    LOGPROBS.write(path, [], {"model_revision": commit})
    return path


def rewards(folder: Path, name: str, origin: dict[str, Any]) -> Path:
    path = folder / f"{name}-rewards.parquet"
    REWARDS.write(path, [], origin)
    return path


def test_commits_behind_a_file(tmp_path: Path) -> None:
    assert commits_behind(logprobs(tmp_path, "hub", OLD)) == {"policy": OLD}
    assert commits_behind(logprobs(tmp_path, "folder", None)) == {}
    assert commits_behind(rewards(tmp_path, "model", {"model_revision": SCORER})) == {"reward model": SCORER}
    assert commits_behind(rewards(tmp_path, "function", {})) == {}
    combined = {"revisions": {"scorer helpful": SCORER}}
    assert commits_behind(rewards(tmp_path, "combined", combined)) == combined["revisions"]


def test_files_of_one_commit_go_together(tmp_path: Path) -> None:
    files = [pairs(tmp_path, "first", policy=OLD, **{"reward model": SCORER}), pairs(tmp_path, "second", policy=OLD)]
    files += [logprobs(tmp_path, "first", OLD), logprobs(tmp_path, "folder", None)]
    assert common_commits(files, {"policy": OLD}) == {"policy": OLD, "reward model": SCORER}
    assert common_commits(files, {"policy": None}) == {"policy": OLD, "reward model": SCORER}
    assert common_commits([]) == {}


def test_two_commits_are_refused_with_both_files(tmp_path: Path) -> None:
    first, second = pairs(tmp_path, "first", policy=OLD), logprobs(tmp_path, "second", NEW)
    with pytest.raises(UserError) as error:
        common_commits([first, second])
    assert str(error.value).startswith(
        f"two revisions of the policy are mixed: {first} has commit {OLD}, but {second} has commit {NEW}."
    )


def test_files_of_another_commit_than_the_model_are_refused(tmp_path: Path) -> None:
    path = logprobs(tmp_path, "first", OLD)
    with pytest.raises(UserError, match=f"{path} has commit {OLD}, but the policy to be loaded has commit {NEW}"):
        common_commits([path], {"policy": NEW})


def test_a_reward_model_of_two_commits_is_refused(tmp_path: Path) -> None:
    files = [pairs(tmp_path, name, policy=OLD, **{"reward model": commit}) for name, commit in (("a", OLD), ("b", NEW))]
    with pytest.raises(UserError, match=f"two revisions of the reward model are mixed: .*/a.parquet has commit {OLD}"):
        common_commits(files)
