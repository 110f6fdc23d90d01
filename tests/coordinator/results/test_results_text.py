"""Measurements as people read them."""

from __future__ import annotations

import pytest

from coordinator.results.text import half_width, interval


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (9.96, "10"), (48.2, "48"), (143.0, "140"), (6123.0, "6,100")]
)
def test_half_widths_have_two_digits_and_no_exponent(value, text):
    assert half_width(value) == text


def test_an_interval_of_a_count_does_not_go_below_0():
    assert interval(-3.0, 8.0) == "0 to 8"
