"""Pairs of earlier iterations beside those of the current one: how many, and which."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.base.artifacts import ArtifactError
from rlhf.logprobs.pairs import logprob_rows
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.training.data import read_pairs
from rlhf.training.settings import TrainSpec, mixed_counts
from small_models import pair_rows, random_pairs, train_spec

SIMPO = train_spec({"name": "simpo"})
COUNTS = st.integers(1, 10**6)


def shared(share: float | None, **changes: object) -> TrainSpec:
    return SIMPO.model_copy(update={"earlier_share": share, **changes})


def write(folder: Path, seed: int, count: int = 40) -> Path:
    path = folder / f"pairs-{seed}.parquet"
    PAIRS.write(path, pair_rows(count, seed), {"spec": {}})
    return path


def ids(pairs: list[Path], earlier: list[Path], spec: TrainSpec) -> list[str]:
    return [pair.prompt_id for pair in read_pairs(pairs, [], spec, earlier=(earlier, []))]


@given(COUNTS, COUNTS, st.floats(0.001, 0.999))
def test_the_share_is_kept_with_as_many_pairs_as_there_are(current: int, earlier: int, share: float) -> None:
    kept, old = mixed_counts(current, earlier, share)
    assert 0 <= kept <= current and 0 <= old <= earlier
    assert kept == current or old == earlier
    assert abs(old - share * (kept + old)) <= 1


def test_shares_of_the_published_size() -> None:
    """59,000 prompts in the third iteration: 118,000 earlier ones."""
    assert mixed_counts(59_000, 118_000, 0.5) == (59_000, 59_000)
    assert mixed_counts(59_000, 118_000, 0.3) == (59_000, 25_286)
    assert mixed_counts(59_000, 118_000, 0.8) == (29_500, 118_000)


def test_without_a_share_all_pairs_follow_in_the_order_of_the_files(tmp_path: Path) -> None:
    first, second, current = (write(tmp_path, seed, 5) for seed in range(3))
    expected = [f"pair-{seed}-{row}" for seed in (2, 0, 1) for row in range(5)]
    assert ids([current], [first, second], shared(None)) == expected


def test_the_draw_depends_on_neither_files_nor_their_order(tmp_path: Path) -> None:
    first, second, current = (write(tmp_path, seed) for seed in range(3))
    PAIRS.write(tmp_path / "both.parquet", [*pair_rows(40, 1), *pair_rows(40, 0)], {"spec": {}})
    drawn = ids([current], [first, second], shared(0.25))
    assert len(drawn) == 40 + 13
    for earlier in ([second, first], [tmp_path / "both.parquet"]):
        assert sorted(ids([current], earlier, shared(0.25))) == sorted(drawn)


def test_a_larger_share_draws_the_same_earlier_pairs_and_more_then_fewer_current_ones(tmp_path: Path) -> None:
    current, earlier = write(tmp_path, 1), write(tmp_path, 2)
    few, more, most = (ids([current], [earlier], shared(share)) for share in (0.2, 0.4, 0.8))
    assert set(few) < set(more) and few[:40] == more[:40]
    assert len(most) == 10 + 40
    assert all(name.startswith("pair-1-") for name in most[:10])


def test_another_policy_or_seed_draws_others(tmp_path: Path) -> None:
    current, earlier = write(tmp_path, 1), write(tmp_path, 2)
    changes: list[dict[str, object]] = [{}, {"policy": "other-2"}, {"seed": 99}]
    assert len({frozenset(ids([current], [earlier], shared(0.2, **change))) for change in changes}) == 3


def test_the_log_probabilities_follow_their_pairs(tmp_path: Path) -> None:
    spec = train_spec({"name": "dpo"}).model_copy(update={"earlier_share": 0.3})
    made_with = {"spec": {"precision": spec.precision, "temperature": spec.temperature}}
    files = []
    for seed in (1, 2):
        pairs, logprobs = random_pairs(40, seed), tmp_path / f"logprobs-{seed}.parquet"
        marks = [float(len(pair.chosen_token_ids) + 100 * len(pair.rejected_token_ids)) for pair in pairs]
        LOGPROBS.write(logprobs, logprob_rows(pairs, marks, marks), made_with)
        files.append(([write(tmp_path, seed)], [logprobs]))
    current, earlier = files
    found = read_pairs(*current, spec, earlier=earlier)
    assert len(found) == 40 + 17
    for pair in found:
        assert pair.chosen_logprob == len(pair.chosen_token_ids) + 100 * len(pair.rejected_token_ids)
    with pytest.raises(ArtifactError, match=r"dpo needs reference log-probabilities: 1 file\(s\)"):
        read_pairs(*current, spec, earlier=(earlier[0], []))
