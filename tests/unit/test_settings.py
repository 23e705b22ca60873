"""Settings: defaults, validation, and defaults on a Hugging Face Space."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from nsfw_app.errors import SettingsError
from nsfw_app.records import Tab
from nsfw_app.rules.queue import EntryReason, QueueReason
from nsfw_app.settings import Settings, load, storage

DEFAULTS = {
    "model": "auto",
    "model_revision": "main",
    "unsafe_labels": (),
    "data_dir": Path("data"),
    "journal_mode": "wal",
    "snapshot_dir": None,
    "snapshot_minutes": 5,
    "host": "127.0.0.1",
    "port": 7860,
    "reviewer": "reviewer",
    "threshold": None,
    "review_from": 0.2,
    "review_to": 0.8,
    "max_file_mb": 50,
    "max_pixels": 89_478_485,
    "max_frames": 16,
    "max_files": 500,
    "preview_grace_minutes": 60,
    "require_seen": (Tab.QUEUE, Tab.RELABEL),
    "require_reason": False,
    "escalation_text": "",
}
WRONG = [
    ("JOURNAL_MODE", "off", "'wal' or 'delete'"),
    ("AUDIT_RATE", "2", "less than or equal to 1"),
    ("PORT", "65536", "less than or equal to 65535"),
    ("PORT", "-1", "greater than or equal to 0"),
    ("PORT", "http", "valid integer"),
    ("REVIEWER", "", "at least 1 character"),
    ("REVIEWER", "x" * 101, "at most 100 characters"),
    ("THRESHOLD", "1.5", "less than or equal to 1"),
    ("THRESHOLD", "-0.5", "greater than or equal to 0"),
    ("THRESHOLD", "high", "valid number"),
    ("THRESHOLD", "nan", "Input should be"),
    ("REVIEW_FROM", "-0.1", "greater than or equal to 0"),
    ("REVIEW_TO", "1.1", "less than or equal to 1"),
    ("MAX_FILE_MB", "0", "greater than 0"),
    ("MAX_FILE_MB", "inf", "Input should be"),
    ("MAX_FILE_MB", "nan", "Input should be"),
    ("MAX_PIXELS", "0", "greater than 0"),
    ("MAX_PIXELS", "178956971", "less than or equal to 178956970"),
    ("MAX_FRAMES", "0", "greater than 0"),
    ("MAX_FRAMES", "257", "less than or equal to 256"),
    ("MAX_FILES", "0", "greater than 0"),
    ("ROOT_PATH", "review", "begins with /"),
    ("ROOT_PATH", "//elsewhere.test", "begins with /"),
    ("ROOT_PATH", "/a/../b", "begins with /"),
    ("ROOT_PATH", "/a b", "begins with /"),
    ("SNAPSHOT_MINUTES", "0", "greater than 0"),
    ("SNAPSHOT_MINUTES", "1441", "less than or equal to 1440"),
    ("SNAPSHOT_MINUTES", "nan", "Input should be"),
    ("PREVIEW_GRACE_MINUTES", "-1", "greater than or equal to 0"),
    ("REQUIRE_REASON", "sometimes", "valid boolean"),
    ("THREADS", "0", "greater than 0"),
    ("THREADS", "1.5", "valid integer"),
]


@pytest.fixture
def space_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Space's environment, with its bucket mounted at a temporary path."""
    monkeypatch.setenv("SPACE_ID", "someone/nsfw-review")
    monkeypatch.setenv("SPACE_HOST", "someone-nsfw-review.hf.space")
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setattr(storage, "SPACE_DATA_DIR", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_defaults_need_no_configuration(name: str, value: object) -> None:
    """Without any variable every setting has its documented default."""
    assert getattr(load(), name) == value


def test_threads_are_the_cpus_that_may_be_used() -> None:
    """By default the model uses the CPUs of this process, at least one."""
    assert 1 <= load().threads <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("value", "path"), [("", ""), ("/", ""), ("/review", "/review"), ("/a/b.c/", "/a/b.c")]
)
def test_the_root_path_has_no_slash_at_its_end(
    monkeypatch: pytest.MonkeyPatch, value: str, path: str
) -> None:
    """The prefix of a reverse proxy may be written with or without one."""
    monkeypatch.setenv("NSFW_ROOT_PATH", value)
    assert load().root_path == path


