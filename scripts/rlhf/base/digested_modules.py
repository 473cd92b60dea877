"""Import of a user's module from the very files whose digest was taken, whatever else has its name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from rlhf.base.errors import UserError
from rlhf.base.source_digest import default_roots, find_module, module_files, source_files


def import_digested(name: str) -> ModuleType:
    """The module `a.b` of the working directory or of `scripts/`, and what it imports from there, now and later.

    Python by itself would take an installed package of the same name, or compiled code that it finds beside the file.

    Raises:
        UserError: there is no such module, or Python has loaded another one of its name already.
        ModuleNotFoundError: it imports something that is not installed.
    """
    roots = default_roots()
    try:
        files = source_files(module_files(name, roots), roots)
    except FileNotFoundError as error:
        raise UserError(str(error)) from error
    _refuse_loaded(files, roots)
    sys.meta_path.insert(0, _DigestedFiles(files, roots))
    return importlib.import_module(name)


class _DigestedFiles(MetaPathFinder):
    """Finds modules in these files, and the folders around them, before Python looks anywhere else."""

    def __init__(self, files: Collection[Path], roots: tuple[Path, ...]) -> None:
        self.files = files
        self.roots = roots

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = find_module(fullname, self.roots)
        if file in self.files:
            return spec_from_file_location(fullname, file, loader=_Source(fullname, str(file)))
        folders = [root.joinpath(*fullname.split(".")).resolve() for root in self.roots]
        around = [folder for folder in folders if any(folder in file.parents for file in self.files)]
        if file is None and around:  # a package without `__init__.py`
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(folder) for folder in around]
            return spec
        return None


class _Source(SourceFileLoader):
    """Compiles the file as it is, and never reads compiled code, which could be another's."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _refuse_loaded(files: Collection[Path], roots: tuple[Path, ...]) -> None:
    """Raise UserError where a module of a file's name is loaded already, and from elsewhere."""
    for name, module in list(sys.modules.items()):
        file = find_module(name, roots)
        if file not in files:
            continue
        origin = getattr(module, "__file__", None)
        if origin is None or Path(origin).resolve() != file:
            raise UserError(
                f"Python has a module of the name {name!r} of its own ({origin or 'built in'}), and would use it in "
                f"place of {file}: give your file another name"
            )
