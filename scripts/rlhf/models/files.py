"""Checks of a model's files before it is loaded: custom code and pickled weights are refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError

PICKLED = (".bin", ".pt", ".pth")
NO_WEIGHTS = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|random_states")
"""Pickles that trainers leave beside weights; nothing here reads them."""
CONVERT = (
    "import torch; from safetensors.torch import save_file; "
    "weights = {name: tensor.clone().contiguous() for file in FILES "
    "for name, tensor in torch.load(file, map_location='cpu', weights_only=True).items()}; "
    "save_file(weights, OUTPUT, metadata={'format': 'pt'})"
)
"""Python code that converts pickled weights to safetensors without running code from the pickle."""


def find_file(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a model in its folder or in the hub's cache; None if the model has no such file.

    Offline, only the hub's cache is searched.

    Raises:
        OSError: the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError) and not constants.HF_HUB_OFFLINE:
            raise
        return None


def refuse_own_code(loader: str, name: str, revision: str | None) -> None:
    """Raise UserError if loading a model would need custom code from its repository.

    If `auto_map` names a class that transformers has too, transformers' class is loaded. Without one, another class
    could compute something else, so the model is refused. Attention kernels from the hub are custom code too.

    Args:
        loader: name of the transformers class that will load it, such as `AutoTokenizer`.
    """
    import transformers

    files = ("config.json", "tokenizer_config.json") if loader == "AutoTokenizer" else ("config.json",)
    for file in files:
        settings = _read_json(name, file, revision)
        references = _own_classes(settings.get("auto_map"), loader)
        if references and not any(hasattr(transformers, reference.split(".")[-1]) for reference in references):
            raise UserError(
                f"{name}: its {file} names custom code for {loader} ({', '.join(references)}), and transformers has no "
                "such class. Code from a model's repository never runs here: use a model that transformers supports "
                f"itself. If a class of transformers computes the same, use a local copy without `auto_map` in {file}."
            )
        for key in ("attn_implementation", "_attn_implementation"):
            if "/" in str(settings.get(key)):
                raise UserError(
                    f"{name}: its {file} asks for attention code from the hub ({key}: {settings[key]!r}), which never "
                    f"runs here: use a local copy without `{key}` in {file}."
                )


def _read_json(name: str, file: str, revision: str | None) -> dict[str, Any]:
    path = find_file(name, file, revision)
    content = json.loads(path.read_text()) if path else {}
    return content if isinstance(content, dict) else {}


def _own_classes(auto_map: object, loader: str) -> list[str]:
    """Classes that `auto_map` names for a loader: for a tokenizer one or two, in old files without a key."""
    named = auto_map.get(loader) if isinstance(auto_map, dict) else auto_map if loader == "AutoTokenizer" else None
    return [str(reference) for reference in (named if isinstance(named, list) else [named]) if reference]


def refuse_pickled_weights(name: str, revision: str | None) -> None:
    """Raise UserError if a model's weights are pickled, since reading a pickle can run code.

    The message has the command that converts them.
    """
    files = _file_names(name, revision)
    pickled = sorted(file for file in files if file.endswith(PICKLED) and not NO_WEIGHTS.search(file))
    if not pickled or any(file.endswith(".safetensors") for file in files):
        return
    local = Path(name).is_dir()
    folder = Path(name) if local else Path(name.split("/")[-1])
    paths = [str(folder / file) for file in pickled]
    code = CONVERT.replace("FILES", repr(paths)).replace("OUTPUT", repr(str(folder / "model.safetensors")))
    download = "" if local else f"hf download {name} --local-dir {folder} && "
    rename = "" if local else f", and give the folder {folder} as the model's name"
    raise UserError(
        f"{name}: its weights are pickled ({', '.join(pickled)}), and a pickle can run any code when it is read. "
        f"Convert them to safetensors{rename}: {download}python -c {shlex.quote(code)}"
    )


def _file_names(name: str, revision: str | None) -> list[str]:
    """Names of the top-level files of a folder or hub repository; empty if the hub cannot be reached."""
    if Path(name).is_dir():
        return [path.name for path in Path(name).iterdir() if path.is_file()]
    from huggingface_hub import list_repo_files

    try:
        return [file for file in list_repo_files(name, revision=revision) if "/" not in file]
    except (OSError, ValueError):
        return []
