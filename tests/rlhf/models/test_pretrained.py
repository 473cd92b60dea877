"""One module loads models, without trusting their code, and none reads pickles: checked in the source code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from small_models import SCRIPTS


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """All calls in the sources, with the last part of the name of what is called."""
    for path in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield path, node, name


def keywords(call: ast.Call) -> dict[str | None, Any]:
    return {
        word.arg: word.value.value if isinstance(word.value, ast.Constant) else word.value for word in call.keywords
    }


def test_one_place_loads_and_it_trusts_no_code() -> None:
    """Not a call alone: a reference would be a way round."""
    references = [
        path.relative_to(SCRIPTS).as_posix()
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "from_pretrained")
        or (isinstance(node, ast.Constant) and node.value == "from_pretrained")
    ]
    assert references == ["rlhf/models/pretrained.py"]
    (loading,) = (call for _, call, name in calls() if name == "from_pretrained")
    assert keywords(loading)["trust_remote_code"] is False
    (engine,) = (call for _, call, name in calls() if name == "LLM")
    assert keywords(engine)["trust_remote_code"] is False
    assert keywords(engine)["load_format"] == "safetensors"
    others = {"pipeline", "get_class_from_dynamic_module", "EngineArgs", "AsyncLLMEngine", "get_kernel"}
    assert not [path for path, _, name in calls() if name in others]
    trusting = [keywords(call).get("trust_remote_code", False) for _, call, _ in calls()]
    assert set(trusting) == {False}


def test_no_pickle_is_read() -> None:
    for path, call, name in calls():
        of_torch = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "torch"
        if name == "load" and of_torch:
            assert keywords(call).get("weights_only") is True, path
        assert name not in ("Unpickler", "load_checkpoint"), path
    readers = {
        str(path.relative_to(SCRIPTS))
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib")
    }
    assert readers == {"rlhf/training/state/index.py"}  # whose reader refuses all but a few names
