"""The real server process, `python app.py`: start, crash safety, privacy, a Space, endpoints."""

import json
import os
import signal
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from nsfw_app import __version__, settings, system
from nsfw_app.records import LogFilter
from nsfw_app.store import Store
from tests.support.fakes import image_bytes
from tests.support.server import ROOT, Server, serving

DECISIONS = 200
SPACE = {
    "SPACE_ID": "me/review",
    "SYSTEM": "spaces",
    "SPACE_HOST": "x.hf.space",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "secret",
}
KILL_AFTER = 60


def post(url: str, body: bytes) -> dict:
    """Send a body; returns the JSON of the response."""
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def upload(server: Server, red: int) -> dict:
    """Classify a plain image; returns its card."""
    url = f"{server.url}/desk/images?name=image{red}.png&source=test"
    return post(url, image_bytes(red))


@pytest.mark.usefixtures("forked")
def test_acknowledged_decisions_survive_a_kill(tmp_path: Path) -> None:
    """Of 200 decisions sent while the server is killed, every acknowledged one is on disk."""
    acknowledged: list[str] = []
    with serving(tmp_path) as server:
        wait_until_ready(server)
        card = upload(server, 10)
        body = {"image_sha256": card["sha256"], "label": "nsfw", "threshold": 0.5}
        body |= {key: card[key] for key in ("model", "revision", "backend")}

        def decide(numbers: range) -> None:
            for number in numbers:
                nonce = f"nonce-{number}"
                try:
                    post(
                        f"{server.url}/desk/decisions",
                        json.dumps({**body, "nonce": nonce, "note": nonce}).encode(),
                    )
                except OSError:
                    return
                acknowledged.append(nonce)
                if len(acknowledged) == KILL_AFTER:
                    os.kill(server.process.pid, signal.SIGKILL)

        threads = [
            threading.Thread(target=decide, args=[range(start, DECISIONS, 4)]) for start in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.process.wait(10)
    assert KILL_AFTER <= len(acknowledged) < DECISIONS
    store = Store(
        server.data / "review.db", previews_dir=server.data / "images", journal_mode="wal"
    )
    assert set(acknowledged) <= {decision.note for decision in store.log.rows(LogFilter())}


def wait_until_ready(server: Server) -> None:
    """Wait until the model is loaded."""
    while True:
        with urllib.request.urlopen(f"{server.url}/desk/status", timeout=30) as response:
            if json.load(response)["state"] == "ready":
                return


def test_other_accounts_cannot_read_the_data(tmp_path: Path) -> None:
    """Existing and new files are private under any umask."""
    data = tmp_path / "data"
    before = os.umask(0)
    try:
        Store(data / "review.db", previews_dir=data / "images", journal_mode="wal")
        for earlier in (
            "images/aa/a.jpg",
            "engines/m/r/onnx/1/m.onnx",
            "uploads/1/x",
            "review.db2",
        ):
            (data / earlier).parent.mkdir(parents=True, exist_ok=True)
            (data / earlier).write_bytes(b"from an earlier version")
        for path in (data, *data.rglob("*")):
            with suppress(
                FileNotFoundError
            ):  # the write-ahead log, if the store was garbage-collected
                path.chmod(0o777 if path.is_dir() else 0o666)
        with serving(tmp_path) as server:
            wait_until_ready(server)
            card = upload(server, 150)
            file = tmp_path / "a.png"
            file.write_bytes(image_bytes(9))
            Client(server.url, verbose=False).predict(handle_file(file), api_name="/classify")
            paths = [data, *data.rglob("*")]
            assert any(card["sha256"] in path.name for path in paths)
            assert any(path.suffix == ".db-wal" for path in paths)
            wide = {str(path): oct(path.stat().st_mode) for path in paths if is_wide(path)}
            assert wide == {}
    finally:
        os.umask(before)


def is_wide(path: Path) -> bool:
    """Whether other accounts have any permission."""
    return bool(path.stat().st_mode & 0o077)


def test_a_data_directory_with_other_files_keeps_its_mode(tmp_path: Path) -> None:
    """Only the files of this program in it become private."""
    chosen = settings.load(data_dir=tmp_path)
    Store(chosen.database, previews_dir=chosen.previews_dir, journal_mode="wal")
    assert chosen.private_paths == [tmp_path]
    (tmp_path / "another file").touch()
    assert tmp_path not in chosen.private_paths
    assert {chosen.database, chosen.previews_dir} <= set(chosen.private_paths)


def test_a_space_serves_every_address(tmp_path: Path) -> None:
    """On a Space, the page is bound to all addresses; the banner names the users."""
    with serving(tmp_path, **SPACE, NSFW_HUB_ROLES="ann=admin") as server:
        elsewhere = server.url.replace("127.0.0.1", "127.0.0.2")
        with urllib.request.urlopen(elsewhere, timeout=30) as response:
            assert response.status == 200
        assert "Hugging Face accounts: ann" in server.log.read_text()


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({"NSFW_HOST": "0.0.0.0"}, "python -m nsfw_app users add NAME --role admin"),
        ({"NSFW_HOST": "127.0.0.2"}, "leave NSFW_HOST at 127.0.0.1"),
        ({"SPACE_ID": "me/review"}, "hf_oauth: true"),
        ({"FORWARDED_ALLOW_IPS": "127.0.0.1"}, "a reverse proxy serves the page to others"),
        ({"NSFW_ROOT_PATH": "/review"}, "a reverse proxy serves the page to others"),
    ],
)
def test_other_machines_are_not_served_without_users(
    tmp_path: Path, environment: dict[str, str], advice: str
) -> None:
    """The server does not start, and the message says what to do."""
    with pytest.raises(RuntimeError, match="Error:") as stopped, serving(tmp_path, **environment):
        pass
    assert advice in str(stopped.value)


