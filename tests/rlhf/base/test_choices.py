"""What the configuration chooses by name is found by its name, and nothing else is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from rlhf.base.choices import Choice, choice_module, choice_names, name_of_choice
from rlhf.responses.settings import ENGINES
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.training.loss import PairLoss
from small_models import SCRIPTS


class Holder(BaseModel):
    loss: PairLoss
    judge: Scorer | None = None


@pytest.mark.parametrize("choice", [PairLoss, RewardSettings])
def test_each_file_is_a_choice_of_its_name(choice: type[Choice]) -> None:
    assert list(choice.choices()) == choice_names(choice.package) != []
    for name, settings in choice.choices().items():
        assert settings.model_fields[choice.key].annotation.__args__ == (name,)  # type: ignore[union-attr]


def test_some_choices_of_a_package_are_not_of_every_kind() -> None:
    assert set(RewardSettings.choices()) - set(Scorer.choices()) == {"combined"}


def test_settings_are_read_by_their_name_and_written_whole() -> None:
    held = Holder.model_validate({"loss": {"name": "rebel", "eta": 2.0}})
    assert type(held.loss).__name__ == "RebelSettings"
    assert held.loss.module == choice_module("rlhf.training.losses", "rebel")
    assert held.model_dump() == {"loss": {"name": "rebel", "eta": 2.0}, "judge": None}
    assert Holder.model_validate_json(held.model_dump_json()) == held
    assert Holder(loss=held.loss) == held


@pytest.mark.parametrize(
    ("value", "kind", "location"),
    [
        ("rebel", "model_attributes_type", ("loss",)),
        ({"eta": 2.0}, "union_tag_not_found", ("loss",)),
        ({"name": "reble"}, "union_tag_invalid", ("loss",)),
        ({"name": 3}, "union_tag_invalid", ("loss",)),
        ({"name": "__init__"}, "union_tag_invalid", ("loss",)),
        ({"name": "rebel", "beta": 1.0}, "extra_forbidden", ("loss", "rebel", "beta")),
        ({"name": "rebel", "eta": "many"}, "float_type", ("loss", "rebel", "eta")),
    ],
)
def test_errors_are_those_of_a_union(value: object, kind: str, location: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"loss": value})
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == (kind, location)


def test_the_json_schema_has_every_choice() -> None:
    schema = Holder.model_json_schema()
    assert sorted(schema["properties"]["loss"]["discriminator"]["mapping"]) == choice_names(PairLoss.package)
    assert "RebelSettings" in schema["$defs"]


def test_a_name_without_settings() -> None:
    engine = TypeAdapter(Annotated[name_of_choice(ENGINES), Field()])
    assert engine.validate_python("vllm") == "vllm"
    with pytest.raises(ValidationError, match="Input should be 'transformers' or 'vllm'"):
        engine.validate_python("vlm")
    assert engine.json_schema()["enum"] == ["transformers", "vllm"]


def test_no_other_choice_is_imported() -> None:
    code = (
        "import sys; from pydantic import TypeAdapter; from rlhf.training.loss import PairLoss;"
        "TypeAdapter(PairLoss).validate_python({'name': 'dpo'});"
        "print([name for name in sys.modules if name.startswith('rlhf.training.losses.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == ["rlhf.training.losses.dpo"]


def test_a_file_with_two_of_them_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two_in_one").mkdir()
    (tmp_path / "two_in_one/__init__.py").write_text("")
    (tmp_path / "two_in_one/both.py").write_text(
        "from rlhf.training.loss import PairLoss\nclass One(PairLoss): ...\nclass Two(PairLoss): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(PairLoss, "package", "two_in_one")
    with pytest.raises(TypeError, match=r"both\.py defines 2 subclasses of PairLoss"):
        PairLoss.named("both")