@pytest.mark.parametrize(("name", "value"), [("AUDIT_RATE", "0.1"), ("AUDIT_PLAN", "0-1=0.1")])
def test_audits_need_their_rule(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Without it nothing would be drawn, and the evidence would stay empty without a word."""
    monkeypatch.setenv(f"NSFW_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == (
        "To draw audits, set NSFW_QUEUE_RULES=review,second_opinion,disagreement,audit, too."
    )
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,second_opinion,disagreement,audit")
    assert load().queue_rules[-1] == "audit"


@pytest.mark.parametrize("name", ["import:lab", " Import:lab"])
def test_the_reviewer_is_not_named_as_imported_labels(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Decisions under such a name are taken for those of a source."""
    monkeypatch.setenv("NSFW_REVIEWER", name)
    with pytest.raises(SettingsError, match="begins with import: is that of imported labels"):
        load()


def test_proxies_are_named_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, networks and a star are allowed; a host name is refused."""
    assert load().forwarded_allow_ips == ()
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1, 192.168.0.0/16,::1,*")
    assert load().forwarded_allow_ips == ("10.0.0.1", "192.168.0.0/16", "::1", "*")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "proxy.test")
    with pytest.raises(SettingsError, match=r"^FORWARDED_ALLOW_IPS='proxy\.test'"):
        load()


@pytest.mark.parametrize(
    ("value", "tabs"),
    [("none", ()), ("", ()), ("gallery, review", (Tab.GALLERY, Tab.REVIEW))],
)
def test_tabs_that_need_a_look_are_named(
    monkeypatch: pytest.MonkeyPatch, value: str, tabs: tuple[Tab, ...]
) -> None:
    """`none` names no tab."""
    monkeypatch.setenv("NSFW_REQUIRE_SEEN", value)
    assert load().require_seen == tabs


def test_every_setting_is_described() -> None:
    """Each setting has a description, which errors and the documentation show."""
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MODEL", "open-nsfw", "open-nsfw"),
        ("MODEL_REVISION", "abc123", "abc123"),
        ("DATA_DIR", "/srv/review", Path("/srv/review")),
        ("JOURNAL_MODE", "delete", "delete"),
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("PORT", "0", 0),
        ("REVIEWER", "Ada", "Ada"),
        ("THRESHOLD", "0.4", 0.4),
        ("REVIEW_FROM", "0", 0),
        ("REVIEW_TO", "1", 1),
        ("MAX_FILE_MB", "0.5", 0.5),
        ("MAX_PIXELS", "178956970", 178_956_970),
        ("MAX_FRAMES", "256", 256),
        ("MAX_FILES", "1", 1),
        ("THREADS", "3", 3),
        ("UNSAFE_LABELS", "porn, hentai ,,sexy", ("porn", "hentai", "sexy")),
        ("UNSAFE_LABELS", "", ()),
    ],
)
def test_the_environment_sets_each(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting is its name in capitals after `NSFW_`."""
    monkeypatch.setenv(f"NSFW_{name}", text)
    assert getattr(load(), name.lower()) == value


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_wrong_values_stop_the_start(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has name, value, what is allowed, and the description of the setting."""
    monkeypatch.setenv(f"NSFW_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith(f"NSFW_{name}=")
    assert value in message
    assert allowed in message
    assert Settings.model_fields[name.lower()].description in message


def test_all_wrong_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wrong values are two lines of one error."""
    monkeypatch.setenv("NSFW_PORT", "none")
    monkeypatch.setenv("NSFW_MAX_FILES", "-3")
    with pytest.raises(SettingsError) as caught:
        load()
    first, second = str(caught.value).splitlines()
    assert first.startswith("NSFW_PORT='none'")
    assert second.startswith("NSFW_MAX_FILES='-3'")


@pytest.mark.parametrize(
    "values",
    [
        {"REVIEW_FROM": "0.9"},
        {"REVIEW_TO": "0.1"},
        {"THRESHOLD": "0.1"},
        {"THRESHOLD": "0.9"},
        {"REVIEW_FROM": "0.6", "THRESHOLD": "0.5"},
    ],
)
def test_a_first_policy_out_of_order_stops_the_start(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three numbers out of order are reported by name and value."""
    for name, value in values.items():
        monkeypatch.setenv(f"NSFW_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    message = str(caught.value)
    assert all(f"NSFW_{n}" in message for n in ("REVIEW_FROM", "THRESHOLD", "REVIEW_TO"))
    assert all(f"({value})" in message for value in values.values())


def test_a_space_listens_everywhere_and_uses_its_bucket(space_disk: Path) -> None:
    """A Space listens on all addresses, with its data on its disk and snapshots in its bucket."""
    space = load()
    assert (space.on_space, space.host, space.port) == (True, "0.0.0.0", 7860)
    assert not space.local_only
    assert (space.data_dir, space.journal_mode) == (Path("data"), "wal")
    assert space.snapshot_dir == space_disk
    assert space.artifacts_dir == space_disk / "engines"
    assert space.space_host == "someone-nsfw-review.hf.space"


def test_a_space_without_a_bucket_uses_its_own_disk(
    space_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a mounted bucket the data is next to the app, where WAL is safe."""
    monkeypatch.setattr(storage, "SPACE_DATA_DIR", space_disk / "absent")
    assert (load().data_dir, load().journal_mode) == (Path("data"), "wal")
    assert load().snapshot_dir is None
    assert load().artifacts_dir == Path("data/engines")


@pytest.mark.parametrize(
    ("folder", "journal"), [("reviews", "delete"), ("a/b", "delete"), ("../elsewhere", "wal")]
)
def test_the_journal_follows_the_disk(
    folder: str, journal: str, space_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Space a data directory inside the bucket has no WAL; others have."""
    monkeypatch.setenv("NSFW_DATA_DIR", os.path.normpath(space_disk / folder))
    assert load().journal_mode == journal
    assert (load().snapshot_dir is None) == (journal == "delete")


def test_an_empty_directory_is_restored_from_one_place(
    space_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a dataset repository there are no snapshots; older ones are not ignored silently."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NSFW_HUB_DATASET", "org/name")
    assert load().snapshot_dir is None
    (space_disk / "snapshots").mkdir()
    with pytest.raises(SettingsError, match="NSFW_HUB_DATASET='org/name' and NSFW_SNAPSHOT_DIR="):
        load()
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", "")
    assert load().hub_dataset == "org/name"


def test_snapshots_need_a_directory_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data directory itself is refused, by another spelling too; empty means none."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", f"{tmp_path}/x/..")
    with pytest.raises(SettingsError, match="a directory of their own"):
        load()
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", f"{tmp_path}/x")
    assert load().snapshot_dir == tmp_path / "x"
    assert load().artifacts_dir == tmp_path / "engines"
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", "")
    assert load().snapshot_dir is None


def test_elsewhere_the_same_directory_is_a_local_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `SPACE_ID` that directory is not special, and only 127.0.0.1 is served."""
    monkeypatch.setattr(storage, "SPACE_DATA_DIR", tmp_path)
    assert load().data_dir == Path("data")
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    assert load().journal_mode == "wal"
    assert load().local_only
    assert not load().on_space


def test_explicit_settings_win_on_a_space(
    space_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Space changes defaults only."""
    monkeypatch.setenv("NSFW_HOST", "127.0.0.1")
    monkeypatch.setenv("NSFW_JOURNAL_MODE", "wal")
    assert (load().host, load().journal_mode) == ("127.0.0.1", "wal")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("", False),
    ],
)
def test_only_this_machine_is_local(host: str, local: bool) -> None:
    """Every address but the loopback ones exposes the page."""
    assert load(host=host).local_only is local


def test_paths_lie_in_the_data_directory(tmp_path: Path) -> None:
    """Database, previews and uploads have separate paths in it."""
    chosen = load(data_dir=tmp_path)
    places = {chosen.database, chosen.previews_dir, chosen.uploads_dir}
    assert all(tmp_path in place.parents for place in places)
    assert len(places) == 3


def test_each_port_has_uploads_of_its_own(tmp_path: Path) -> None:
    """Two pages over the same data do not empty each other's uploads."""
    assert (
        load(data_dir=tmp_path, port=1).uploads_dir != load(data_dir=tmp_path, port=2).uploads_dir
    )


def test_megabytes_are_decimal() -> None:
    """A limit of half a megabyte is 500,000 bytes."""
    assert load(max_file_mb=0.5).max_bytes == 500_000


def test_settings_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded settings are frozen and do not follow the environment."""
    chosen = load()
    monkeypatch.setenv("NSFW_PORT", "9000")
    assert chosen.port == 7860
    with pytest.raises(ValidationError):
        chosen.port = 9000


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value passed in code is the one used."""
    monkeypatch.setenv("NSFW_PORT", "9000")
    assert load(port=8000).port == 8000


@pytest.mark.parametrize(
    ("name", "value", "wrong", "allowed"),
    [
        ("QUEUE_RULES", "review,adit", "adit", "'audit'"),
        ("REQUIRE_SEEN", "queue,log", "log", "'relabel'"),
        ("REQUIRE_SEEN", "none,queue", "none", "'relabel'"),
        ("ANSWERS", "disagreement", "''", "valid integer"),
        ("ANSWERS", "disagreement=0", "'0'", "greater than 0"),
        ("ANSWERS", "doubt=2", "doubt", "'disagreement'"),
    ],
)
def test_wrong_rules_of_the_queue_stop_the_start(
    name: str, value: str, wrong: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid reason or number of decisions is reported with the allowed values."""
    monkeypatch.setenv(f"NSFW_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert all(text in str(caught.value) for text in (f"NSFW_{name}", wrong, allowed))


def test_rules_of_the_queue_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons, and numbers of decisions by reason, are separated by commas."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "audit, review")
    monkeypatch.setenv("NSFW_ANSWERS", "disagreement=1, review=2")
    chosen = load()
    assert chosen.queue_rules == (QueueReason.AUDIT, QueueReason.REVIEW)
    assert chosen.answers == {QueueReason.DISAGREEMENT: 1, QueueReason.REVIEW: 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("audit, adjudication", (EntryReason.AUDIT, EntryReason.ADJUDICATION))],
)
def test_blind_reasons(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[EntryReason, ...]
) -> None:
    """Any reason can hide the score, adjudication too; an empty text hides none."""
    monkeypatch.setenv("NSFW_BLIND_REASONS", text)
    assert load().blind_reasons == expected


def test_a_repository_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable is missing; the token is never printed."""
    monkeypatch.setenv("NSFW_HUB_DATASET", "org/name")
    with pytest.raises(SettingsError, match="needs a token: set HF_TOKEN"):
        load()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    chosen = load()
    assert chosen.hf_token.get_secret_value() == "hf_secret"
    assert "hf_secret" not in repr(chosen) + str(chosen) + repr(chosen.model_dump())
    assert (chosen.hub_dataset, chosen.hub_previews, chosen.hub_instance) == (
        "org/name",
        False,
        "main",
    )
    monkeypatch.setenv("NSFW_HUB_INSTANCE", "a/b")
    with pytest.raises(SettingsError) as raised:
        load()
    assert "hf_secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["name", "org/", "org/a/b", "https://huggingface.co/org/a", "-/a"])
def test_a_repository_has_two_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is none of the form org/name is refused, with the value."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NSFW_HUB_DATASET", name)
    with pytest.raises(SettingsError, match="It is not a repository of the form org/name"):
        load()


def test_a_space_saves_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several Spaces that share a repository have names of their own without a setting."""
    monkeypatch.setenv("SPACE_ID", "org/review space")
    assert load().hub_instance == "org.review.space"


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("log", "json", "xml"), ("log_level", "debug", "loud")],
)
def test_the_log_has_known_formats_and_levels(name: str, right: str, wrong: str) -> None:
    """Text from info on by default; another word is refused with the variable's name."""
    assert (load().log, load().log_level) == ("text", "info")
    assert getattr(load(**{name: right}), name) == right
    with pytest.raises(SettingsError, match=f"NSFW_{name.upper()}"):
        load(**{name: wrong})
