"""Two things that loops cannot tell the compiler: to transpose in registers, and to fetch what is needed soon.

Numba does not compile a function anew when a function of another file that it calls changes: who edits this file has to
touch `voxel_kernel` and `occupied_kernel`, too.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

TILE = 16  # numbers of 32 bits of the widest registers
WORD, INDEX, ROW = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(32), TILE)


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_typing: Any, memory: Any, index: Any) -> Any:
    """Have the line of memory[index] brought into the second cache; memory is an array (n,)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(builder, _array(context, builder, signature, arguments, 0).data, arguments[1], ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, WORD, WORD, WORD])
        call = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(call, [pointer, WORD(0), WORD(2), WORD(1)])  # to read; into the second cache; data
        return context.get_dummy_value()

    return types.void(memory, index), generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose_tile(_typing: Any, memory: Any, K: Any, voxels: Any, rows: Any, c: Any, i: Any) -> Any:
    """rows[c : c + TILE, i : i + TILE] = classes c, ..., c + TILE - 1 of voxels[i : i + TILE].

    Args:
        _typing: what Numba passes first.
        memory: (V * K,) uint32 or uint16, the classes of a voxel side by side; 16 bits become the upper half of 32.
        K: number of classes, int64.
        voxels: (n,) uint64.
        rows: (K, n) uint32.
        c: int64.
        i: int64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, listed, target = (_array(context, builder, signature, arguments, which) for which in (0, 2, 3))
        K, c, i = arguments[1], arguments[4], arguments[5]
        columns = builder.extract_value(target.shape, 1)
        bits = ir.IntType(memory.dtype.bitwidth)
        tile = []
        for j in range(TILE):
            voxel = builder.load(builder.gep(listed.data, [builder.add(i, INDEX(j))]))
            start = builder.add(builder.mul(voxel, K), c)
            row = builder.load(_place(builder, source.data, start, ir.VectorType(bits, TILE)), align=bits.width // 8)
            tile.append(row if bits == WORD else builder.shl(builder.zext(row, ROW), ROW([16] * TILE)))
        _transpose(builder, tile)
        for j, row in enumerate(tile):
            start = builder.add(builder.mul(builder.add(c, INDEX(j)), columns), i)
            builder.store(row, _place(builder, target.data, start, ROW), align=4)
        return context.get_dummy_value()

    return types.void(memory, K, voxels, rows, c, i), generate


def _transpose(builder: Any, tile: list[Any]) -> None:
    """Swap quarters off the diagonal, of tiles of 2 x 2, of 4 x 4 and so on, all of a size together."""
    for size in (1, 2, 4, 8):
        for j in (j for j in range(TILE) if not j & size):
            upper, lower = tile[j], tile[j + size]
            order = [k if not k & size else k - size + TILE for k in range(TILE)]  # k + TILE: number k of the lower row
            tile[j] = builder.shuffle_vector(upper, lower, ROW(order))
            tile[j + size] = builder.shuffle_vector(upper, lower, ROW([k + size for k in order]))


def _array(context: Any, builder: Any, signature: Any, arguments: Any, which: int) -> Any:
    return context.make_array(signature.args[which])(context, builder, arguments[which])


def _place(builder: Any, data: Any, index: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())
