"""A digest of a program and of the project modules that it imports, blind to comments, docstrings and formatting.

Snakemake sees neither helper modules nor whether an edit means anything. The digest is a parameter of every rule, so
that an edit of a module reruns the stages that import it, and no other. It is the same under every Python version.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


def source_digest(program: Path, extra_modules: Iterable[str] = (), roots: tuple[Path, ...] | None = None) -> str:
    """Hex digest (16 characters) of `program`, of `extra_modules`, and of what they import below `roots`.

    Args:
        program: a file.
        extra_modules: modules that the settings name, a user's reward function for example.
        roots: folders whose modules count; by default those of this project and of the working directory.

    Raises:
        FileNotFoundError: `program` or a module of `extra_modules` is not there.
    """
    roots = roots or (SCRIPTS, Path.cwd())
    pending = [program.resolve(), *(_existing_module(module, roots) for module in extra_modules)]
    digests: dict[Path, str] = {}
    while pending:
        path = pending.pop()
        if path not in digests:
            digests[path], imported = _read(path, path.stat().st_mtime_ns, roots)
            pending.extend(imported)
            digests.update((file, digest_of_bytes(file)) for file in package_data(path))
    return hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()[:16]


def find_module(module: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of the module `a.b` below one of `roots`, or None where it lies elsewhere."""
    for root in roots:
        path = root.joinpath(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate.resolve()
    return None


def package_data(path: Path) -> list[Path]:
    """The files beside a package's `__init__.py` that are no modules: templates that its programs read."""
    if path.name != "__init__.py":
        return []
    return sorted(file for file in path.parent.iterdir() if file.is_file() and file.suffix != ".py")


def digest_of_bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _existing_module(module: str, roots: tuple[Path, ...]) -> Path:
    path = find_module(module, roots)
    if path is None:
        raise FileNotFoundError(f"no module {module!r} in {' or '.join(map(str, roots))}")
    return path


@functools.cache
def _read(path: Path, mtime: int, roots: tuple[Path, ...]) -> tuple[str, tuple[Path, ...]]:
    """Digest of one file and the project files that it imports; `mtime` keeps the cache true."""
    tree = _WithoutTypeImports().visit(ast.parse(path.read_bytes()))
    text = "\n".join(_canonical(tree))
    imported = {find_module(name, roots) for name in _imported_names(tree)}
    imported |= {find_module(name, (folder,)) for folder, name in _relative_imports(tree, path)}
    return hashlib.sha256(text.encode()).hexdigest(), tuple(sorted(p for p in imported if p))


class _WithoutTypeImports(ast.NodeTransformer):
    """Drops `if TYPE_CHECKING:`, which never runs."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _relative_imports(tree: ast.AST, path: Path) -> Iterator[tuple[Path, str]]:
    """The folder that `from ..a import b` starts from, and the modules that it may mean there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            prefix = f"{node.module}." if node.module else ""
            yield from ((folder, name) for name in [node.module] if name)
            yield from ((folder, prefix + alias.name) for alias in node.names)


def _canonical(node: ast.AST | list[ast.AST] | object) -> Iterator[str]:
    """The syntax tree as text. Empty fields are left out: their number differs between Python versions."""
    if isinstance(node, list):
        yield "["
        for item in node:
            yield from _canonical(item)
        yield "]"
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = [item for item in value if not _is_docstring(item)]
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                yield name
                yield from _canonical(value)
    else:
        yield repr(node)


def _is_docstring(node: ast.AST) -> bool:
    """A bare string: a docstring, or the description under a settings field; never executed for its value."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
