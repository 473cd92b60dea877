"""The generated documentation of the configuration is current and complete."""

import json
from pathlib import Path

from workflow.reference.keys import reference, schema

CONFIG = Path(__file__).resolve().parents[3] / "config"


def test_the_reference_is_current() -> None:
    for name, text in reference().items():
        assert (CONFIG / name).read_text() == text, "run `make config-reference`"


def test_the_schema_is_current() -> None:
    assert (CONFIG / "schema.json").read_text() == schema(), "run `make config-reference`"


def test_every_key_is_explained() -> None:
    definitions = json.loads(schema())
    for name, model in [("Experiment", definitions), *definitions["$defs"].items()]:
        for key, field in model.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key} has no docstring"
