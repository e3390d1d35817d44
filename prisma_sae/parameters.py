"""Parameters of estimators, as scikit-learn's own estimators handle them, without importing it."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Parameterized:
    """An estimator whose parameters are the arguments of its constructor, kept unchanged under their names.

    `sklearn.base.clone`, pipelines and searches work with it.
    """

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the parameters by name. deep: without effect, as no parameter is an estimator."""
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **parameters: Any) -> Self:
        """Sets parameters. Raises ValueError for an unknown name."""
        names = self._parameter_defaults()
        for name, value in parameters.items():
            if name not in names:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(names)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = self._parameter_defaults()
        changed = [f"{name}={value!r}" for name, value in self.get_params().items() if value is not defaults[name]]
        return f"{type(self).__name__}({', '.join(changed)})"
