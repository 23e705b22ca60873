"""`training-set --push`: one commit to a private repository, or a reason and the local set."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from nsfw_app.datasets.dataset_repository import DatasetRepository
from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.store import Store
from tests.support.commands import Result, Run, run
from tests.support.labeled_store import add_labeled, fill_labeled, open_labeled_store, pattern
from tests.support.loopback_hub import ABSENT_URL
from tests.support.sample_records import answer, person
from tests.support.upload_hub import TOKEN, Repository, UploadHub, upload_hub

__all__ = ["run"]


class Terminal(io.StringIO):
    """A standard input on which someone answers."""

    def isatty(self) -> bool:
        """It is a terminal."""
        return True


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """The hub of this process, which has a token for it and uploads through HTTP."""
    with upload_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with 15 labeled images."""
    store = open_labeled_store(tmp_path)
    fill_labeled(store, 5)
    return store


def push(run: Run, output: Path, *options: str, to: str = "org/set") -> Result:
    """Run the command; the token is in none of its output."""
    done = run("training-set", "--settled", "--output", output, "--push", to, *options)
    assert TOKEN not in done.out + done.err
    return done


def contents(directory: Path) -> dict[str, bytes]:
    """The bytes of every file, by path."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def uploads(store: Store) -> list[dict[str, Any]]:
    """What the audit has about uploads."""
    return [each.details for each in store.audit.entries() if "upload" in each.details]


def test_the_set_is_one_commit_to_a_private_repository(
    hub: UploadHub, store: Store, tmp_path: Path, run: Run
) -> None:
    """Every byte arrives in a new private repository, and the audit has where to and counts."""
    output = tmp_path / "set"
    done = push(run, output, "--yes")
    assert done.code == 0, done.err
    url = f"{hub.url}/datasets/org/set"
    assert done.out.splitlines()[-1] == url
    repository = hub.repositories["org/set"]
    assert repository.private
    assert repository.commits[1:] == ["Training set: 12 train, 3 test images"]
    files = dict(repository.files)
    assert files.pop(".gitattributes")
    assert files == contents(output)
    assert len(hub.large) == 15
    started, finished = uploads(store)
    counts = {"public": False, "images": 15, "train": 12, "test": 3}
    assert started == {"to": url, "upload": "started", **counts}
    assert finished == {"to": url, "upload": "finished", "commit": repository.sha}


def test_an_earlier_set_is_replaced(hub: UploadHub, store: Store, tmp_path: Path, run: Run) -> None:
    """Files of the earlier set go, in the same commit; those that are of no set stay."""
    assert push(run, tmp_path / "first", "--yes").code == 0
    repository = hub.repositories["org/set"]
    repository.files["LICENSE"] = b"ours"
    output = tmp_path / "second"
    assert push(run, output, "--yes", "--format", "parquet").code == 0
    assert len(repository.commits) == 3
    expected = {*contents(output), "LICENSE", ".gitattributes"}
    assert set(repository.files) == expected
    assert sorted(expected)[-2:] == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]


@pytest.mark.parametrize(
    ("ignored", "set_format", "named"),
    [
        ("data/", "parquet", "data/test-00000-of-00001.parquet (and 1 more), so"),
        ("*.parquet", "parquet", "data/test-00000-of-00001.parquet (and 1 more), so"),
        ("# templates\ntrain/", "imagefolder", "(and 12 more), so"),
        ("*.md", "csv", "README.md, so"),
    ],
)
def test_files_that_the_hub_would_leave_out_are_refused(
    ignored: str,
    set_format: str,
    named: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
) -> None:
    """Before anything leaves: the earlier set stays as it is, and no upload is in the audit."""
    assert push(run, tmp_path / "first", "--yes", "--format", "label-studio").code == 0
    repository = hub.repositories["org/set"]
    repository.files[".gitignore"] = ignored.encode()
    files, large, audited = dict(repository.files), dict(hub.large), uploads(store)
    done = push(run, tmp_path / "set", "--yes", "--format", set_format)
    assert done.code == 1
    assert "Error: The .gitignore of org/set matches " in done.err
    assert named in done.err
    assert "Nothing was uploaded. Remove the lines that match" in done.err
    assert f"The training set is kept in {tmp_path / 'set'}." in done.err
    assert (repository.files, hub.large, uploads(store)) == (files, large, audited)
    assert len(repository.commits) == 2
    repository.files[".gitignore"] = b"*.log\ncheckpoints/\n"
    assert push(run, tmp_path / "again", "--yes", "--format", set_format).code == 0
    left = {".gitattributes", ".gitignore"}
    assert set(repository.files) - left == set(contents(tmp_path / "again"))


def test_a_gitignore_that_arrives_during_the_upload_stops_it(
    hub: UploadHub, store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a commit since the files were checked."""
    upload = DatasetRepository.upload

    def after_another(*arguments: Any, **options: Any) -> str:
        repository = hub.repositories["org/set"]
        repository.trees[repository.sha] = dict(repository.files)
        repository.files[".gitignore"] = b"train/"
        repository.commits.append("Ignore train")
        return upload(*arguments, **options)

    monkeypatch.setattr(DatasetRepository, "upload", after_another)
    done = push(run, tmp_path / "set", "--yes")
    assert done.code == 1
    assert "org/set was changed during the upload. Try again." in done.err
    assert set(hub.repositories["org/set"].files) == {".gitattributes", ".gitignore"}


