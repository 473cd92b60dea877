"""Which model (a name on the hub, or a folder), and loading its tokenizer or its policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.errors import UserError
from rlhf.revisions import recorded_commit
from rlhf.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["float32", "bfloat16"]


class ModelSettings(Settings):
    """A model: a hub name, a local folder, or `{results}/...`, a folder that a rule of this experiment makes."""

    name: str = Field(min_length=1)
    """Hub name (`owner/model`), a local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub's repository. Null takes the newest at the first run and records which one it was."""


class ModelSource(Settings):
    """A model as the programs get it: a flag with a folder, or, where there is none, this."""

    name: str
    revision: str | None = None
    fingerprint: str | None = None
    """Digest of a local folder's files, so that an exchanged model is noticed."""


def model_location(
    folder: Path | None, source: ModelSource | None, revisions: Path | None = None
) -> tuple[str, str | None]:
    """Name and revision to load: the folder of a flag, or the spec's own model.

    Args:
        revisions: the experiment's file of commits, for a model of the hub whose revision is null.

    Raises:
        UserError: there is neither, the folder holds no model, or `revisions` does not name it.
    """
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model in this folder (it has no config.json)")
        return str(folder), None
    if source is None:
        raise UserError("no model: give its folder by the flag, or `model` in --spec")
    if source.revision is None and not Path(source.name).is_dir():
        return source.name, recorded_commit(revisions, "model", source.name)
    return source.name, source.revision


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The model's own tokenizer, which must bring a chat template.

    Raises:
        UserError: there is no such tokenizer, or it has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise UserError(f"no tokenizer can be loaded from {name!r}: {error}") from error
    # It would be saved with the tokenizer, and is not its own: HF_HUB_OFFLINE sets it.
    tokenizer.init_kwargs.pop("local_files_only", None)
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {name!r} has no chat template; use an instruction-tuned model")
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str, revision: str | None) -> None:
    """Raise UserError where the tokenizer of a model gives ids that the model has no embeddings for."""
    from transformers import AutoConfig

    vocabulary = AutoConfig.from_pretrained(name, revision=revision).get_text_config().vocab_size
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"{name}: its tokenizer has the token {token!r} with id {largest}, and the model has {vocabulary} "
            "embeddings: tokenizer and model do not belong together"
        )


def context_length(name: str, revision: str | None) -> int | None:
    """Longest sequence of a model in tokens, by its configuration; None where that does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, revision=revision).get_text_config()
    return getattr(config, "max_position_embeddings", None)


def load_generation_config(name: str, revision: str | None) -> GenerationConfig:
    """The model's generation config; of a model without such a file, what its configuration says of generation.

    Raises:
        UserError: it cannot be read, or the hub cannot be asked for it.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        if _has_file(name, "generation_config.json", revision):
            return GenerationConfig.from_pretrained(name, revision=revision or "main")
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(name, revision=revision))
    except (OSError, ValueError) as error:
        raise UserError(f"no generation config can be loaded from {name!r}: {error}") from error


def _has_file(name: str, file: str, revision: str | None) -> bool:
    """Whether a model has a file. Offline, the hub's cache is all that there is; a hub out of reach is an error."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if Path(name).is_dir():
        return (Path(name) / file).is_file()
    try:
        hf_hub_download(name, file, revision=revision)
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError) and not constants.HF_HUB_OFFLINE:
            raise
        return False
    return True


def load_policy(name: str, revision: str | None, dtype: Precision, device: torch.device) -> PreTrainedModel:
    """The causal language model in evaluation mode, with weights of `dtype`, on `device`.

    Raises:
        UserError: there is no such model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise UserError(f"no causal language model can be loaded from {name!r}: {error}") from error
    return model.to(device).eval()  # type: ignore[arg-type]  # transformers wraps `to` and loses its type


def resolved_revision(name: str, revision: str | None) -> str | None:
    """The commit of the hub's repository that `name` was loaded from, or None for a folder.

    It is read from where the file lies in the hub's cache: transformers 5 keeps it nowhere else.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    if Path(name).is_dir():
        return None
    return extract_commit_hash(cached_file(name, "config.json", revision=revision), None)
