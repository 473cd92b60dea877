"""What the configuration chooses by name is found by its name, and nothing else is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from rlhf.base.choices import Choice, choice_module, choice_names, import_choice, name_of_choice
from rlhf.base.errors import UserError
from rlhf.responses.settings import ENGINES
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.training.loss import Loss
from small_models import SCRIPTS


class Holder(BaseModel):
    loss: Loss
    judge: Scorer | None = None


@pytest.mark.parametrize("choice", [Loss, RewardSettings])
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
    assert sorted(schema["properties"]["loss"]["discriminator"]["mapping"]) == choice_names(Loss.package)
    assert "RebelSettings" in schema["$defs"]


def test_a_name_without_settings() -> None:
    engine = TypeAdapter(Annotated[name_of_choice(ENGINES, "start"), Field()])
    assert engine.validate_python("vllm") == "vllm"
    with pytest.raises(ValidationError, match="Input should be 'transformers' or 'vllm'"):
        engine.validate_python("vlm")
    assert engine.json_schema()["enum"] == ["transformers", "vllm"]


def test_no_other_choice_is_imported() -> None:
    code = (
        "import sys; from pydantic import TypeAdapter; from rlhf.training.loss import Loss;"
        "TypeAdapter(Loss).validate_python({'name': 'dpo'});"
        "print([name for name in sys.modules if name.startswith('rlhf.training.losses.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == ["rlhf.training.losses.dpo"]


LOSS = "from typing import Literal\nfrom rlhf.training.loss import Loss\n"
ONE = """
class One(Loss):
    name: Literal["broken"]
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class One(:\n", r"cannot be imported: SyntaxError: .*, at .*broken\.py, line 1: class One\(:"),
        (
            "import nothing_here\n",
            r"cannot be imported: ModuleNotFoundError: .*, at .*py, line 1: import nothing",
        ),
        ("HALF = 1 / 0\n", r"cannot be imported: ZeroDivisionError: .*, line 1: HALF = 1 / 0"),
        (LOSS, "defines 0 subclasses of Loss, and must define one"),
        (LOSS + ONE + ONE.replace("One", "Two"), "defines 2 subclasses of Loss, and must define one"),
        (LOSS + ONE.replace("broken", "other"), r"One must have the field `name: Literal\['broken'\]`"),
        (LOSS + "class One(Loss): ...\n", r"One must have the field `name: Literal\['broken'\]`"),
    ],
    ids=["syntax", "import", "exception", "none", "two", "another name", "no name"],
)
def test_a_broken_file_is_named_with_what_to_do(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_choice(tmp_path, monkeypatch, code)
    monkeypatch.setattr(Loss, "package", "broken_choices")
    with pytest.raises(UserError, match=rf"^.*broken\.py: {said}.*\. Fix the file, or remove it and choose another\.$"):
        Holder.model_validate({"loss": {"name": "broken"}})


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def start(:\n", r"cannot be read as Python: SyntaxError: .*line 1: def start\(:"),
        ("def begin(): ...\n", "defines no function `start`"),
    ],
)
def test_a_broken_file_without_settings_is_named_and_not_imported(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_choice(tmp_path, monkeypatch, code)
    engine = TypeAdapter(Annotated[name_of_choice("broken_choices", "start"), Field()])
    with pytest.raises(UserError, match=rf"^.*broken\.py: {said}"):
        engine.validate_python("broken")
    write_choice(tmp_path, monkeypatch, "import nothing_here\ndef start(job): ...\n")
    assert engine.validate_python("broken") == "broken"
    with pytest.raises(UserError, match=r"broken\.py: cannot be imported: ModuleNotFoundError"):
        import_choice("broken_choices.broken")


def write_choice(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A package `broken_choices` with the module `broken`."""
    package = folder / "broken_choices"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    for name in ("broken_choices", "broken_choices.broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