@pytest.mark.parametrize("created", [False, True])
def test_a_public_repository_is_refused(
    created: bool, hub: UploadHub, store: Store, tmp_path: Path, run: Run
) -> None:
    """Nothing is sent to a public repository, even one that the hub has just created as such."""
    hub.creates_public = True
    if not created:
        hub.repositories["org/set"] = Repository(private=False)
    done = push(run, tmp_path / "set", "--yes")
    assert done.code == 1
    assert "org/set is public: everyone could see the images. Nothing was uploaded." in done.err
    assert f"The training set is kept in {tmp_path / 'set'}." in done.err
    assert len(hub.repositories["org/set"].commits) == 1
    assert hub.requests[-1] == "GET /api/datasets/org/set"
    assert push(run, tmp_path / "again", "--yes", "--public").code == 0
    assert len(hub.repositories["org/set"].commits) == 2


@pytest.mark.parametrize(
    ("statuses", "to", "message"),
    [
        ({}, "nowhere/set", "the hub has no organization or user 'nowhere'. The hub says: You"),
        ({"create": 401, "/api/datasets": 401}, "org/set", "The hub does not accept the token."),
        ({"create": 404}, "org/set", "The hub has no organization or user 'org', or does not"),
        ({"preupload": 403}, "org/set", "no permission to write org/set, or the hub has no"),
        ({"create": 0}, "org/set", "cannot be reached, or ended the connection: "),
        ({"/lfs/": 403}, "org/set", "The token has no permission"),
        ({"commit": 500}, "org/set", "The hub responded with status 500. Try again later."),
        ({"commit": 0}, "org/set", "cannot be reached, or ended the connection: "),
        ({"commit": 412}, "org/set", "org/set was changed during the upload."),
        ({"validate": 400}, "org/set", "The upload to org/set failed: Invalid metadata"),
    ],
)
def test_a_failure_has_a_sentence_and_keeps_the_set(
    statuses: dict[str, int],
    to: str,
    message: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
) -> None:
    """At each step: one sentence without the token, no commit, and the set is whole."""
    hub.statuses = statuses
    done = push(run, tmp_path / "set", "--yes", to=to)
    assert done.code == 1
    assert message in done.err
    assert f"The training set is kept in {tmp_path / 'set'}." in done.err
    assert len(contents(tmp_path / "set")) == 18
    assert all(len(each.commits) == 1 for each in hub.repositories.values())
    is_before = {"create", "preupload"} & {*statuses} or to == "nowhere/set"
    assert [each["upload"] for each in uploads(store)] == ([] if is_before else ["started"])


def test_a_hub_that_is_away_has_a_sentence(
    hub: UploadHub, store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network the set is kept."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", ABSENT_URL)
    done = push(run, tmp_path / "set", "--yes")
    assert done.code == 1
    assert f"Error: The hub at {ABSENT_URL} cannot be reached" in done.err
    assert len(contents(tmp_path / "set")) == 18


