"""Log of the page: pages, images, corrections, and what is left out of lists and exports."""

from pathlib import Path

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import add, answer_to, open_app

SENTENCE = "1 decision about 1 image is hidden until you have decided it."


def test_a_page_has_images_that_the_caller_may_see(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Rows have a placeholder and whether a preview is kept; a viewer gets neither of others'."""
    with open_app(engine, store, tmp_path) as app:
        ann, vera = app.signed_in("ann"), app.signed_in("vera")
        card = add(ann, 250, name="beach.png")
        ann.post("/desk/decisions", json=answer_to(card, label="normal", reasons=["art"]))
        (row,) = ann.get("/desk/log").json()["rows"]
        assert row["placeholder"].startswith("data:image/webp")
        assert (row["kept"], row["own"], row["sha256"]) == (True, True, card["sha256"])
        (hidden,) = vera.get("/desk/log").json()["rows"]
        assert (hidden["placeholder"], hidden["kept"], hidden["own"]) == (None, False, False)
        for query in ("search=beach", "reason=art", f"sha256={card['sha256'][:8]}"):
            found = ann.get(f"/desk/log?{query}").json()
            assert [r["decision_id"] for r in found["rows"]] == [row["decision_id"]]
            assert (found["total"], found["searched_to"], found["searched_since"]) == (None,) * 3
        assert ann.get("/desk/log?sha256=xyz").json()["error"]["kind"] == "filter"
        choices = ann.get("/desk/log/choices").json()
        assert choices == {"reviewers": ["ann"], "models": ["fake"]}


def test_pages_follow_each_other(engine: Engine, store: Store, tmp_path: Path) -> None:
    """A page holds fifty rows; the next one begins after the last of them."""
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        card = add(ann, 250)
        for number in range(53):
            ann.post("/desk/decisions", json=answer_to(card, nonce=f"n{number}"))
        first = ann.get("/desk/log").json()
        assert (first["total"], len(first["rows"])) == (53, 50)
        rest = ann.get("/desk/log", params={"before": first["rows"][-1]["decision_id"]}).json()
        assert [row["decision_id"] for row in rest["rows"]] == [3, 2, 1]
        found = ann.get("/desk/log?search=a.png").json()
        assert (len(found["rows"]), found["searched_to"]) == (50, 4)
        assert found["searched_since"] == found["rows"][-1]["decided_at"]


def test_what_is_left_out_is_said(engine: Engine, store: Store, tmp_path: Path) -> None:
    """In the page, in Insights, and in a header of each export; not to those who see all."""
    with open_app(engine, store, tmp_path) as app:
        ann, bob, vera = (app.signed_in(name) for name in ("ann", "bob", "vera"))
        card = add(ann, 250)
        ann.post("/desk/decisions", json=answer_to(card, label="normal"))
        for query in ("", "?label=nsfw", "?search=nothing"):  # the same with any filter
            assert bob.get(f"/desk/log{query}").json()["left_out"] == SENTENCE
        for path in ("/desk/log.csv", "/desk/log.jsonl", "/v1/corrections?all=true"):
            assert bob.get(path).headers["nsfw-left-out"] == SENTENCE
            assert ann.get(path).headers["nsfw-left-out"] == "none"
        assert vera.get("/desk/log").json()["left_out"] == ""
        undone = ann.get("/desk/log").json()["rows"][0]["decision_id"]
        ann.post(f"/desk/decisions/{undone}/undo", json={"nonce": "u"})
        header = ann.get("/v1/corrections").headers["nsfw-left-out"]
        assert header == "1 decision is left out: 1 undone or replaced."


def test_what_the_training_labels_leave_out_is_said(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """In the page and in a header of the export: undecided, excluded and restricted images."""
    with open_app(engine, store, tmp_path) as app:
        ann, root = app.signed_in("ann"), app.signed_in("root")

        def left_out() -> str:
            said = ann.get("/desk/training/left-out").json()["left_out"]
            header = ann.get("/desk/training/labels.jsonl").headers["nsfw-left-out"]
            assert header == (said or "none")
            return str(said)

        assert left_out() == ""
        for red in range(250, 254):
            card = add(ann, red)
            for person, name in ((ann, "ann"), (root, "root")):
                reasons = ["minor_present"] if (red, name) == (253, "root") else ["art"]
                body = answer_to(card, label="normal", nonce=f"{name} {red}", reasons=reasons)
                assert person.post("/desk/decisions", json=body).status_code == 200
        groups = ann.get("/desk/training").json()["groups"]
        one, other, _ = (row for group in groups for row in group)
        for row, label in ((one, "nsfw"), (other, None)):
            path = f"/desk/training/{row['prediction_id']}"
            ann.get(f"/desk/images/{row['sha256']}/picture")
            assert ann.post(path, json={"label": label, "seen": True}).status_code == 200
        assert left_out() == (
            "3 misclassifications are left out: 1 without a training label, 1 excluded, "
            "1 hidden because a minor may be present."
        )
        assert len(ann.get("/desk/training/labels.jsonl").text.splitlines()) == 1


def test_a_decision_is_corrected_as_a_new_row(engine: Engine, store: Store, tmp_path: Path) -> None:
    """A reviewer's row has what a new decision needs; the earlier row stays, replaced."""
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        card = add(ann, 250)
        ann.post("/desk/decisions", json=answer_to(card, label="normal"))
        (row,) = ann.get("/desk/log").json()["rows"]
        names = ("model", "revision", "backend", "threshold")
        body = {"image_sha256": row["sha256"], **{name: row[name] for name in names}}
        ann.post("/desk/decisions", json={**body, "label": "nsfw", "nonce": "correction"})
        rows = ann.get("/desk/log").json()["rows"]
        assert [(r["reviewer_label"], r["undone"]) for r in rows] == [
            ("nsfw", False), ("normal", True),
        ]  # fmt: skip
