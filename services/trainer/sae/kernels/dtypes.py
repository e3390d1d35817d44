"""Types of the kernels' arrays and numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
Real: TypeAlias = "float | np.floating[Any]"
Integer: TypeAlias = "int | np.integer[Any]"
