"""A digest of a program and the modules it imports, which ignores comments, docstrings, help texts and formatting.

Snakemake does not track imported modules, and cannot tell a new comment from new code. So every rule takes this digest
as a parameter: editing a module reruns the stages that import it, and no others. The digest is the same in every
version of Python.

How it is made: parse each file, drop what changes no result (docstrings, help texts, `if TYPE_CHECKING:`), write the
syntax tree as text, hash it, follow the imports, and hash the hashes of all files.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2]
CHANGES_NO_RESULT = frozenset(
    SCRIPTS / path
    for path in (
        "command_line.py",
        "rlhf/base/files/full_disks.py",
        "rlhf/base/files/temporary_files.py",
        "rlhf/base/telemetry.py",
        "rlhf/machine/__init__.py",
        "rlhf/machine/budgets.py",
        "rlhf/machine/choices.py",
        "rlhf/machine/leases.py",
        "rlhf/machine/memory.py",
        "rlhf/machine/model_shapes.py",
        "rlhf/machine/progress.py",
        "rlhf/machine/saving.py",
        "rlhf/machine/shards.py",
        "rlhf/machine/throughput.py",
        "rlhf/training/compute_rate.py",
        "rlhf/training/processes/failures.py",
        "rlhf/training/processes/memory.py",
        "rlhf/training/state/claim.py",
        "rlhf/training/trackers.py",
    )
)
"""Modules that cannot change a result, and so are in no digest: flags and messages, leases, progress, trackers, and
estimates of memory and time. Devices and compute threads can change one, so they are not listed here."""


def source_digest(program: Path, extra_modules: Iterable[str] = (), roots: tuple[Path, ...] | None = None) -> str:
    """Hex digest (16 characters) of `program`, `extra_modules`, and everything they import from `roots`.

    Args:
        program: the program's file.
        extra_modules: modules that the settings name, such as a user's reward function.
        roots: folders whose modules count; default: `scripts/` and the working directory.

    Raises:
        FileNotFoundError: `program` or a module of `extra_modules` does not exist.
    """
    roots = roots or default_roots()
    starts = [program.resolve(), *(file for module in extra_modules for file in module_files(module, roots))]
    digests = source_files(starts, roots)
    digests.update((file, digest_of_bytes(file)) for path in list(digests) for file in package_data(path))
    return hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()[:16]


def default_roots() -> tuple[Path, ...]:
    """The folders whose modules count: `scripts/` and the working directory."""
    return (SCRIPTS, Path.cwd())


def source_files(starts: Iterable[Path], roots: tuple[Path, ...]) -> dict[Path, str]:
    """The files `starts` and all files below `roots` that they import, transitively: path -> digest of its code."""
    pending = list(starts)
    digests: dict[Path, str] = {}
    while pending:
        path = pending.pop()
        if path not in digests and path not in CHANGES_NO_RESULT:
            digests[path], imported = _read(path, path.stat().st_mtime_ns, roots)
            pending.extend(imported)
    return digests


def find_module(module: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of the module `a.b` below one of `roots`; None if it is not there."""
    for root in roots:
        path = root.joinpath(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate.resolve()
    return None


def package_data(path: Path) -> list[Path]:
    """Files beside a package's `__init__.py` that are not Python, such as templates; empty for other modules."""
    if path.name != "__init__.py":
        return []
    return sorted(file for file in path.parent.iterdir() if file.is_file() and file.suffix != ".py")


def digest_of_bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module_files(module: str, roots: tuple[Path, ...]) -> list[Path]:
    """The file of the module `a.b` and the `__init__.py` of its packages, which run when it is imported.

    Raises:
        FileNotFoundError: the module is not below one of `roots`.
    """
    if find_module(module, roots) is None:
        raise FileNotFoundError(f"no module {module!r} in {' or '.join(map(str, roots))}")
    found = (find_module(name, roots) for name in _with_packages(module))
    return [path for path in found if path is not None]


def _with_packages(module: str) -> list[str]:
    """`a.b.c` -> [`a`, `a.b`, `a.b.c`]."""
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@functools.cache
def _read(path: Path, mtime: int, roots: tuple[Path, ...]) -> tuple[str, tuple[Path, ...]]:
    """The digest of one file's code, and the project files it imports; `mtime` invalidates the cache on an edit."""
    code = _Code()
    lines: list[str] = []
    _write_canonical(code.visit(ast.parse(path.read_bytes(), str(path))), lines)
    imported = {find_module(name, roots) for name in _imported_names(code.imports)}
    imported |= {find_module(name, (folder,)) for folder, name in _relative_imports(code.imports, path)}
    return hashlib.sha256("\n".join(lines).encode()).hexdigest(), tuple(sorted(p for p in imported if p))


class _Code(ast.NodeTransformer):
    """Drops `if TYPE_CHECKING:`, which never runs, and the help texts of flags; collects the imports of the rest."""

    def __init__(self) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "help"]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        self.imports.append(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return self.visit_Import(node)


def _imported_names(imports: Iterable[ast.Import | ast.ImportFrom]) -> set[str]:
    """Modules that absolute imports may load: for `from a.b import c` they are `a`, `a.b` and `a.b.c`."""
    names: set[str] = set()
    for node in imports:
        if isinstance(node, ast.Import):
            loaded = [alias.name for alias in node.names]
        elif node.module and not node.level:
            loaded = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in loaded:
            names.update(_with_packages(name))
    return names


def _relative_imports(imports: Iterable[ast.Import | ast.ImportFrom], path: Path) -> Iterator[tuple[Path, str]]:
    """(folder, module) that relative imports may load: for `from ..a import b`, `a` and `a.b` in the parent folder."""
    for node in imports:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            prefix = f"{node.module}." if node.module else ""
            yield from ((folder, name) for name in [node.module] if name)
            yield from ((folder, prefix + alias.name) for alias in node.names)


def _write_canonical(node: ast.AST | list[ast.AST] | object, lines: list[str]) -> None:
    """Append the syntax tree as text. Empty fields are left out, since Python versions differ in which they have."""
    if isinstance(node, list):
        lines.append("[")
        for item in node:
            _write_canonical(item, lines)
        lines.append("]")
    elif isinstance(node, ast.AST):
        lines.append(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = [item for item in value if not _is_docstring(item)]
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                lines.append(name)
                _write_canonical(value, lines)
    else:
        lines.append(repr(node))


def _is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring, or the description under a settings field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
