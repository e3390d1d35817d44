"""The sample: the docstrings of the running Python's standard library, about 6,000 real texts."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

MIN_CHARACTERS = 60
DESCRIPTION = "Docstrings of the standard library of the running Python."
_LEFT_OUT = {"this", "antigravity", "idlelib", "test", "lib2to3", "turtledemo", "turtle", "ensurepip", "venv", "tests"}


def documents() -> Iterator[dict[str, str]]:
    """Documents `{"id", "text", "module", "kind", "qualified_name"}`, in a fixed order, no text twice."""
    known_texts: set[str] = set()
    known_names: set[str] = set()
    # All are imported before any is read: a module that is imported may hide a function of its package.
    for module in list(_modules()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # access to deprecated names warns
            texts = list(_texts(module))
        for name, kind, text in texts:
            if len(text) >= MIN_CHARACTERS and text not in known_texts and name not in known_names:
                known_texts.add(text)
                known_names.add(name)
                yield {
                    "id": name,
                    "text": text,
                    "module": module.__name__,
                    "kind": kind,
                    "qualified_name": name,
                }


def _modules() -> Iterator[ModuleType]:
    for name in sorted(sys.stdlib_module_names):
        if name not in _LEFT_OUT and (not name.startswith("_") or name == "__future__"):
            yield from _package(name)


def _package(name: str) -> Iterator[ModuleType]:
    """A module and all public ones below it."""
    module = _import(name)
    if module is None:
        return
    yield module
    for child in sorted(pkgutil.iter_modules(getattr(module, "__path__", [])), key=lambda module: module.name):
        if not child.name.startswith("_") and child.name not in _LEFT_OUT:
            yield from _package(f"{name}.{child.name}")


def _import(name: str) -> ModuleType | None:
    """A module, silently; None where this platform or build does not have it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit):  # noqa: BLE001 - modules of other platforms raise anything
            return None


def _texts(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    yield module.__name__, "module", _doc(module)
    for name, member in sorted(vars(module).items()):
        if not _is_of(member, module):
            continue
        full = f"{module.__name__}.{name}"
        if inspect.isclass(member):
            yield full, "class", _doc(member)
            for inner, method in sorted(vars(member).items()):
                yield f"{full}.{inner}", "method", _doc(method)
        elif callable(member):
            yield full, "function", _doc(member)


def _is_of(member: Any, module: ModuleType) -> bool:
    """Whether the module defines the member, be it by way of its C half (`_socket` of `socket`)."""
    home = getattr(member, "__module__", None)
    return home == module.__name__ or (isinstance(home, str) and home.startswith("_"))


def _doc(thing: Any) -> str:
    """The thing's own docstring, without its indentation."""
    text = getattr(thing, "__doc__", None)
    return inspect.cleandoc(text).strip() if isinstance(text, str) else ""
