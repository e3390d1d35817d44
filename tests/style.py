"""Measures how the code reads: the table of docs/architecture.md. `python -m tests.style` prints it.

Counted over the hand-written Python of the product; generated files are left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("prisma_common", "services", "gateway", "prisma_client", "prisma_sae")
GENERATED = ("prisma_client/sync/",)
SCHEMAS = ("Table", "create_table")
"""Tables list their columns."""
KERNELS = "/kernels/"
"""Kernels take their arrays by position: numba passes no keywords."""
PRONOUNS = frozenset(
    """each found held wanted known told made chosen given those these taken asked kept seen sent gone said meant needed
    another others somebody whoever shown picked""".split()  # noqa: SIM905 - reads better than a list of strings
)
SCOPE_LINES = 3
"""A pronoun is no name, except in a scope that is read at a glance."""
MAX_POSITIONAL = 4
LONG_LINES = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Measures:
    """What was counted."""

    lines: int = 0
    functions: int = 0
    long_functions: list[str] = field(default_factory=list)
    public_functions: int = 0
    undocumented: list[str] = field(default_factory=list)
    any_signatures: list[str] = field(default_factory=list)
    names: int = 0
    pronouns: list[str] = field(default_factory=list)
    pronouns_in_any_scope: int = 0
    positional: list[str] = field(default_factory=list)

    def rows(self) -> dict[str, str]:
        """The table, by measure."""
        return {
            "lines": f"{self.lines:,}",
            f"functions over {LONG_LINES} lines": _share(len(self.long_functions), self.functions),
            "public functions with a docstring": _share(
                self.public_functions - len(self.undocumented), self.public_functions
            ),
            "signatures with Any": _share(len(self.any_signatures), self.functions),
            f"names that are pronouns, scopes of up to {SCOPE_LINES} lines left out": _share(
                len(self.pronouns), self.names
            ),
            "names that are pronouns, in any scope": _share(self.pronouns_in_any_scope, self.names),
            f"calls with more than {MAX_POSITIONAL} positional arguments, per 1,000 lines": (
                f"{1000 * len(self.positional) / max(1, self.lines):.1f} ({len(self.positional)})"
            ),
        }


def files(*packages: str) -> list[Path]:
    """The hand-written Python files of packages, or of a folder or file below the root."""
    paths: list[Path] = []
    for package in packages or PACKAGES:
        place = ROOT / package
        paths += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(GENERATED)]


def measure(*paths: Path) -> Measures:
    """Measures files."""
    measures = Measures()
    for path in paths:
        source = path.read_text()
        measures.lines += len(source.splitlines())
        _Reader(path.relative_to(ROOT).as_posix(), measures).visit(ast.parse(source))
    return measures


class _Reader(ast.NodeVisitor):
    def __init__(self, path: str, measures: Measures) -> None:
        self._path = path
        self._measures = measures
        self._scopes: list[ast.AST] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, Function):
            self._function(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.arg):
            self._name(node.arg, node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._name(node.id, node)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            self._name(node.attr, node)
        scope = isinstance(
            node, (*Function.__args__, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
        )
        if scope:
            self._scopes.append(node)
        self.generic_visit(node)
        if scope:
            self._scopes.pop()

    def _function(self, node: Function) -> None:
        measures, place = self._measures, self._place(node)
        measures.functions += 1
        if _length(node) > LONG_LINES:
            measures.long_functions.append(f"{place} {node.name}: {_length(node)} lines")
        if not node.name.startswith("_") and not self._scopes:
            measures.public_functions += 1
            if ast.get_docstring(node) is None:
                measures.undocumented.append(f"{place} {node.name}")
        if any(isinstance(part, ast.Name) and part.id == "Any" for part in _annotations(node)):
            measures.any_signatures.append(f"{place} {node.name}")

    def _call(self, node: ast.Call) -> None:
        function = ast.unparse(node.func)
        if len(node.args) > MAX_POSITIONAL and KERNELS not in self._path and not function.endswith(SCHEMAS):
            self._measures.positional.append(f"{self._place(node)} {ast.unparse(node.func)}: {len(node.args)}")

    def _name(self, name: str, node: ast.AST) -> None:
        self._measures.names += 1
        if name.strip("_").lower() not in PRONOUNS:
            return
        self._measures.pronouns_in_any_scope += 1
        scope = self._scopes[-1] if self._scopes else None
        if scope is None or _length(scope) > SCOPE_LINES:
            self._measures.pronouns.append(f"{self._place(node)} {name}")

    def _place(self, node: ast.AST) -> str:
        return f"{self._path}:{node.lineno}"  # type: ignore[attr-defined]


def _annotations(node: Function) -> Iterator[ast.AST]:
    arguments = node.args
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for annotation in (node.returns, *(argument.annotation for argument in everything if argument is not None)):
        if annotation is not None:
            yield from ast.walk(annotation)


def _length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} % ({part} of {whole})"


def main() -> None:
    """Prints the table; with `--list`, also each place that counts against it."""
    listed = "--list" in sys.argv
    measures = measure(*files(*(word for word in sys.argv[1:] if word != "--list")))
    for name, value in measures.rows().items():
        print(f"{name:<75} {value}")
    if listed:
        for name in ("pronouns", "positional", "long_functions", "undocumented"):
            print(f"\n{name}:", *getattr(measures, name), sep="\n  ")


if __name__ == "__main__":
    main()
