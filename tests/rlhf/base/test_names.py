"""Policies, and parts of the splits."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.base.artifacts import ArtifactError
from rlhf.base.names import Rows, parent, part_names, part_rows, split_name, variant_and_iteration
from rlhf.prompts.schema import PROMPTS, read_part

SPLITS = st.sampled_from(["train", "test"])


def rows_of(split: str, size: int, part_size: int, total: int) -> list[list[int]]:
    """Which of `total` rows each part takes, as `read_part` reads them."""
    parts = [part_rows(part, size, part_size) for part in part_names(split, size, part_size)]
    return [list(range(total))[rows.start : rows.stop if rows.stop or rows.start >= 0 else None] for rows in parts]


@given(split=SPLITS, size=st.integers(1, 200), part_size=st.integers(1, 60), spare=st.integers(0, 20))
def test_parts_cover_the_split_once(split: str, size: int, part_size: int, spare: int) -> None:
    total = size + spare
    taken = [row for part in rows_of(split, size, part_size, total) for row in part]
    assert sorted(taken) == list(range(size) if split == "train" else range(spare, total))


@given(split=SPLITS, size=st.integers(1, 200), more=st.integers(0, 200), part_size=st.integers(1, 60))
def test_full_parts_stay_as_they_are_when_a_split_grows(split: str, size: int, more: int, part_size: int) -> None:
    for number in range(size // part_size):
        part = f"{split}-{number:03d}"
        assert part_rows(part, size, part_size) == part_rows(part, size + more, part_size)


@given(sizes=st.tuples(st.integers(1, 50), st.integers(1, 50)), part_size=st.integers(1, 60))
def test_train_and_test_do_not_meet(sizes: tuple[int, int], part_size: int) -> None:
    train, test = sizes
    taken = [
        row
        for split, size in (("train", train), ("test", test))
        for part in rows_of(split, size, part_size, train + test)
        for row in part
    ]
    assert sorted(taken) == list(range(train + test))


def test_names() -> None:
    assert part_names("train", 21, 10) == ["train-000", "train-001", "train-002"]
    assert part_names("test", 20, 10) == ["test-000", "test-001"]
    assert part_rows("train-002", 21, 10) == Rows(start=20, stop=21)
    assert part_rows("test-000", 21, 10) == Rows(start=-10, stop=0)
    assert part_rows("test-002", 21, 10) == Rows(start=-21, stop=-20)


def test_read_part(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    rows = [{"prompt_id": f"p{n}", "prompt": f"{n}", "prompt_token_ids": [n]} for n in range(10)]
    PROMPTS.write(path, rows, {})
    for start, stop, expected in ((0, 3, "012"), (9, 10, "9"), (-3, 0, "789"), (-10, -8, "01"), (0, 10, "0123456789")):
        assert "".join(read_part(path, Rows(start=start, stop=stop))["prompt"].to_pylist()) == expected
    for start, stop in ((8, 11), (10, 12), (-11, -8), (-20, 0)):
        with pytest.raises(ArtifactError, match=r"prompts\.parquet: cannot read rows .*: the file has 10 rows"):
            read_part(path, Rows(start=start, stop=stop))


def test_a_policy_is_a_variant_and_an_iteration() -> None:
    assert variant_and_iteration("a_b-12") == ("a_b", 12)
    assert [parent(policy) for policy in ("rebel-1", "rebel-2", "a-b-10")] == ["base", "rebel-1", "a-b-9"]


@pytest.mark.parametrize("name", ["base", "rebel", "rebel-", "-1"])
def test_other_names_are_no_trained_policies(name: str) -> None:
    with pytest.raises(ValueError, match="is not <variant>-<iteration>"):
        variant_and_iteration(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("base", ("base", 0)), ("rebel-2", ("rebel", 2)), ("a-b-10", ("a-b", 10)), ("x-y", ("x-y", 0))],
)
def test_names_split_into_variant_and_iteration(name: str, expected: tuple[str, int]) -> None:
    assert split_name(name) == expected
