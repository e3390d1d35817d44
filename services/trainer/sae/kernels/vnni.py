"""Sums of products of bytes, exact in int32: by AVX-512 VNNI where the processor has it, otherwise in plain numba.

The instruction is VPDPBUSD: 64 products of bytes in the time of 16 of float32. The plain function gives the same sums,
slowly: with it, what stands on these sums is tested on any processor.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from services.trainer.sae.kernels.compiling import inner
from services.trainer.sae.kernels.dtypes import I8, I32

AVAILABLE = bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni"))
TILE_ROWS, TILE_VECTORS, LANES = 8, 3, 16
"""What is summed in registers at once: 24 of the 32 hold sums."""
WIDTH = TILE_VECTORS * LANES
"""Latents of a tile."""


def word_count(d: int) -> int:
    """Words of four bytes that hold d bytes."""
    return -(-d // 4)


def _sum_tile(
    _typing: Any, rows: Any, row_bytes: Any, panel: Any, sums: Any, sums_bytes: Any, words: Any
) -> tuple[Any, Any]:
    """Addresses of TILE_ROWS rows of signed bytes and of a panel of unsigned ones → their products' sums."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: list[Any]) -> Any:
        rows, row_bytes, panel, sums, sums_bytes, words = arguments
        word, size = ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(word, LANES)
        multiply = builder.module.declare_intrinsic(
            "llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(vector, [vector] * 3)
        )
        before = builder.block
        loop, after = builder.append_basic_block("words"), builder.append_basic_block("sums")
        row_starts = [builder.add(rows, builder.mul(row_bytes, size(row))) for row in range(TILE_ROWS)]
        builder.branch(loop)
        builder.position_at_end(loop)
        place = builder.phi(size)
        totals = [[builder.phi(vector) for _ in range(TILE_VECTORS)] for _ in range(TILE_ROWS)]
        column = builder.add(panel, builder.mul(place, size(4 * WIDTH)))
        weights = [
            builder.load(builder.inttoptr(builder.add(column, size(4 * LANES * part)), vector.as_pointer()), align=64)
            for part in range(TILE_VECTORS)
        ]
        undefined, first = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0] * LANES)
        products: list[list[Any]] = []
        for row in range(TILE_ROWS):
            address = builder.add(row_starts[row], builder.mul(place, size(4)))
            four = builder.load(builder.inttoptr(address, word.as_pointer()), align=4)
            spread = builder.shuffle_vector(builder.insert_element(undefined, four, word(0)), undefined, first)
            products.append(
                [builder.call(multiply, [totals[row][part], weights[part], spread]) for part in range(TILE_VECTORS)]
            )
        following = builder.add(place, size(1))
        for row in range(TILE_ROWS):
            for part in range(TILE_VECTORS):
                totals[row][part].add_incoming(ir.Constant(vector, [0] * LANES), before)
                totals[row][part].add_incoming(products[row][part], loop)
        place.add_incoming(size(0), before)
        place.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, words), loop, after)
        builder.position_at_end(after)
        for row in range(TILE_ROWS):
            for part in range(TILE_VECTORS):
                address = builder.add(sums, builder.add(builder.mul(sums_bytes, size(row)), size(64 * part)))
                builder.store(products[row][part], builder.inttoptr(address, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


_tile: Any = intrinsic(_sum_tile)


@inner()
def sum_products_vnni(rows: I8, panels: I32, sums: I32) -> None:
    """Σ over bytes of rows (B, 4 · words) and panels (tiles, words, WIDTH) into sums (B · tiles · WIDTH,).

    Rows are signed bytes, panels unsigned ones, four to a word. B is a multiple of TILE_ROWS.
    """
    tiles, words = panels.shape[:2]
    first_row, first_panel, result = rows.ctypes.data, panels.ctypes.data, sums.ctypes.data
    for tile in range(tiles):
        for row in range(0, len(rows), TILE_ROWS):
            place = (row * tiles + tile) * WIDTH * 4
            _tile(
                first_row + row * words * 4, words * 4, first_panel + tile * words * WIDTH * 4, result + place,
                tiles * WIDTH * 4, words,
            )  # fmt: skip


@inner()
def sum_products_plain(rows: I8, panels: I32, sums: I32) -> None:
    """As `sum_products_vnni`, on any processor."""
    tiles, words = panels.shape[:2]
    for row in range(len(rows)):
        for tile in range(tiles):
            place = (row * tiles + tile) * WIDTH
            sums[place : place + WIDTH] = 0
            for word in range(words):
                for byte in range(4):
                    value = np.int32(rows[row, 4 * word + byte])
                    shift = np.int32(8 * byte)
                    for latent in range(WIDTH):
                        weight = (panels[tile, word, latent] >> shift) & np.int32(255)
                        sums[place + latent] += value * weight


sum_products = sum_products_vnni if AVAILABLE else sum_products_plain
