"""The benchmark of the store: one JSON object, from a small database."""

import json
import sys

import pytest

from benchmarks import store

FIGURES = """claim_10_ms waiting_ms insights_ms misclassifications_ms facets_ms log_deep_page_ms
    log_hidden_ms log_search_ms log_reason_ms log_hash_ms queue_summary_ms claim_reason_ms
    policy_effect_ms evidence_first_s evidence_open_ms people_first_s
    people_open_ms export_s export_grew_mb
    decision_p99_ms""".split()


def test_one_object_has_every_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Built, upgraded and measured, in the documented order of figures."""
    monkeypatch.setattr(store, "DECISIONS", 20)
    monkeypatch.setattr(store, "REVIEWERS", 2)
    arguments = ["benchmarks.store", "--decisions", "1000", "--open", "100", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    store.main()
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert list(found) == FIGURES
    assert all(value >= 0 for value in found.values())
    assert "1000 decisions built" in printed.err
