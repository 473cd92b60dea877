"""Experiments of the folder config/, and changed ones."""

import copy
from pathlib import Path
from typing import Any

import yaml

from workflow.experiment import Experiment, load_experiment

CONFIG = Path(__file__).resolve().parents[2] / "config"
MICRO, PUBLISHED = "micro", "llama3-8b-ultrafeedback"


def read_config(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / f"{name}.yaml").read_text())


def patch(config: dict[str, Any], patches: dict[str, Any]) -> dict[str, Any]:
    """A copy with the values of `{"a.b.c": value}`; the value `...` removes the key."""
    config = copy.deepcopy(config)
    for path, value in patches.items():
        *parents, last = path.split(".")
        section = config
        for key in parents:
            if not isinstance(section.get(key), dict):
                section[key] = {}
            section = section[key]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return config


def experiment(name: str, **patches: Any) -> Experiment:
    """An experiment of config/; keywords are keys with `__` for the dot."""
    return load_experiment(patch(read_config(name), {key.replace("__", "."): v for key, v in patches.items()}), name)
