"""Scores of sequence classifiers against the forward pass of transformers' own class, a conversation at a time."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rlhf.rewards.models.sequence_classifier import SequenceClassifier, load_classifier
from rlhf.tokens.packing import Pack, PromptGroup
from small_models import CPU, save_small_classifier
from small_tokenizers import small_tokenizer

PAD = 6
PADDED: dict[str, list[PromptGroup]] = {
    "at the end": [PromptGroup([3, 4, 5], [[7, 8, PAD], [9, 7, 2]])],
    "several at the end": [PromptGroup([3, 4, 5], [[7, 8, PAD, PAD], [9, PAD]])],
    "in the middle": [PromptGroup([3, PAD, 5], [[7, PAD, 8], [PAD, 9]])],
    "nothing else in a response": [PromptGroup([3, 4, 5], [[PAD, PAD], [8]]), PromptGroup([3, 5, PAD], [[PAD]])],
    "nothing else at all": [PromptGroup([PAD], [[PAD, PAD]]), PromptGroup([4, 9], [[7]])],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier")
    save_small_classifier(path, small_tokenizer())
    return path


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("padding", [PAD, None])
@torch.inference_mode()
def test_the_score_is_that_of_transformers_wherever_padding_stands(
    name: str, padding: int | None, folder: Path
) -> None:
    reference = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    model = load_classifier(str(folder), None, torch.float32).eval()
    reference.config.pad_token_id = model.config.pad_token_id = padding
    groups = PADDED[name]
    sequences = [group.prompt + response for group in groups for response in group.responses]
    expected = [float(reference(torch.tensor([ids])).logits[0, 0]) for ids in sequences]
    scores = SequenceClassifier(model)(Pack(groups, CPU)).values
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 3) for value in expected}) == len(expected)
