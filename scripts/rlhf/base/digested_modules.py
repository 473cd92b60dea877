"""Import a user's module from exactly the files that its digest covers, whatever else shares its name."""

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
    """Import the module `a.b` of the working directory or `scripts/`; its own imports from there are covered too.

    Python alone might import an installed package of the same name, or stale compiled code beside the file.

    Raises:
        UserError: there is no such module, or Python has already loaded another module of the same name.
        ModuleNotFoundError: it imports something that is not installed.
    """
    roots = default_roots()
    try:
        files = source_files(module_files(name, roots), roots)
    except FileNotFoundError as error:
        raise UserError(str(error)) from error
    _refuse_shadowed(files, roots)
    sys.meta_path.insert(0, _DigestedFilesFinder(files, roots))
    return importlib.import_module(name)


class _DigestedFilesFinder(MetaPathFinder):
    """Finds modules among these files and their folders before Python looks anywhere else."""

    def __init__(self, files: Collection[Path], roots: tuple[Path, ...]) -> None:
        self.files = files
        self.roots = roots

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = find_module(fullname, self.roots)
        if file in self.files:
            return spec_from_file_location(fullname, file, loader=_SourceOnlyLoader(fullname, str(file)))
        folders = [root.joinpath(*fullname.split(".")).resolve() for root in self.roots]
        packages = [folder for folder in folders if any(folder in file.parents for file in self.files)]
        if file is None and packages:  # a package without `__init__.py`
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(folder) for folder in packages]
            return spec
        return None


class _SourceOnlyLoader(SourceFileLoader):
    """Compiles the source and ignores `__pycache__`, whose code may come from another version of the file."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _refuse_shadowed(files: Collection[Path], roots: tuple[Path, ...]) -> None:
    """Raise UserError if a module with the name of one of `files` is already loaded from somewhere else."""
    for name, module in list(sys.modules.items()):
        file = find_module(name, roots)
        if file not in files:
            continue
        origin = getattr(module, "__file__", None)
        if origin is None or Path(origin).resolve() != file:
            raise UserError(
                f"Python already has a module named {name!r} ({origin or 'built in'}) and would use it instead of "
                f"{file}: rename your file"
            )