@pytest.mark.parametrize(
    ("to", "token", "options", "message"),
    [
        ("org/set", TOKEN, (), "Say --yes to upload without asking."),
        ("org/set", "", ("--yes",), "There is no token for the hub. Set HF_TOKEN"),
        ("set", TOKEN, ("--yes",), "'set' is not a repository of the form ORG/NAME"),
        ("org/a b", TOKEN, ("--yes",), "'org/a b' is not a repository of the form ORG/NAME"),
    ],
)
def test_what_is_known_before_is_refused_before(
    to: str,
    token: str,
    options: tuple[str, ...],
    message: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No terminal, token or name: refused before a set is written, and the hub is not asked."""
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    done = push(run, tmp_path / "set", *options, to=to)
    assert done.code == 1
    assert message in done.err
    assert not (tmp_path / "set").exists()
    assert hub.requests == []


@pytest.mark.parametrize("answered", ["y", "n"])
def test_a_terminal_is_asked(
    answered: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The question says how many images go where; after no, nothing does."""
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answered}\n"))
    done = push(run, tmp_path / "set")
    assert f"15 images leave this machine for {hub.url}/datasets/org/set. Upload?" in done.err
    assert (tmp_path / "set").is_dir()
    assert (done.code, bool(hub.repositories)) == ((0, True) if answered == "y" else (1, False))


@pytest.mark.parametrize("marked", ["itself", "near duplicate"])
def test_an_image_that_was_marked_since_is_not_uploaded(
    marked: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An image marked as showing a minor after the set was written stops the upload.

    So does a mark on a near duplicate of an image of the set.
    """
    sha256 = add_labeled(store, pattern(9_001), Label.NSFW)
    prepare = DatasetRepository.prepare

    def marks(*arguments: Any, **options: Any) -> str | None:
        hash_of_marked = sha256
        if marked == "near duplicate":
            hash_of_marked = add_labeled(store, pattern(9_001).resize((80, 80)), None)
        reasons = (Reason.MINOR_PRESENT,)
        made = answer("minor", Label.NSFW, image_sha256=hash_of_marked, reasons=reasons)
        store.log.add(made, person("cid", owner="ann"))
        return prepare(*arguments, **options)

    monkeypatch.setattr(DatasetRepository, "prepare", marks)
    done = push(run, tmp_path / "set", "--yes")
    assert done.code == 1
    assert "1 of its images may not be exported any more" in done.err
    assert_nothing_was_uploaded(hub, store)


@pytest.mark.parametrize(
    "removed", ["preview", "settled label", "confirmed label", "changed label"]
)
def test_an_image_without_its_label_or_preview_is_not_uploaded(
    removed: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was removed or changed after the set was written stops the upload; the set is kept."""
    confirmed = Label.NORMAL if removed in ("confirmed label", "changed label") else None
    sha256 = add_labeled(store, pattern(9_001), Label.NORMAL, confirmed=confirmed)
    prepare = DatasetRepository.prepare

    def removes(*arguments: Any, **options: Any) -> str | None:
        if removed == "preview":
            store.previews.remove(sha256)
        elif removed == "settled label":
            for each in list(store.log.rows(LogFilter())):
                if each.image_sha256 == sha256:
                    nonce = f"undo {each.decision_id}"
                    store.log.undo(each.decision_id, reviewer=each.reviewer, nonce=nonce)
        else:
            for misclassified in store.training.misclassifications(limit=100):
                if misclassified.image_sha256 == sha256:
                    label = Label.NSFW if removed == "changed label" else None
                    store.training.decide(misclassified.prediction_id, label, reviewer="ann")
        return prepare(*arguments, **options)

    monkeypatch.setattr(DatasetRepository, "prepare", removes)
    done = push(run, tmp_path / "set", "--yes")
    assert done.code == 1
    assert "1 of its images may not be exported any more" in done.err
    assert (tmp_path / "set").is_dir()
    assert_nothing_was_uploaded(hub, store)


def assert_nothing_was_uploaded(hub: UploadHub, store: Store) -> None:
    """The repository has its first commit only, and the audit the set that was written."""
    assert len(hub.repositories["org/set"].commits) == 1
    assert hub.large == {}
    assert len([each for each in store.audit.entries() if each.action == "export"]) == 1
