"""The HTML files of evaluations and reports: accessible in both themes, readable on a phone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from playwright.sync_api import Browser

from nsfw_app.bootstrap import open_policies, open_summaries
from nsfw_app.evidence import evaluation
from nsfw_app.evidence.evaluation_page import evaluation_page
from nsfw_app.evidence.evaluation_report import ScoredModel, evaluation_report
from nsfw_app.evidence.report import ReportScope, TransparencyReport
from nsfw_app.evidence.report_page import report_page
from nsfw_app.models.cards import FALCONSAI
from nsfw_app.records import Policy
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.browser.test_accessibility import findings
from tests.support.arrivals import add_reviewed
from tests.support.sample_records import FAKE, OTHER


def pages(store: Store) -> dict[str, str]:
    """An evaluation of two models with groups, and a report."""
    rng = np.random.default_rng(0)
    unsafe = rng.random(100) < 0.3
    scores = np.where(unsafe, rng.beta(4, 2, 100), rng.beta(1, 4, 100))
    models = [
        ScoredModel(replace(FAKE, model=FALCONSAI), Policy(0.5, 0.2, 0.8), scores),
        ScoredModel(OTHER, Policy(0.4, 0.2, 0.8), scores**2),
    ]
    groups = {"art": np.arange(50), "": np.arange(50, 100)}
    found = evaluation_report(unsafe, models, at=[0.2], groups=groups)
    failed = {"path": "a.png", "model": "fake", "kind": "truncated", "message": ""}
    found |= {"group": "kind", "note": "A note.", "unavailable": [failed], "left_out": {}}
    add_reviewed(store, 60)
    chosen = load()
    policies = open_policies(chosen, store)
    summaries = open_summaries(chosen, store, policies)
    now = datetime.now(UTC).replace(tzinfo=None)
    scope = ReportScope(now - timedelta(days=1), now + timedelta(days=1), names=True)
    report = TransparencyReport(store, policies, summaries).json(scope)
    return {"evaluation": evaluation_page(found), "report": report_page(report)}


def test_written_pages_are_accessible(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """axe-core finds nothing in light and dark, and nothing is wider than 390 pixels."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 20)
    written = pages(store)
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
        for name, text in written.items():
            page.set_content(text)
            assert findings(page, f"{name}, {scheme}") == []
            assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.close()
