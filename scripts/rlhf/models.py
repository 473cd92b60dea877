"""Which model (a name on the hub, or a folder), and loading its tokenizer or its policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rlhf.checksums import verify_if_sealed
from rlhf.errors import UserError
from rlhf.loaded_weights import check_loading_report, check_numbers
from rlhf.model_files import find_file, refuse_own_code, refuse_pickled_weights
from rlhf.revisions import recorded_commit
from rlhf.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

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
        UserError: there is neither, the folder holds no model, it is damaged, or `revisions` does not name it.
    """
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model in this folder (it has no config.json)")
        return str(folder), None
    if source is None:
        raise UserError("no model: give its folder by the flag, or `model` in --spec")
    verify_if_sealed(Path(source.name))
    if source.revision is None and not Path(source.name).is_dir():
        return source.name, recorded_commit(revisions, "model", source.name)
    return source.name, source.revision


def load_pretrained(loader: Any, kind: str, name: str, revision: str | None, **options: Any) -> Any:
    """Load something of a model by transformers. Nothing else calls `from_pretrained`: no code of a model's own runs.

    Args:
        loader: a class of transformers.
        kind: what it is, for messages.
        options: further arguments of the loader's `from_pretrained`.

    Raises:
        UserError: there is no such model, its files are damaged, or it brings code of its own.
    """
    from safetensors import SafetensorError

    try:
        refuse_own_code(loader.__name__, name, revision)
        return loader.from_pretrained(name, revision=revision or "main", trust_remote_code=False, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"no {kind} can be loaded from {name!r}: {error}") from error


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The model's own tokenizer, which must bring a chat template.

    Raises:
        UserError: there is no such tokenizer, or it has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = load_pretrained(AutoTokenizer, "tokenizer", name, revision)
    # They would be saved with the tokenizer, and are not its own: HF_HUB_OFFLINE sets the first.
    for key in ("local_files_only", "trust_remote_code"):
        tokenizer.init_kwargs.pop(key, None)
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {name!r} has no chat template; use an instruction-tuned model")
    return tokenizer


def load_config(name: str, revision: str | None) -> PreTrainedConfig:
    """The model's configuration.

    Raises:
        UserError: there is none, or transformers has no class for it.
    """
    from transformers import AutoConfig

    config: PreTrainedConfig = load_pretrained(AutoConfig, "configuration", name, revision)
    return config


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str, revision: str | None) -> None:
    """Raise UserError where the tokenizer of a model gives ids that the model has no embeddings for."""
    vocabulary = load_config(name, revision).get_text_config().vocab_size
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"{name}: its tokenizer has the token {token!r} with id {largest}, and the model has {vocabulary} "
            "embeddings: tokenizer and model do not belong together"
        )


def context_length(name: str, revision: str | None) -> int | None:
    """Longest sequence of a model in tokens, by its configuration; None where that does not say."""
    return getattr(load_config(name, revision).get_text_config(), "max_position_embeddings", None)


def load_generation_config(name: str, revision: str | None) -> GenerationConfig:
    """The model's generation config; of a model without such a file, what its configuration says of generation.

    Raises:
        UserError: it cannot be read, or the hub cannot be asked for it.
    """
    from transformers import GenerationConfig

    kind = "generation config"
    try:
        has_file = find_file(name, "generation_config.json", revision) is not None
    except (OSError, ValueError) as error:
        raise UserError(f"no {kind} can be loaded from {name!r}: {error}") from error
    if has_file:
        config: GenerationConfig = load_pretrained(GenerationConfig, kind, name, revision)
        return config
    return GenerationConfig.from_model_config(load_config(name, revision))


def check_policy_files(name: str, revision: str | None) -> None:
    """What `load_policy` refuses before it reads weights, for an engine that reads them itself.

    Raises:
        UserError: the policy brings code of its own, or its weights are pickles.
    """
    refuse_own_code("AutoModelForCausalLM", name, revision)
    refuse_pickled_weights(name, revision)


def load_policy(name: str, revision: str | None, dtype: Precision, device: torch.device) -> PreTrainedModel:
    """The causal language model in evaluation mode, with weights of `dtype`, on `device`.

    Raises:
        UserError: there is no such model, or its weights are not whole, not numbers or not safe to read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    kind = "causal language model"
    model, report = load_model(AutoModelForCausalLM, kind, name, revision, getattr(torch, dtype))
    check_loading_report(name, model, report)
    model = model.to(device).eval()  # type: ignore[arg-type]  # transformers wraps `to` and loses its type
    check_numbers(name, model)
    return model


def load_model(
    loader: Any, kind: str, name: str, revision: str | None, dtype: torch.dtype
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model with its weights, and transformers' report on them, for `check_loading_report`.

    Raises:
        UserError: see `load_pretrained`; or its weights are pickles.
    """
    if Path(name).is_dir():
        refuse_pickled_weights(name, revision)
    try:
        model, report = load_pretrained(
            loader,
            kind,
            name,
            revision,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report has them
        )
    except UserError:
        refuse_pickled_weights(name, revision)  # of the hub: it is asked only where there is nothing else
        raise
    return model, report


def resolved_revision(name: str, revision: str | None) -> str | None:
    """The commit of the hub's repository that `name` was loaded from, or None for a folder.

    It is read from where the file lies in the hub's cache: transformers 5 keeps it nowhere else.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    if Path(name).is_dir():
        return None
    return extract_commit_hash(cached_file(name, "config.json", revision=revision), None)
