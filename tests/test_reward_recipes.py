"""The reward models of docs/reward-models.md, put where it says and run as a program, against passes by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Model, PreTrainedTokenizerFast

from rlhf.base.errors import UserError
from rlhf.models.tokenizers import load_tokenizer
from rlhf.rewards.model_scorer import OTHER_FORM
from rlhf.rewards.schema import REWARDS
from scoring_inputs import ANSWERS, Part, spec, write_part
from warm_python import warm_program
from workflow.planning.model_folders import check_model_folder

REPOSITORY = Path(__file__).resolve().parents[1]
SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "<|source|>", "<|candidate1|>", "<|candidate2|>"]
MARKS = SPECIALS[4:]
MARK_KEYS = ("source_prefix_id", "cand1_prefix_id", "cand2_prefix_id")
PLAN = """
import sys, yaml
from workflow.experiment import load_experiment
from workflow.planning.checks.sources import check_sources
from workflow.planning.memory_check import check_memory
from workflow.planning.model_checks import check_models
from workflow.specs.programs import Specs, as_json
config = yaml.safe_load(open("config/micro.yaml"))
config["rewards"] = yaml.safe_load(sys.argv[1])
experiment = load_experiment(config, "test")
check_sources(experiment), check_models(experiment), check_memory(experiment, experiment.hardware.train_policy)
print(as_json(Specs(experiment).score_responses("train-000", experiment.scorer(None))))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the files of the recipe."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "config", folder / "config")
    recipe = (REPOSITORY / "docs/reward-models.md").read_text()
    found = re.findall(r"`((?:kinds|models)/\w+\.py)`.*?```python\n(.*?)```", recipe, re.DOTALL)
    assert [name for name, _ in found] == ["kinds/text_pair.py", "kinds/pair_ranker.py", "models/pair_ranking.py"]
    for name, code in found:
        (folder / "scripts/rlhf/rewards" / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return write_part(tmp_path_factory.mktemp("part"))


@pytest.fixture(scope="module")
def tokenizer(part: Part) -> PreTrainedTokenizerFast:
    """Words as tokens, in BERT's form of one text and of two; it has no chat template."""
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=SPECIALS)
    words.train_from_iterator([text for pair in part.texts for text in pair], trainer)
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(text, words.token_to_id(text)) for text in ("[CLS]", "[SEP]")],
    )
    named = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **named)


def configuration(tokenizer: PreTrainedTokenizerFast, **more: object) -> DebertaV2Config:
    torch.manual_seed(5)
    return DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=512, type_vocab_size=2, initializer_range=0.3, pad_token_id=0, num_labels=1, **more,
    )  # fmt: skip


def plan(sources: Path, settings: dict[str, object]) -> str:
    """The spec of scoring, once the plan has checked the experiment."""
    command = [sys.executable, "-c", PLAN, json.dumps(settings)]
    environment = {"PYTHONPATH": str(sources / "scripts")}
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(sources: Path, settings: dict[str, object], part: Part, *flags: object) -> list[tuple[float | None, str]]:
    assert json.loads(plan(sources, settings))["scorer"]["kind"] == settings["kind"]
    output = sources / "rewards.parquet"
    arguments = ["--spec", spec(settings), "--prompts", part.prompts, "--responses", part.responses, *flags]
    arguments += ["--reward-model", settings["model"], "--output", output]
    command = [str(warm_program()), str(sources / "scripts/score_responses.py"), *map(str, arguments)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [(row["reward"], row["invalid"]) for row in REWARDS.read(output).to_pylist()]


def test_a_pair_of_texts(sources: Path, part: Part, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = DebertaV2ForSequenceClassification(configuration(tokenizer)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    settings = {"kind": "text_pair", "model": str(tmp_path), "precision": "float32", "max_tokens": 40}
    expected = []
    for prompt, response in part.texts:
        inputs = tokenizer(prompt, response, return_tensors="pt")
        is_long = inputs["input_ids"].shape[1] > 40
        expected.append((None, "too_long") if is_long else (float(model(**inputs).logits.detach()), None))
    found = scores(sources, settings, part)
    assert [invalid for _, invalid in found] == [invalid for _, invalid in expected]
    assert [value for value, _ in found if value is not None] == pytest.approx(
        [value for value, _ in expected if value is not None], abs=1e-5
    )
    assert len({round(value, 3) for value, _ in found if value is not None}) > 10
    assert (None, "too_long") in found


class ByHand:
    """PairRM's form, written without the recipe."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        ids = dict(zip(MARK_KEYS, map(tokenizer.convert_tokens_to_ids, MARKS), strict=True))
        self.tokenizer, self.config = tokenizer, configuration(tokenizer, n_tasks=3, drop_out=0.1, **ids)
        self.encoder = DebertaV2Model(self.config).eval()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 3)

    def save(self, folder: Path) -> None:
        tensors = {f"pretrained_model.{name}": value for name, value in self.encoder.state_dict().items()}
        for index, layer in ((1, self.first), (4, self.last)):
            tensors |= {f"head_layer.{index}.{name}": value for name, value in layer.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        self.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @torch.inference_mode()
    def log_odds(self, *texts: str) -> float:
        """Of the first response against the second: texts of the prompt and of both."""
        ids = [self.tokenizer.encode(mark + text) for mark, text in zip(MARKS, texts, strict=True)]
        starts = [1, len(ids[0]) + 1, len(ids[0]) + len(ids[1]) + 1]
        states = self.encoder(torch.tensor([[*ids[0], *ids[1], *ids[2]]])).last_hidden_state[0]
        prompt, first, second = (states[start] for start in starts)
        strengths = [self.last(torch.tanh(self.first(torch.cat([prompt, one])))) for one in (first, second)]
        return float((strengths[0] - strengths[1]).mean())


def test_a_pairwise_ranker(sources: Path, part: Part, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Alone, its scores have mean 0 for each prompt; against `base` they are what base's own are, for its responses."""
    by_hand = ByHand(tokenizer)
    by_hand.save(tmp_path)
    settings = {"kind": "pair_ranker", "model": str(tmp_path), "precision": "float32", "max_tokens": 400}
    expected = [
        fmean((by_hand.log_odds(prompt, one, other) - by_hand.log_odds(prompt, other, one)) / 2 for other in ANSWERS)
        for prompt, one in part.texts
    ]
    found = [value for value, _ in scores(sources, settings, part)]
    assert found == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) > 10
    for start in range(0, len(expected), len(ANSWERS)):
        assert sum(expected[start : start + len(ANSWERS)]) == pytest.approx(0, abs=1e-4)
    against_base = scores(sources, settings, part, "--reference-responses", part.responses)
    assert [value for value, _ in against_base] == found
    assert (None, "too_long") in scores(sources, {**settings, "max_tokens": 40}, part)


def test_a_reward_model_without_a_chat_template_names_the_recipe(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    for check in (
        lambda: load_tokenizer(str(tmp_path), without_template=OTHER_FORM),
        lambda: check_model_folder(tmp_path, OTHER_FORM),
    ):
        with pytest.raises(UserError, match=r"no chat template.*CONTRIBUTING\.md under 'A reward kind'"):
            check()
    check_model_folder(tmp_path, None)
    assert load_tokenizer(str(tmp_path), without_template=None).chat_template is None
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert "docs/reward-models.md" in text[text.index("## A reward kind") :]
