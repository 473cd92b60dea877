"""Reading several pairs per prompt: with the reference of each pair, and the pairs of a prompt together."""

from pathlib import Path

import pytest

from rlhf.base.artifacts import ArtifactError
from rlhf.training.data import pairs_of, read_pairs
from several_pairs import referenced, several_prompts, several_rows, write_several
from small_models import small_llama, train_spec

DPO = {"name": "dpo", "beta": 0.5}
SIMPO = {"name": "simpo", "beta": 2.5, "gamma": 1.0}


def test_prompts_of_all_files_with_the_reference_of_each_pair(tmp_path: Path) -> None:
    spec, rows = train_spec(DPO), [several_rows(5, seed=seed) for seed in (1, 2)]
    files = [write_several(tmp_path, f"{seed}", found, small_llama(), 0.8) for seed, found in enumerate(rows)]
    found = read_pairs([pairs for pairs, _ in files], [logprobs for _, logprobs in files], spec)
    expected = referenced(small_llama(), [*several_prompts(5, seed=1), *several_prompts(5, seed=2)], 0.8)
    assert len(found) == 10 and len(found.pairs) == len(pairs_of(expected))
    for prompt, wanted in zip(found, expected, strict=True):
        assert prompt.prompt_id == wanted.prompt_id and prompt.places == wanted.places
        for pair, other in zip(prompt.pairs, wanted.pairs, strict=True):
            assert list(pair.rejected_token_ids) == other.rejected_token_ids
            assert pair.rejected_logprob == pytest.approx(other.rejected_logprob, rel=1e-6)


def test_log_probabilities_of_other_draws_are_refused(tmp_path: Path) -> None:
    rows = several_rows(3)
    pairs, _ = write_several(tmp_path, "pairs", rows, small_llama(), 0.8)
    swapped = [[rows[0][1], rows[0][0], *rows[0][2:]], *rows[1:]]
    _, logprobs = write_several(tmp_path, "other", swapped, small_llama(), 0.8)
    with pytest.raises(ArtifactError, match="are not those of the pairs"):
        read_pairs([pairs], [logprobs], train_spec(DPO))


def test_a_share_of_earlier_prompts_takes_each_with_all_its_pairs(tmp_path: Path) -> None:
    spec = train_spec(SIMPO).model_copy(update={"earlier_share": 0.25})
    files = [
        write_several(tmp_path, f"{seed}", several_rows(12, seed=seed), small_llama(), 0.8)[0] for seed in (1, 2, 3)
    ]
    found = read_pairs(files[:1], [], spec, earlier=(files[1:], []))
    assert len(found) == 12 + 4
    whole = {prompt.prompt_id: len(prompt.pairs) for seed in (1, 2, 3) for prompt in several_prompts(12, seed=seed)}
    assert all(len(prompt.pairs) == whole[prompt.prompt_id] for prompt in found)
    again = read_pairs(files[:1], [], spec, earlier=([files[2], files[1]], []))
    assert {prompt.prompt_id for prompt in again} == {prompt.prompt_id for prompt in found}
