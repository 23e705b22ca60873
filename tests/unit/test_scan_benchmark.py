"""The benchmark of scans: no number where it would be noise."""

import pytest

from benchmarks.scan import TOO_SHORT, Duration, rate_beyond, ratios


def test_the_start_is_subtracted() -> None:
    """And the time of the one photograph in it."""
    found = rate_beyond(Duration(2, 3), Duration(12, 7), 201)
    assert found == {"images_per_s": 20.0, "cpu_ms": 20.0, "start_s": 2}


@pytest.mark.parametrize(("elapsed_s", "cpu_s"), [(1.9, 4), (2.0, 4), (2.3, 4), (12, 2.9)])
def test_a_run_as_short_as_its_start_has_no_rate(elapsed_s: float, cpu_s: float) -> None:
    """Nor a negative one, and no ratio is made of it; a sentence says why."""
    found = rate_beyond(Duration(2, 3), Duration(elapsed_s, cpu_s), 3)
    assert found == {"images_per_s": None, "cpu_ms": None, "start_s": 2}
    whole = rate_beyond(Duration(2, 3), Duration(12, 7), 201)
    times = ratios({"scan": whole, "classify": found, "xyran": whole})
    assert times == {"times_classify": None, "times_xyran": 1.0, "note": TOO_SHORT}
    assert ratios({"scan": found, "xyran": whole}) == {"times_xyran": None, "note": TOO_SHORT}


def test_ratios_of_measured_rates() -> None:
    """Without a note."""
    rates = {"scan": {"images_per_s": 30.0}, "classify": {"images_per_s": 20.0}}
    assert ratios(rates) == {"times_classify": 1.5}
