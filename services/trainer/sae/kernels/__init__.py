"""The CPU's kernels, in numba, and the engine that is made of them.

`services/trainer/sae/reference.py` has the mathematics without the speed, and every kernel is tested against it.
"""
