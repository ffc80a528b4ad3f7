"""Mixed-integer linear programmes, built piece by piece and solved by HiGHS (through SciPy)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from yoloslim.errors import PruneError
from yoloslim.quiet import silent

GAP = 0.005
"""How far from the best a solution may be, relatively, as it is proven."""
SECONDS = 20
"""That are spent on one solution at most; the gap is what it is by then."""

Term = tuple[int, float]
"""Number of a variable, and its factor."""


@dataclass(frozen=True)
class Solution:
    """Values of all variables, and how far from the best they may be, relatively."""

    values: NDArray[np.float64]
    gap: float


class Programme:
    """Variables between 0 and 1 whose weighted sum is to be small."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.whole: list[bool] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._factors: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []

    def choice(self, weights: Sequence[float]) -> list[int]:
        """Variables of which one is 1 and the others are 0; what each of them adds to the sum."""
        variables = [self._variable(weight, whole=True) for weight in weights]
        self.constrain([(v, 1.0) for v in variables], 1.0, 1.0)
        return variables

    def pairs(self, first: Sequence[int], second: Sequence[int]) -> list[list[int]]:
        """Variables that are 1 where of two choices both variables are."""
        both = [[self._variable(0.0, whole=False) for _ in second] for _ in first]
        for variable, row in zip(first, both, strict=True):
            self.constrain([*((v, 1.0) for v in row), (variable, -1.0)], 0.0, 0.0)
        for variable, column in zip(second, zip(*both, strict=True), strict=True):
            self.constrain([*((v, 1.0) for v in column), (variable, -1.0)], 0.0, 0.0)
        return both

    def constrain(self, terms: Iterable[Term], low: float, high: float) -> None:
        """A sum of variables times factors must lie between two numbers."""
        for variable, factor in terms:
            self._rows.append(len(self._low))
            self._columns.append(variable)
            self._factors.append(factor)
        self._low.append(low)
        self._high.append(high)

    def solve(self, budget: Sequence[Term], most: float) -> Solution:
        """Make the sum small while another one is no more than a budget.

        Raises:
            PruneError: HiGHS finds nothing in the time it has.
        """
        shape = len(self._low), len(self.weights)
        matrix = coo_matrix((self._factors, (self._rows, self._columns)), shape=shape).tocsr()
        columns, factors = zip(*budget, strict=True)
        cost = coo_matrix((factors, (np.zeros(len(columns), np.int64), columns)), shape=(1, shape[1])).tocsr()
        with silent(1):  # a line for every solution that it repairs, whatever `disp` says
            found = milp(
                np.array(self.weights),
                integrality=np.array(self.whole, np.int64),
                bounds=Bounds(0, 1),
                constraints=[LinearConstraint(matrix, self._low, self._high), LinearConstraint(cost, -np.inf, most)],
                options={"mip_rel_gap": GAP, "time_limit": SECONDS},
            )
        if found.x is None:
            raise PruneError(
                f"no widths were found in {SECONDS} s ({found.message}); a larger round_to makes it easier"
            )
        return Solution(found.x, float(found.mip_gap or 0.0))

    def _variable(self, weight: float, whole: bool) -> int:
        self.weights.append(weight)
        self.whole.append(whole)
        return len(self.weights) - 1
