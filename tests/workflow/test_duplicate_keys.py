"""A key that stands twice in a configuration: refused with both lines, wherever it is."""

from pathlib import Path

import pytest

from rlhf.base.errors import UserError
from workflow.duplicate_keys import refuse_duplicate_keys

REPOSITORY = Path(__file__).resolve().parents[2]
TWICE = {
    "a second seed": ("seed: 1\nexperiment: x\nseed: 2\n", "  seed: lines 1 and 3"),
    "two variants of one name": (
        "variants:\n  rebel:\n    loss: {name: rebel}\n  rebel:\n    loss: {name: dpo}\n",
        "  variants.rebel: lines 2 and 4",
    ),
    "in braces": ("loss: {name: dpo, beta: 1.0,\n  beta: 2.0}\n", "  loss.beta: lines 1 and 2"),
    "quoted once": ('seed: 1\n"seed": 2\n', "  seed: lines 1 and 2"),
    "in a list": ("a:\n- {b: 1, b: 2}\n", "  a.0.b: lines 2 and 2"),
    "a whole section": ("prompts: {train: 1}\nprompts: {test: 1}\n", "  prompts: lines 1 and 2"),
    "JSON": ('{\n\t"seed": 1,\n\t"seed": 2\n}\n', "  seed: lines 2 and 3"),
    "not in Latin letters": ("größe: 1\ngröße: 2\n", "  größe: lines 1 and 2"),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_key_that_stands_twice(case: str, tmp_path: Path) -> None:
    text, said = TWICE[case]
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="duplicate keys") as caught:
        refuse_duplicate_keys(tmp_path / "config.yaml")
    assert str(caught.value).splitlines()[1:] == [said]


def test_every_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    with pytest.raises(UserError, match=r"(?s)  a: lines 1 and 2\n  b\.c: lines 3 and 3"):
        refuse_duplicate_keys(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    ["", "a: 1\n", "a: {x: 1}\nb: {x: 1}\n", "base: &b {x: 1}\nc: {<<: *b, x: 2}\n", "1: a\n'1': b\n"],
)
def test_what_is_no_duplicate(text: str, tmp_path: Path) -> None:
    """An empty file, the same key in two sections, an override of a merged one, a number and a text."""
    (tmp_path / "config.yaml").write_text(text)
    refuse_duplicate_keys(tmp_path / "config.yaml")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_of_the_repository(path: Path) -> None:
    refuse_duplicate_keys(path)
