"""What the reference says of an edit."""

import pytest

from workflow.reference.reruns import reruns


def test_the_first_pattern_that_matches_counts() -> None:
    assert reruns("prompts.train") != reruns("prompts.dataset")
    assert reruns("variants.<name>.loss.of_a_new_loss") == reruns("variants.<name>.learning_rate")
    assert reruns("hardware.train_policy.gpu") == "nothing"


def test_a_key_without_words_is_an_error() -> None:
    with pytest.raises(KeyError, match="benchmarks"):
        reruns("benchmarks.tasks")
