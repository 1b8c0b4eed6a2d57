"""Which files a function needs, found by reading its imports, also those inside functions, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
OWN = ("functions", "shared", "schemas")
FUNCTIONS = tuple(sorted(path.parent.name for path in ROOT.glob("functions/*/main.py")))
# What a module reads beside its code. Imports do not tell; a test finds a module that reads files and is not named.
DATA = {
    "shared.adapters.pgqueries": ("schemas/sql/queries/*.sql",),
    "functions.dashboard.contract": ("functions/dashboard/openapi.json",),
    "functions.dashboard.pages": ("functions/dashboard/templates/*.html", "functions/dashboard/assets/*"),
}


class BundleError(Exception):
    """A function cannot be bundled; the message names the module or file and says why."""


def contents(function: str) -> dict[str, Path]:
    """The files of a function's bundle, by their place in it.

    `main.py` lies at the root, where the platform looks for it; everything else keeps its place in the repository, so
    that imports are the same here and there. Raises `BundleError`.
    """
    if function not in FUNCTIONS:
        raise BundleError(f"There is no function {function!r}. The functions are: {', '.join(FUNCTIONS)}.")
    main = f"functions.{function}.main"
    modules = reached(function)
    files = [path_of(module) for module in modules - {main}]
    for module in modules:
        files += _data_of(module)
    files += [marker for file in files for marker in _packages_of(file)]
    return {
        **{file.relative_to(ROOT).as_posix(): file for file in sorted(set(files))},
        "main.py": path_of(main),
        "requirements.txt": ROOT / "functions" / function / "requirements.txt",
    }


@cache
def reached(function: str) -> frozenset[str]:
    """Our own modules that a function may load, at its start or on first use, itself among them. Raises `BundleError`
    where another module imports the function's `main`: at the root of a bundle it has another name."""
    main = f"functions.{function}.main"
    found, waiting = set[str](), {main}
    while waiting:
        found |= waiting
        more = {one for module in waiting for one in _graph().find_upstream_modules(module) | _programs_of(module)}
        waiting = {module for module in more if module.split(".")[0] in OWN} - found
    importers = _graph().find_modules_that_directly_import(main) & found
    if importers:
        raise BundleError(f"{min(importers)} imports {main}, which is not called that in a bundle.")
    return frozenset(found)


def path_of(module: str) -> Path:
    """The file of one of our modules."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*OWN, exclude_type_checking_imports=True, cache_dir=None)


def _programs_of(module: str) -> set[str]:
    """Modules that this one starts as programs, by the name of a file beside it: `program = "pdf_child.py"`."""
    path = path_of(module)
    named = {
        node.value.removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py")
    }
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return {f"{package}.{name}" for name in named if name.isidentifier() and (path.parent / f"{name}.py").is_file()}


def _data_of(module: str) -> Iterator[Path]:
    for pattern in DATA.get(module, ()):
        found = [path for path in ROOT.glob(pattern) if path.is_file()]
        if not found:
            raise BundleError(f"{module} reads {pattern}, and there is no such file.")
        yield from found


def _packages_of(file: Path) -> Iterable[Path]:
    """The `__init__.py` of every package that a file lies in."""
    inside = [folder for folder in file.parents if folder.is_relative_to(ROOT) and folder != ROOT]
    return [marker for folder in inside if (marker := folder / "__init__.py").is_file()]
