"""Weighted linear least squares with few coefficients, by the normal equations. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Solution:
    """Coefficients, their covariance, the weighted sum of squared residuals, and the degrees of freedom left."""

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    squares: float
    freedom: int


class SingularError(ValueError):
    """The rows do not determine the coefficients."""


def solve(rows: Sequence[Row], values: Sequence[float], weights: Sequence[float]) -> Solution:
    """The coefficients c that make the sum of weights * (values - rows . c)^2 least.

    Without degrees of freedom left the covariance is 0: nothing is known about it.

    Raises:
        SingularError: several coefficients do equally well.

    """
    width = len(rows[0])
    normal = [
        [sum(w * row[i] * row[j] for row, w in zip(rows, weights, strict=True)) for j in range(width)]
        for i in range(width)
    ]
    right = [
        sum(w * row[i] * y for row, y, w in zip(rows, values, weights, strict=True)) for i in range(width)
    ]
    inverse = _inverted(normal)
    found = [sum(a * b for a, b in zip(line, right, strict=True)) for line in inverse]
    squares = sum(
        w * (y - sum(a * b for a, b in zip(row, found, strict=True))) ** 2
        for row, y, w in zip(rows, values, weights, strict=True)
    )
    freedom = len(rows) - width
    variance = squares / freedom if freedom > 0 else 0.0
    covariance = tuple(tuple(variance * a for a in line) for line in inverse)
    return Solution(tuple(found), covariance, squares, freedom)


def _inverted(matrix: Sequence[Row]) -> list[list[float]]:
    """Gauss and Jordan, with partial pivoting; the matrix is scaled to 1 on its diagonal first."""
    size = len(matrix)
    if any(matrix[i][i] <= 0 for i in range(size)):
        raise SingularError("a column is 0")
    scale = [matrix[i][i] ** -0.5 for i in range(size)]
    work = [
        [matrix[i][j] * scale[i] * scale[j] for j in range(size)] + [float(i == j) for j in range(size)]
        for i in range(size)
    ]
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(work[i][column]))
        if abs(work[pivot][column]) < 1e-12:
            raise SingularError("columns depend on each other")
        work[column], work[pivot] = work[pivot], work[column]
        work[column] = [v / work[column][column] for v in work[column]]
        for i in range(size):
            if i != column:
                factor = work[i][column]
                work[i] = [a - factor * b for a, b in zip(work[i], work[column], strict=True)]
    return [[work[i][size + j] * scale[i] * scale[j] for j in range(size)] for i in range(size)]
