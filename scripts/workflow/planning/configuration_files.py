"""Configuration files on disk, checked before Snakemake reads them: it ends in a traceback for some."""

from __future__ import annotations

import argparse
import codecs
import json
from collections.abc import Iterable
from pathlib import Path

import yaml

from rlhf.base.errors import UserError
from workflow.duplicate_keys import LOADER

REMEDY = "--configfile takes an experiment in YAML, as config/config.yaml is one"


def check_configuration_files(arguments: Iterable[str]) -> None:
    """Refuse a `--configfile` among Snakemake's arguments that cannot be read.

    Raises:
        UserError: which file, and what is wrong with it.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", dest="files", type=Path, nargs="+", default=[])
    for path in parser.parse_known_args(list(arguments))[0].files:
        _check(path)


def _check(path: Path) -> None:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. {REMEDY}") from error
    except UnicodeDecodeError as error:
        of_windows = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "it is in UTF-16" if of_windows else f"byte {error.start} is not UTF-8"
        raise UserError(f"{path}: {encoding}; save it as UTF-8. {REMEDY}") from error
    if not text.strip():
        raise UserError(f"{path}: the file is empty. {REMEDY}")
    if not isinstance(_parsed(path, text), dict):
        raise UserError(f"{path}: there are no keys at its top level, such as `experiment:`. {REMEDY}")


def _parsed(path: Path, text: str) -> object:
    try:
        return json.loads(text)  # Snakemake reads it too, with its tabs
    except ValueError:
        pass
    try:
        return yaml.load(text, LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: {where}this is not YAML: {error.problem}. {REMEDY}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: this is not YAML: {' '.join(str(error).split())}. {REMEDY}") from error
