"""Compiled loops of the Jensen-Shannon divergence.

Shape letters: N candidates, R others, K classes, B blocks of candidates.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import vectorize
from numpy.typing import NDArray

from al_lightning.acquisition.compiled import compiled

Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]

# Candidates looked at together: K rows of 2 KiB, which stay in the processor's nearest cache.
WIDTH = 512


@compiled()
def _log2(x: float) -> float:
    """Binary logarithm of a normal number above 0 to 2 units in the last place; exact for powers of 2.

    The logarithm of fdlibm ("e_log.c") without branches. A processor's or a library's own logarithm would differ in
    the last bit from one machine to the next.
    """
    # x = 2**exponent * mantissa, the mantissa between sqrt(1/2) and sqrt(2).
    bits = np.float64(x).view(np.int64) + (0x3FF0000000000000 - 0x3FE6A09E00000000)
    exponent = (bits >> 52) - 0x3FF
    mantissa = np.int64((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E00000000).view(np.float64)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860510658591e-01))
    )
    half = 0.5 * f * f
    return float(exponent + (f - (half - s * (half + (even + odd)))) * 1.4426950408889634)


log2 = vectorize(["float64(float64)"], cache=True)(lambda x: _log2(x))


@compiled()
def lower_nearest(
    nearest: Doubles,
    reach: Singles,
    roots: Singles,
    halves: Doubles,
    entropy: Doubles,
    mass: Doubles,
    other_roots: Singles,
    other_halves: Doubles,
    other_entropy: Doubles,
    other_mass: Doubles,
    margin: float,
) -> int:
    """Lower each candidate's divergence to its nearest other; see `nearest_divergence`.

    Args:
        nearest: (N,) bits, lowered in place.
        reach: (B, WIDTH) mass - nearest - margin of the candidates in blocks, kept up to date; infinite behind the
            last candidate, and where ``nearest`` is 0. Only an other whose inner product of square roots less its own
            mass is larger can be nearer than ``nearest``.
        roots: (B, K, WIDTH) square roots of the histograms, in the same blocks.
        halves: (N, K) halves of the histograms, 0 replaced.
        entropy: (N,) bits.
        mass: (N,) half the sum of each histogram.
        other_roots: (R, K).
        other_halves: (R, K).
        other_entropy: (R,).
        other_mass: (R,).
        margin: covers the rounding of inner products, see there.

    Returns:
        Divergences computed.
    """
    product = np.empty(WIDTH, np.float32)
    terms = np.empty(halves.shape[1])
    computed = 0
    for block in range(len(roots)):
        for r in range(len(other_roots)):
            product[:] = np.float32(-other_mass[r])
            for k in range(roots.shape[1]):
                root = other_roots[r, k]
                if root > 0:
                    for j in range(WIDTH):
                        product[j] += root * roots[block, k, j]
            near = False
            for j in range(WIDTH):  # without a branch, this loop becomes vector instructions
                near |= product[j] > reach[block, j]
            if not near:
                continue
            for j in range(WIDTH):
                if product[j] > reach[block, j]:
                    i = block * WIDTH + j
                    computed += 1
                    value = _entropy_of_sum(halves, i, other_halves, r, terms) - (entropy[i] + other_entropy[r]) / 2
                    value = min(max(value, 0.0), 1.0)
                    if value < nearest[i]:
                        nearest[i] = value
                        reach[block, j] = mass[i] - value - margin if value > 0 else np.inf
    return computed


@compiled()
def _entropy_of_sum(p: Doubles, i: int, q: Doubles, r: int, terms: Doubles) -> float:
    """`divergence._entropy_of_sum` of row i of (N, K) and row r of (R, K): the same operations in the same order.

    It takes arrays with row numbers: to take rows out of an array costs as much as the loops over them.
    """
    for k in range(len(terms)):
        mean = p[i, k] + q[r, k]
        terms[k] = _log2(mean) * mean
    total = 0.0
    for k in range(len(terms)):
        total -= terms[k]
    return total