def test_the_serve_command_runs_the_server(tmp_path: Path) -> None:
    """`nsfw-review serve` runs the same server as `python app.py`; /healthz has the version."""
    command = ("-m", "nsfw_app", "serve")
    with (
        serving(tmp_path, command=command, PYTHONPATH=str(ROOT)) as server,
        urllib.request.urlopen(f"{server.url}/healthz", timeout=30) as response,
    ):
        assert json.load(response) == {"alive": True, "version": __version__}
        assert server.url in server.log.read_text()


def test_without_a_space_only_this_machine_is_served(server: Server) -> None:
    """By default only the loopback address is bound."""
    with pytest.raises(URLError, match="refused"):
        urllib.request.urlopen(server.url.replace("127.0.0.1", "127.0.0.2"), timeout=5)


def test_the_banner_has_address_model_and_data(server: Server) -> None:
    """The first lines have the URL, the model and the data directory."""
    wait_until_ready(server)
    banner = server.log.read_text()
    assert server.url in banner
    assert str(server.data) in banner
    assert "Model: open-nsfw, revision 864bb37bf886" in banner


@pytest.mark.usefixtures("forked")
def test_the_embedded_model_uses_half_precision_if_verified(tmp_path: Path) -> None:
    """With NSFW_BACKEND=auto, bf16 is used if it passed the parity check, and recorded."""
    with serving(tmp_path, NSFW_BACKEND="auto") as server:
        wait_until_ready(server)
        card = upload(server, 10)
        assert card["error"] is None
        found = list(server.data.glob("engines/open-nsfw/*/openvino-bf16/*/artefact.json"))
        assert len(found) == system.cpu().multiplies_bf16
        names = {"openvino-bf16", "onnxruntime"} if found else {"onnxruntime"}
        assert server.rows("SELECT backend FROM predictions")[0]["backend"] in names


@pytest.mark.usefixtures("forked")
def test_a_named_model_is_not_replaced(tmp_path: Path) -> None:
    """Without it, the page is served, the message says what to do, images are unavailable."""
    with serving(tmp_path, NSFW_MODEL="missing/model") as server:
        state = "loading"
        while state == "loading":
            with urllib.request.urlopen(f"{server.url}/desk/status", timeout=30) as response:
                status = json.load(response)
            state = status["state"]
        assert state == "failed"
        assert "NSFW_MODEL" in status["message"]
        card = upload(server, 10)
        assert (card["action"], card["error"]["kind"]) == ("unavailable", "model_not_found")


