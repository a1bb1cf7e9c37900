"""Compiled loops of the Jensen-Shannon divergence.

Shape letters: N candidates, R others, K classes, B blocks of candidates.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import vectorize
from numpy.typing import NDArray

from al_lightning.compiled import compiled

Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.uint16]

# Candidates looked at together: K rows of 1 KiB, which stay in the processor's nearest cache.
WIDTH = 512
# Candidates of which it is first asked whether any may be nearer.
CHUNK = 64
# Classes whose products are added together, in registers.
TOGETHER = 6
# Square roots of candidates are kept in 16 bits, as multiples of 1 / STEPS: memory delivers them at twice the speed.
STEPS = 2.0**15


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
    roots: Codes,
    halves: Doubles,
    entropy: Doubles,
    mass: Doubles,
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
        roots: (B, K, WIDTH) square roots of the histograms in multiples of 1 / STEPS, rounded up, in the same blocks.
        halves: (N, K) halves of the histograms, 0 replaced.
        entropy: (N,) bits.
        mass: (N,) half the sum of each histogram.
        other_halves: (R, K).
        other_entropy: (R,).
        other_mass: (R,).
        margin: covers the rounding of inner products, see there.

    Returns:
        Divergences computed.
    """
    classes, weights = _occupied(other_halves)
    product, terms = np.empty(WIDTH, np.float32), np.empty(halves.shape[1])
    near, found, computed = np.empty(2 * WIDTH + 1, np.int64), 0, 0
    for block in range(len(roots)):
        for r in range(len(other_halves)):
            product[:] = np.float32(-other_mass[r])
            for k in range(0, classes.shape[1], TOGETHER):
                _add_products(product, roots, block, classes, weights, r, k)
            found = _gather(product, reach, block, near, found)
            # Of a single other, candidates of several blocks are gathered: the processor works on some at a time.
            if len(other_halves) == 1 and found <= WIDTH and block + 1 < len(roots):
                continue
            for i in near[:found]:
                value = _entropy_of_sum(halves, i, other_halves, r, terms) - (entropy[i] + other_entropy[r]) / 2
                value = min(max(value, 0.0), 1.0)
                if value < nearest[i]:
                    nearest[i] = value
                    reach[i // WIDTH, i % WIDTH] = mass[i] - value - margin if value > 0 else np.inf
            computed += found
            found = 0
    return computed


@compiled()
def _gather(product: Singles, reach: Singles, block: int, near: NDArray[np.int64], found: int) -> int:
    """Append to those near, of which there are ``found``, the candidates of a block that the other may be nearer to."""
    for start in range(0, WIDTH, CHUNK):
        any_near = False
        for j in range(start, start + CHUNK):  # without a branch, this loop becomes vector instructions
            any_near |= product[j] > reach[block, j]
        if any_near:
            for j in range(start, start + CHUNK):
                near[found] = block * WIDTH + j
                found += product[j] > reach[block, j]
    return found


@compiled()
def _occupied(halves: Doubles) -> tuple[NDArray[np.int64], Singles]:
    """Classes that are not empty, and their square roots over STEPS; both (R, K'), 0 behind the last of them.

    K' is K rounded up to a multiple of TOGETHER.
    """
    count = -(-halves.shape[1] // TOGETHER) * TOGETHER
    classes, weights = np.zeros((len(halves), count), np.int64), np.zeros((len(halves), count), np.float32)
    for r in range(len(halves)):
        found = 0
        for k in range(halves.shape[1]):
            weight = np.float32(np.sqrt(2 * halves[r, k]) / STEPS)
            if weight > 0:
                classes[r, found], weights[r, found] = k, weight
                found += 1
    return classes, weights


@compiled()
def _add_products(
    product: Singles, roots: Codes, block: int, classes: NDArray[np.int64], weights: Singles, r: int, k: int
) -> None:
    """Add to the inner products (WIDTH,) of a block those of TOGETHER classes of row r, from its k-th on."""
    w0, w1, w2, w3, w4, w5 = (
        weights[r, k], weights[r, k + 1], weights[r, k + 2], weights[r, k + 3], weights[r, k + 4], weights[r, k + 5]
    )  # fmt: skip
    if w0 == 0:
        return
    k0, k1, k2, k3, k4, k5 = (
        classes[r, k], classes[r, k + 1], classes[r, k + 2], classes[r, k + 3], classes[r, k + 4], classes[r, k + 5]
    )  # fmt: skip
    for j in range(WIDTH):
        product[j] += (
            w0 * np.float32(roots[block, k0, j])
            + w1 * np.float32(roots[block, k1, j])
            + w2 * np.float32(roots[block, k2, j])
            + w3 * np.float32(roots[block, k3, j])
            + w4 * np.float32(roots[block, k4, j])
            + w5 * np.float32(roots[block, k5, j])
        )


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
