"""Reference values: the tutorial's least squares to 50 digits, and two certified NIST problems (public domain)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from app.model.moments import Array

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parent / "reference.json").read_text())
FEATURE_NAMES = ("temperature", "rainfall", "humidity")


def nist(problem: str) -> tuple[Array, list[float]]:
    """Return a polynomial problem's rows (powers of x, then y) and its certified coefficients, intercept first."""
    given = REFERENCE[problem]
    x = np.array(given["x"])
    powers = [x**power for power in range(1, given["degree"] + 1)]
    return np.column_stack([*powers, given["y"]]), given["certified"]


def digits(found: float, certified: float) -> float:
    """Return to how many decimal digits a number is right."""
    error = abs(found - certified) / abs(certified)
    return 16.0 if error == 0 else float(-np.log10(error))
