"""Which comparisons of floating-point numbers come near their bound: pytest's plugin, loaded by `make margins`.

A bound that rounding on this CPU almost reaches is passed on another CPU by luck, as its sums go in another order. Each
`np.testing.assert_allclose` and `pytest.approx` of a run is recorded as its error over the error allowed; those above a
third are printed at the end, by test, with where the bound stands.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _pytest import approx as pytest_approx

NEAR = 1 / 3

_worst: dict[tuple[str, str], float] = {}  # (test, line) → the largest share of a bound that was used
_ROOT = Path(__file__).resolve().parents[1]
_assert_allclose = np.testing.assert_allclose
_scalar_equals = pytest_approx.ApproxScalar.__eq__


def _caller() -> str:
    """The innermost line of tests/ on the stack, helpers of comparison left out."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT / "tests") and path.name != "margins.py":
            return f"{path.relative_to(_ROOT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


def _record(share: float) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "?").rpartition(" ")[0]
    key = (test, _caller())
    _worst[key] = max(_worst.get(key, 0.0), share)


def _recorded_allclose(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **others: Any) -> None:
    _assert_allclose(actual, desired, rtol=rtol, atol=atol, **others)  # a failure is pytest's matter
    a, b = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
    allowed = atol + rtol * np.abs(b)
    error = np.abs(a - b)
    known = np.isfinite(error) & (allowed > 0)
    if np.any(known & (error > 0)):
        _record(float(np.max(np.where(known, error / np.where(allowed > 0, allowed, 1), 0))))


def _recorded_equals(self: Any, actual: Any) -> bool:
    equal = _scalar_equals(self, actual)
    try:
        share = abs(float(actual) - float(self.expected)) / float(self.tolerance)
    except (TypeError, ValueError, ZeroDivisionError):
        return equal
    if equal and 0 < share <= 1:
        _record(share)
    return equal


@pytest.hookimpl(tryfirst=True)  # before xdist's worker sends its output
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["margins"] = [[*key, share] for key, share in _worst.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    for test, line, share in getattr(node, "workeroutput", {}).get("margins", []):
        _worst[test, line] = max(_worst.get((test, line), 0.0), share)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    near = sorted(((share, *key) for key, share in _worst.items() if share > NEAR), reverse=True)
    terminalreporter.section(f"{len(near)} of {len(_worst)} comparisons use more than a third of their bound")
    for share, test, line in near:
        terminalreporter.line(f"{share:5.2f}  {line}  {test}")


np.testing.assert_allclose = _recorded_allclose
pytest_approx.ApproxScalar.__eq__ = _recorded_equals  # type: ignore[method-assign]