@pytest.mark.usefixtures("forked")
def test_the_path_of_a_local_model_is_not_shown(tmp_path: Path) -> None:
    """Status, errors and the banner have the name of its directory only."""
    directory = tmp_path / "secret-place" / "our-model"
    directory.mkdir(parents=True)
    with serving(tmp_path, NSFW_MODEL=str(directory)) as server:
        card = {}
        while "our-model" not in str(card.get("error")):  # until the model has failed to load
            card = upload(server, 10)
        for path in ("/desk/status", "/config", "/"):
            with urllib.request.urlopen(f"{server.url}{path}", timeout=30) as response:
                assert "secret-place" not in response.read().decode()
        with pytest.raises(HTTPError) as unready:
            urllib.request.urlopen(f"{server.url}/readyz", timeout=30)
        assert "secret-place" not in unready.value.read().decode()
        assert "secret-place" not in str(card)
        assert "secret-place" not in server.log.read_text().replace(str(tmp_path / "data"), "")


def test_named_endpoints_of_the_page(server: Server, tmp_path: Path) -> None:
    """gradio_client classifies a file and records a decision."""
    wait_until_ready(server)
    client = Client(server.url, verbose=False)
    file = tmp_path / "sent.png"
    file.write_bytes(image_bytes(33))
    review = client.predict(handle_file(file), api_name="/classify")
    assert (review["name"], review["width"], review["error"]) == ("sent.png", 40, None)
    assert sum(review["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    model = (review["model"], review["revision"], review["backend"])
    arguments = (
        review["sha256"],
        "unsure",
        0.4,
        *model,
        ["art", "other"],
        "by program",
        "nonce-api",
    )
    decision = client.predict(*arguments, api_name="/decide")
    assert decision == client.predict(*arguments, api_name="/decide")
    (row,) = server.rows("select * from correction_log where note = 'by program'")
    assert row["decision_id"] == decision["decision_id"]
    assert (row["reviewer_label"], row["threshold"], row["agrees"]) == ("unsure", 0.4, None)
    text = tmp_path / "text.png"
    text.write_text("not an image")
    refused = client.predict(handle_file(text), api_name="/classify")
    assert (refused["action"], refused["error"]["kind"]) == ("unavailable", "not_an_image")
    with pytest.raises(AppError, match="not one of normal, nsfw, unsure"):
        client.predict(arguments[0], "maybe", *arguments[2:], api_name="/decide")
    assert list((server.data / "uploads").rglob("*.png")) == []


def test_a_photograph_is_explained(server: Server) -> None:
    """By the embedded model: on the page, and for a program as a PNG; computed once."""
    wait_until_ready(server)
    photo = (ROOT / "nsfw_app/ui/assets/review/samples/astronaut.jpg").read_bytes()
    card = post(f"{server.url}/desk/images?name=astronaut.jpg&source=review", photo)
    names = json.dumps({key: card[key] for key in ("model", "revision", "backend")}).encode()
    url = f"{server.url}/desk/images/{card['sha256']}/explanation"
    status = post(url, names)
    while status["status"] == "running":
        with urllib.request.urlopen(f"{server.url}/desk/explanations/{status['id']}") as response:
            status = json.load(response)
    explanation = status["explanation"]
    assert status["status"] == "done"
    assert (explanation["method"], explanation["rows"]) == ("rise", 7)
    assert abs(explanation["score"] - card["nsfw_score"]) < 0.02  # of the preview
    assert post(url, names)["explanation"] == explanation
    (row,) = server.rows("select explanation from explanations")
    assert json.loads(row["explanation"]) == explanation
    headers = {"accept": "image/png", "content-type": "image/jpeg"}
    request = urllib.request.Request(f"{server.url}/v1/explain", data=photo, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["content-type"] == "image/png"
        assert response.read(8) == b"\x89PNG\r\n\x1a\n"
