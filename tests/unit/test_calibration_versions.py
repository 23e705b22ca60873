"""Versions of calibrations: fitted on demand, kept, and applied to exported scores."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from nsfw_app.errors import CalibrationError
from nsfw_app.evidence.calibration import fit_calibration
from nsfw_app.evidence.calibrations import calibration_json, curve_json, parse_curve
from nsfw_app.evidence.curve import Curve, Method
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import LogFilter
from nsfw_app.review.exports import log_csv
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.arrivals import add_reviewed
from tests.support.sample_records import FAKE, OTHER


@pytest.fixture
def summaries(store: Store) -> Summaries:
    """Summaries over the store."""
    return Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))


def test_a_refit_is_the_next_version(store: Store, summaries: Summaries) -> None:
    """It is fitted to all sampled reviews; earlier versions stay, and the audit has both."""
    book = summaries.calibrations
    assert book.of(FAKE) is None
    add_reviewed(store)
    first = book.refit(FAKE, author="root")
    again = book.refit(FAKE, author="ann")
    sample = summaries.population(FAKE).sample
    fitted = fit_calibration(sample)
    assert fitted is not None
    assert (first.version, again.version, again.author) == (1, 2, "ann")
    assert (again.reviews, again.method) == (sample.reviews, fitted.method)
    scores = np.arange(101) / 100
    assert np.allclose(parse_curve(again.curve)(scores), fitted(scores))
    assert book.of(FAKE) == again
    assert book.versions() == [again, first]
    entries = [e for e in store.audit.entries() if e.action == "calibration"]
    assert [(e.actor, e.subject, e.details["version"]) for e in entries] == [
        ("root", FAKE.model, 1),
        ("ann", FAKE.model, 2),
    ]
    shown = calibration_json(again)
    assert shown is not None
    assert (shown["version"], "curve" in shown) == (2, False)


def test_too_few_reviews_are_counted(store: Store, summaries: Summaries) -> None:
    """Nothing is stored, and the message says what is missing."""
    add_reviewed(store, 12)
    with pytest.raises(CalibrationError, match="at least 20 sampled reviews of each label; there"):
        summaries.calibrations.refit(FAKE, author="root")
    assert summaries.calibrations.versions() == []


def test_a_calibration_is_of_its_weights_only(store: Store, summaries: Summaries) -> None:
    """Another model, other weights and a backend that is not verified have none."""
    add_reviewed(store)
    summaries.calibrations.refit(FAKE, author="root")
    others = (OTHER, replace(FAKE, weights_sha256="e" * 64), replace(FAKE, backend="onnxruntime"))
    assert [summaries.calibrations.of(other) for other in others] == [None] * 3


@pytest.mark.parametrize(
    "curve",
    [
        Curve(Method.BETA, (0.7, 1.2, -0.4)),
        Curve(Method.ISOTONIC, scores=(0.1, 0.5, 0.9), probabilities=(0.01, 0.3, 0.8)),
    ],
)
def test_a_curve_survives_its_json(curve: Curve) -> None:
    """The stored function is the fitted one."""
    stored = {k: list(v) if isinstance(v, tuple) else v for k, v in curve_json(curve).items()}
    assert parse_curve(stored) == curve


def test_exports_have_the_probability_in_force(store: Store, summaries: Summaries) -> None:
    """Each row has that of its score; rows of a model without a calibration have none."""
    add_reviewed(store)
    add_reviewed(store, 10, identity=OTHER)
    fitted = summaries.calibrations.refit(FAKE, author="root")
    lines = log_csv(store.log.rows(LogFilter()), summaries.calibrations.probability())
    rows = list(csv.DictReader(io.StringIO("".join(lines))))
    curve = parse_curve(fitted.curve)
    for row in rows:
        if row["model"] == FAKE.model:
            expected = float(curve(np.array([float(row["nsfw_score"])]))[0])
            assert float(row["probability"]) == pytest.approx(expected)
        else:
            assert row["probability"] == ""
    assert {row["model"] for row in rows} == {FAKE.model, OTHER.model}


def test_a_steep_curve_needs_no_large_number() -> None:
    """Log odds beyond what an exponential can hold are probabilities of 0 and 1, silently."""
    steep = Curve(Method.PLATT, (100.0, 100.0, 0.0))
    with np.errstate(all="raise", under="ignore"):
        assert steep(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.5, 1.0])
