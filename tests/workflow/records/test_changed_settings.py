"""What changed since a result was made, in words."""

from typing import Any

from workflow.records.changed_settings import changed_settings

MADE: dict[str, Any] = {
    "recipe": {"learning_rate": 0.0001, "epochs": 1, "lora": None},
    "loss": {"name": "dpo", "beta": 0.1},
    "seed": 1,
    "system": "a" * 100,
}
ASKED: dict[str, Any] = {
    "recipe": {"learning_rate": 0.0002, "epochs": 1, "lora": {"rank": 8}},
    "loss": {"name": "simpo", "beta": 0.1, "gamma": 1.0},
    "seed": 1,
    "system": "b" * 100,
}


def test_each_setting_with_both_values() -> None:
    assert list(changed_settings(MADE, ASKED)) == [
        "loss.gamma none -> 1.0",
        'loss.name "dpo" -> "simpo"',
        "learning_rate 0.0001 -> 0.0002",
        'lora null -> {"rank": 8}',
        f'system "{"a" * 36}... -> "{"b" * 36}...',
    ]
    assert list(changed_settings(MADE, MADE)) == []
