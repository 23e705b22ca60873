"""Sign-in with any OpenID Connect provider: what is believed, and what is refused, and why."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from starlette.types import Receive, Scope, Send

from nsfw_app.accounts import Accounts
from nsfw_app.errors import NotSignedIn
from nsfw_app.rate_limits import RateLimiter
from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings import load
from nsfw_app.settings.sign_in import OpenIdClient
from nsfw_app.store import Store
from nsfw_app.web.auth import openid
from nsfw_app.web.auth import provider as provider_module
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.auth.id_token import import_keys, verified_claims
from nsfw_app.web.auth.provider import Authorization
from nsfw_app.web.auth.provider import Provider as Client
from tests.support.application import PASSWORDS, SHARED, WebApp, open_app_in, served
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, Provider, new_key, person, provider

BACK = f"{SHARED}/login/callback"
PROXY = "192.0.2.1"
ROLES = {"moderators": "reviewer", "ts-leads": "admin"}
SIGN_INS = 45  # more than a server has worker threads, fewer than one address may begin
JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Provider]:
    """A provider for all tests."""
    with provider() as running:
        yield running


def chosen(idp: Provider) -> dict[str, object]:
    """The settings of that provider."""
    return {
        "oidc_issuer": idp.url,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_roles": ROLES,
    }


@pytest.fixture(scope="module")
def app_and_store(
    running_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebApp, Store]]:
    """The application with that provider, and one user with a password."""
    folder = tmp_path_factory.mktemp("openid")
    more = {"roles": {"root": UserRole.ADMIN}, "FORWARDED_ALLOW_IPS": PROXY}
    with open_app_in(folder, **more, **chosen(running_provider)) as both:
        yield both


@pytest.fixture
def idp(running_provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The provider, which knows Ann, a moderator. Its metadata are read each time."""
    monkeypatch.setattr(provider_module, "METADATA_S", 0)
    fresh = Provider(key=running_provider.key)
    for name in ("in_id_token", "changes", "metadata", "published", "token", "requests", "codes"):
        setattr(running_provider, name, getattr(fresh, name))
    running_provider.person = person("ann.smith", groups=["staff", "moderators"])
    return running_provider


@pytest.fixture
def store(app_and_store: tuple[WebApp, Store]) -> Store:
    """The store of the application, without the accounts of earlier tests."""
    _, store = app_and_store
    with store._connections.writing() as db:
        db.execute("delete from sessions")
        db.execute("delete from users where issuer is not null")
    return store


@pytest.fixture
def app(app_and_store: tuple[WebApp, Store], store: Store) -> WebApp:
    """The application, with a browser of its own for each test."""
    running, _ = app_and_store
    running.accounts._limiter = RateLimiter()  # all tests have one address
    return WebApp(running.anonymous(), running.accounts)


def consent(client: TestClient, idp: Provider, *, back: str = BACK) -> dict[str, str]:
    """Start a sign-in and consent to it; returns the parameters of the callback."""
    away = client.get("/login/provider", follow_redirects=False)
    assert away.status_code == 303, away.text
    return idp.consent(away.headers["location"], redirect_uri=back)


def sign_in(client: TestClient, idp: Provider) -> Response:
    """Sign in through the provider."""
    brought = consent(client, idp)
    return client.get("/login/callback", params=brought, follow_redirects=False)


def permissions(client: TestClient) -> list[str]:
    """The permissions of the caller; none before the sign-in."""
    status = client.get("/desk/status")
    return list(status.json()["permissions"]) if status.status_code == 200 else []


def test_groups_have_the_mapped_role(app: WebApp, idp: Provider) -> None:
    """The highest of them, also inside of an object; the session has the name of the claim."""
    assert sign_in(app.client, idp).headers["location"] == "/"
    status = app.client.get("/desk/status").json()
    assert (status["reviewer"], status["auth_action"]) == ("ann.smith", "sign_out")
    assert "review" in status["permissions"]
    assert "manage" not in status["permissions"]
    idp.person = person("lea", groups=["moderators", "TS-Leads"])
    lead = app.anonymous()
    sign_in(lead, idp)
    assert "manage" in permissions(lead)


def test_the_request_has_pkce_state_and_nonce(app: WebApp) -> None:
    """Each is new for each sign-in; the state is bound to the browser by a cookie."""
    first, second = (app.client.get("/login/provider", follow_redirects=False) for _ in range(2))
    asked = [parse_qs(urlsplit(one.headers["location"]).query) for one in (first, second)]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
    assert asked[0]["code_challenge_method"] == ["S256"]
    assert asked[0]["response_type"] == ["code"]
    cookie = first.headers["set-cookie"]
    assert asked[0]["state"][0] in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/login"))


def test_the_callback_is_at_the_address_that_a_proxy_forwards(app: WebApp, idp: Provider) -> None:
    """Of a trusted proxy, with its path; the cookies are limited to it, and to HTTPS."""
    forwarded = {
        "x-forwarded-host": "review.example.org",
        "x-forwarded-proto": "https",
        "x-forwarded-prefix": "/queue",
    }
    client = TestClient(app.client.app, base_url=SHARED, client=(PROXY, 1), headers=forwarded)
    away = client.get("/login/provider", follow_redirects=False)
    back = "https://review.example.org/queue/login/callback"
    brought = idp.consent(away.headers["location"], redirect_uri=back)
    cookie = away.headers["set-cookie"]
    assert all(word in cookie for word in ("Path=/queue/login;", "Secure", "SameSite=Lax"))
    state = {"cookie": cookie.partition(";")[0]}
    done = client.get("/login/callback", params=brought, headers=state, follow_redirects=False)
    assert done.headers["location"] == "/queue/"
    assert "Path=/queue;" in done.headers["set-cookie"]
    session = {"cookie": done.headers["set-cookie"].partition(";")[0], **JSON}
    assert client.post("/logout", headers=session).json() == {"location": "/queue/login"}


def test_with_a_public_https_address_both_cookies_are_secure(idp: Provider, tmp_path: Path) -> None:
    """Also behind a proxy that does not forward the scheme."""
    public = "https://review.example.org"
    roles = {"root": UserRole.ADMIN}
    with open_app_in(tmp_path, roles=roles, public_url=public, **chosen(idp)) as (running, _):
        away = running.client.get("/login/provider", follow_redirects=False)
        brought = idp.consent(away.headers["location"], redirect_uri=f"{public}/login/callback")
        state = {"cookie": away.headers["set-cookie"].partition(";")[0]}
        done = running.client.get(
            "/login/callback", params=brought, headers=state, follow_redirects=False
        )
    assert done.headers["location"] == "/"
    assert all("; Secure" in response.headers["set-cookie"] for response in (away, done))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": "of another sign-in"}, "it belongs to another sign-in"),
        ({"nonce": None}, "it belongs to another sign-in"),
        ({"aud": "another client"}, "it is for another application"),
        ({"aud": "another client", "azp": CLIENT_ID}, "it is for another application"),
        ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "it is for another application"),
        ({"aud": [CLIENT_ID, "another"]}, "it is for another application"),
        ({"iss": "https://elsewhere.test"}, "another provider issued it"),
        ({"exp": int(time.time()) - 90}, "it has expired"),
        ({"iat": int(time.time()) + 86_400}, "it was issued in the future"),
        ({"nbf": int(time.time()) + 86_400}, "it is not valid yet"),
        ({"exp": None}, "its claim exp is missing or wrong"),
        ({"sub": None}, "its claim sub is missing or wrong"),
        ({"at_hash": "of another"}, "it belongs to another access token"),
    ],
)
def test_a_wrong_id_token_is_refused(
    app: WebApp, idp: Provider, changes: dict[str, object], message: str
) -> None:
    """The sign-in page says what is wrong; there is no session."""
    idp.changes = changes
    refused = sign_in(app.client, idp)
    assert refused.status_code == 401
    assert message in refused.text
    assert permissions(app.client) == []


@pytest.mark.parametrize("skew_s", [-50, 50])
def test_clocks_may_differ_by_a_minute(app: WebApp, idp: Provider, skew_s: int) -> None:
    """A provider whose clock is a little slow or fast signs users in."""
    now = int(time.time()) + skew_s
    idp.changes = {"iat": now, "nbf": now, "exp": now + 1}
    assert sign_in(app.client, idp).status_code == 303


def handmade(header: dict[str, object], claims: dict[str, object], secret: bytes = b"") -> str:
    """A token that no library makes: without a signature, or with the public key as a secret."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode()]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, signed, "sha256") if secret else b""
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_token_without_a_public_signature_is_refused(app: WebApp, idp: Provider) -> None:
    """No algorithm, a shared secret made of the public key, another key under the known id."""
    idp.metadata["id_token_signing_alg_values_supported"] = ["none", "HS256", "ES256"]
    public, kid = idp.key.as_pem(private=False), idp.key.kid
    for make, message in (
        (
            lambda claims: handmade({"alg": "none"}, claims),
            "its signature algorithm is not accepted",
        ),
        (
            lambda claims: handmade({"alg": "HS256", "kid": kid}, claims, public),
            "its signature algorithm is not accepted",
        ),
        (
            lambda claims: jwt.encode({"alg": "ES256", "kid": kid}, claims, new_key("first")),
            "its signature is wrong",
        ),
        (lambda _: "not.a.token", "it cannot be read"),
    ):
        brought = consent(app.client, idp)
        (nonce,) = [asked["nonce"] for asked in idp.codes.values()]
        idp.token = make(idp.claims(nonce))
        refused = app.client.get("/login/callback", params=brought)
        assert refused.status_code == 401
        assert message in refused.text
    assert permissions(app.client) == []


def test_the_provider_may_change_its_key(
    app: WebApp, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key is looked up once, and not again at once for a key that is not published."""
    sign_in(app.client, idp)
    monkeypatch.setattr(provider_module, "KEYS_AGAIN_S", 0)
    old, new = idp.key, new_key("second")
    monkeypatch.setattr(idp, "key", new)
    idp.published = [old, new]
    before = idp.requests["/oauth/jwks"]
    assert sign_in(app.client, idp).status_code == 303
    assert idp.requests["/oauth/jwks"] == before + 1

    monkeypatch.setattr(provider_module, "KEYS_AGAIN_S", 600)
    monkeypatch.setattr(idp, "key", new_key("secret"))
    for _ in range(2):
        refused = sign_in(app.client, idp)
        assert "a key that it does not publish" in refused.text
    assert idp.requests["/oauth/jwks"] == before + 1


def test_after_a_timeout_sign_ins_fail_at_once(
    idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some seconds: those that wait for a thread would wait for a timeout each."""
    moment, asked = 1_000.0, []

    def time_out(url: str, **_: object) -> Response:
        asked.append(url)
        raise httpx2.ReadTimeout("")

    client = Client(client_of(idp), clock=lambda: moment)
    with monkeypatch.context() as hanging:
        hanging.setattr(provider_module.httpx2, "get", time_out)
        for _ in range(3):
            with pytest.raises(NotSignedIn, match="does not respond"):
                signed_in_with(client, idp)
        assert len(asked) == 1
    moment += provider_module.FAILED_S
    assert signed_in_with(client, idp) == "ann.smith"


def test_a_withdrawn_key_counts_for_an_hour(idp: Provider) -> None:
    """What it signed is refused then, also while no other key was needed."""
    moment = 1_000.0
    client = Client(client_of(idp), clock=lambda: moment)
    assert signed_in_with(client, idp) == "ann.smith"
    idp.published = [new_key("second")]
    assert signed_in_with(client, idp) == "ann.smith"
    moment += provider_module.KEYS_S
    with pytest.raises(NotSignedIn, match="a key that it does not publish"):
        signed_in_with(client, idp)


def test_a_key_without_an_id_may_change(idp: Provider) -> None:
    """It is looked up again when its signature is wrong."""
    moment = 1_000.0
    client = Client(client_of(idp), clock=lambda: moment)
    for _ in range(2):
        unnamed = ECKey.generate_key("P-256", {"use": "sig"})
        idp.published = [unnamed]
        idp.token = jwt.encode({"alg": "ES256"}, idp.claims("nonce"), unnamed, ["ES256"])
        assert signed_in_with(client, idp) == "ann.smith"
        moment += provider_module.KEYS_AGAIN_S


def client_of(idp: Provider) -> OpenIdClient:
    """The application's registration at the provider."""
    client = load(**chosen(idp)).openid
    assert client
    return client


def signed_in_with(client: Client, idp: Provider) -> str:
    """Sign in with this client; returns the name."""
    started = Authorization("state", "nonce", "verifier" * 8, BACK)
    brought = idp.consent(client.authorization_url(started), redirect_uri=BACK)
    return client.sign_in(started, code=brought["code"], issuer=None).identity.name


def test_keys_of_another_kind_are_ignored() -> None:
    """A provider may publish keys that this page does not know, next to those it signs with."""
    known = new_key("known").as_dict(private=False)
    unknown = {"kty": "EC", "crv": "P-999", "kid": "curve", "x": "AA", "y": "AA"}
    keys = import_keys([unknown, known, {"kid": "kind"}])
    assert [key.kid for key in keys.keys] == ["known"]


def test_without_a_common_algorithm_no_token_is_accepted() -> None:
    """Not those that the library accepts by default, which include shared secrets."""
    secret = OctKey.import_key(b"a shared secret of enough bytes!", {"kid": "shared"})
    token = jwt.encode({"alg": "HS256", "kid": "shared"}, {"sub": "ann"}, secret)
    about = {"issuer": "", "client_id": "", "nonce": "", "access_token": ""}
    with pytest.raises(NotSignedIn, match="algorithm is not accepted"):
        verified_claims(token, KeySet([secret]), algorithms=["HS256"], **about)


def test_an_unverified_email_address_is_no_name(idp: Provider, tmp_path: Path) -> None:
    """Users choose it, so it could be another moderator's; also where userinfo alone says so."""
    configured = {**chosen(idp), "oidc_name_claim": "email"}
    idp.in_id_token = ("sub", "email")
    with open_app_in(tmp_path, roles={}, **configured) as (app, store):
        for sub, verified in (("1", False), ("2", None), ("3", True)):
            email = {"email": f"{sub}@example.org", "email_verified": verified}
            idp.person = person(sub, sub=sub, groups=["moderators"], **email)
            done = sign_in(app.client, idp)
            assert done.status_code == (303 if verified else 401)
            assert verified or "has not verified the email address" in done.text
        assert [user.name for user in store.users.all()] == ["3@example.org"]


def test_a_provider_that_hangs_delays_nothing_else(
    idp: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More sign-ins wait for it than there are worker threads; the page and passwords work."""
    answers, arrived = threading.Event(), threading.Semaphore(0)

    def hang(*_: object) -> str:
        answers.wait(30)
        return "/"

    monkeypatch.setattr(Client, "authorization_url", hang)
    with open_app_in(tmp_path, roles={"root": UserRole.ADMIN}, **chosen(idp)) as (app, _):

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("path") == "/login/provider":
                arrived.release()
            await app.client.app(scope, receive, send)

        with (
            served(counting) as url,
            httpx2.Client(base_url=url, timeout=60) as browser,
            ThreadPoolExecutor(SIGN_INS) as threads,
        ):
            away = [threads.submit(browser.get, "/login/provider") for _ in range(SIGN_INS)]
            try:
                assert all(arrived.acquire(timeout=30) for _ in away)
                root = {"username": "root", "password": PASSWORDS["root"]}
                assert browser.post("/login", data=root, timeout=10).status_code == 200
                assert browser.get("/desk/status", timeout=10).json()["reviewer"] == "root"
            finally:
                answers.set()
            assert {one.result().status_code for one in away} == {303}


def test_no_session_without_a_mapped_role(app: WebApp, idp: Provider, store: Store) -> None:
    """The refusal names the setting, is audited, and makes no user."""
    idp.person = person("eve", groups=["staff"])
    refused = sign_in(app.client, idp)
    assert refused.status_code == 401
    assert "eve has no role on this page" in refused.text
    assert "NSFW_OIDC_ROLES" in refused.text
    assert store.users.user("eve") is None
    last = list(store.audit.entries())[-1]
    assert (last.actor, last.action, last.subject) == ("eve", "sign_in_failed", "user:eve")


def test_a_role_follows_the_groups_of_the_latest_sign_in(app: WebApp, idp: Provider) -> None:
    """Also in the sessions that began before it."""
    idp.person = person("ann.smith", groups=["ts-leads"])
    sign_in(app.client, idp)
    assert "manage" in permissions(app.client)
    idp.person = person("ann.smith", groups=["moderators"])
    other = app.anonymous()
    sign_in(other, idp)
    for client in (app.client, other):
        assert "review" in permissions(client)
        assert "manage" not in permissions(client)


def test_a_session_of_another_issuer_does_not_count(
    app: WebApp, idp: Provider, store: Store
) -> None:
    """After a change of the provider, whose groups may have the same names."""
    sign_in(app.client, idp)
    token = app.client.cookies["nsfw_review"]
    roles = {"moderators": UserRole.REVIEWER}
    same = Accounts(store, roles_by_group=roles, issuer=idp.url)
    assert same.session_caller(token)
    other = Accounts(store, roles_by_group=roles, issuer="https://login.example.org")
    assert other.session_caller(token) is None


def test_a_disabled_user_stays_out(app: WebApp, idp: Provider, store: Store) -> None:
    """Disabling ends the session; the next sign-in is refused with any groups."""
    sign_in(app.client, idp)
    store.users.change_user("ann.smith", disabled=True, actor="test")
    assert permissions(app.client) == []
    refused = sign_in(app.client, idp)
    assert "ann.smith is disabled on this page" in refused.text
    store.users.change_user("ann.smith", disabled=False, actor="test")
    assert sign_in(app.client, idp).status_code == 303


def test_a_name_does_not_open_an_account(app: WebApp, idp: Provider, store: Store) -> None:
    """Neither that of a user with a password, nor that of another subject; `link` hands it over."""
    idp.person = person("ROOT", groups=["moderators"])
    refused = sign_in(app.client, idp)
    assert "The name ROOT belongs to another account" in refused.text
    idp.person = person("ann.smith", groups=["moderators"])
    sign_in(app.client, idp)
    idp.person = person("ann.smith", sub="another", groups=["ts-leads"])
    other = app.anonymous()
    assert "The name ann.smith belongs to another account" in sign_in(other, idp).text
    assert permissions(other) == []
    store.identities.free("ann.smith", actor="test")
    assert permissions(app.client) == []
    assert sign_in(other, idp).status_code == 303
    assert "manage" in permissions(other)
    idp.person = person("ann.smith", groups=["moderators"])
    assert "belongs to another account" in sign_in(app.client, idp).text


def test_a_renamed_account_keeps_its_user(app: WebApp, idp: Provider) -> None:
    """The subject identifies it; decisions stay under the name of its first sign-in."""
    sign_in(app.client, idp)
    idp.person = person("ann.jones", sub="subject-of-ann.smith", groups=["moderators"])
    sign_in(app.client, idp)
    assert app.client.get("/desk/status").json()["reviewer"] == "ann.smith"


@pytest.mark.parametrize("name", ["a b", "local", "import:lab", "x" * 65])
def test_a_name_must_be_valid(app: WebApp, idp: Provider, name: str) -> None:
    """It is recorded with decisions, so it must be a name that a user may have."""
    idp.person = person(name, groups=["moderators"])
    refused = sign_in(app.client, idp)
    assert refused.status_code == 401
    assert "is not a valid name" in refused.text


def test_a_missing_name_is_explained(app: WebApp, idp: Provider) -> None:
    """The operator learns which settings to change."""
    idp.person = {"sub": "1", "groups": ["moderators"]}
    assert "NSFW_OIDC_NAME_CLAIM" in sign_in(app.client, idp).text


def test_a_callback_belongs_to_one_browser_and_counts_once(app: WebApp, idp: Provider) -> None:
    """Another browser's, a repeated and an expired callback are refused."""
    brought = consent(app.client, idp)
    victim = app.anonymous()
    assert victim.get("/login/callback", params=brought).status_code == 401
    assert app.client.get("/login/callback", params=brought).status_code == 401
    brought = consent(app.client, idp)
    assert app.client.get("/login/callback", params=brought, follow_redirects=False).is_redirect
    replayed = app.client.get("/login/callback", params=brought)
    assert "was not started in this browser, or has expired" in replayed.text


def test_a_flow_expires() -> None:
    """After ten minutes its state is unknown."""
    now = [0.0]
    logins = openid.PendingLogins(lambda: now[0])
    first, second = (
        provider_module.Authorization(state, "nonce", "verifier", BACK) for state in ("a", "b")
    )
    logins.add(first)
    now[0] = openid.FLOW_S - 1
    logins.add(second)
    assert logins.pop("a") == first
    now[0] = 2 * openid.FLOW_S
    assert logins.pop("b") is None


def test_a_response_of_another_provider_is_refused(app: WebApp, idp: Provider) -> None:
    """By the parameter `iss`, which is needed where the provider promises it (RFC 9207)."""
    brought = {**consent(app.client, idp), "iss": "https://elsewhere.test"}
    refused = app.client.get("/login/callback", params=brought)
    assert "it names &#x27;https://elsewhere.test&#x27;" in refused.text
    brought = {**consent(app.client, idp), "iss": idp.url}
    assert app.client.get("/login/callback", params=brought, follow_redirects=False).is_redirect


def test_a_promised_issuer_must_be_there(app: WebApp, idp: Provider) -> None:
    """A response without it may be another provider's."""
    idp.metadata["authorization_response_iss_parameter_supported"] = True
    assert "it names no issuer" in sign_in(app.client, idp).text


def test_the_providers_refusal_is_shown(app: WebApp, idp: Provider) -> None:
    """As text; the flow has ended."""
    state = consent(app.client, idp)["state"]
    sent = {"state": state, "error": "<b>access_denied</b>"}
    refused = app.client.get("/login/callback", params=sent)
    assert refused.status_code == 401
    assert "did not sign you in: &lt;b&gt;access_denied" in refused.text
    assert app.client.get("/login/callback", params=sent).status_code == 401


def test_a_wrong_code_or_another_subject_is_refused(app: WebApp, idp: Provider) -> None:
    """The token endpoint refuses the code; the userinfo endpoint describes another account."""
    state = consent(app.client, idp)["state"]
    refused = app.client.get("/login/callback", params={"state": state, "code": "wrong"})
    assert "did not confirm your account" in refused.text
    idp.changes = {"sub": "another"}
    assert "described another account than yours" in sign_in(app.client, idp).text


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"issuer": "https://elsewhere.test"}, "calls itself"),
        ({"authorization_endpoint": "http://elsewhere.test/authorize"}, "not an https:// URL"),
        ({"authorization_endpoint": None}, "does not respond"),
    ],
)
def test_wrong_metadata_are_refused(
    app: WebApp, idp: Provider, metadata: dict[str, object], message: str
) -> None:
    """Of another issuer, without encryption, or incomplete."""
    idp.metadata = metadata
    refused = app.client.get("/login/provider", follow_redirects=False)
    assert refused.status_code == 401
    assert message in refused.text


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "https://a..b"])
def test_a_provider_that_is_down_is_reported(app: WebApp, idp: Provider, issuer: str) -> None:
    """Users with a password can sign in nevertheless."""
    client = load(**{**chosen(idp), "oidc_issuer": issuer}).openid
    assert client is not None
    down = provider_module.Provider(client)
    started = provider_module.Authorization("state", "nonce", "verifier", BACK)
    with pytest.raises(NotSignedIn, match="does not respond"):
        down.authorization_url(started)
    assert down.logout_url("token", back=BACK) is None
    name = {"username": "root", "password": PASSWORDS["root"]}
    assert app.client.post("/login", data=name).json() == {"success": True}


def test_the_page_offers_the_ways_that_there_are(app: WebApp, store: Store) -> None:
    """The provider, and a password as long as a user has one."""
    page = app.client.get("/login").text
    assert "Sign in with 127.0.0.1" in page
    assert "Sign in with a password" in page
    store.identities.free("root", actor="test")
    assert "password" not in app.client.get("/login").text
    refused = app.client.post("/login", data={"username": "root", "password": "x"})
    assert refused.status_code == 404
    app.accounts.set_password("root", PASSWORDS["root"], actor="test")


def test_a_provider_is_never_combined_with_the_open_page(
    running_provider: Provider, tmp_path: Path
) -> None:
    """Without users on this machine only, callers are not the local reviewer."""
    empty = Store(tmp_path / "review.db", previews_dir=tmp_path / "images", journal_mode="wal")
    accounts = Accounts(empty)
    assert Callers(load(), accounts).open
    assert not Callers(load(**chosen(running_provider)), accounts).open


def test_the_sign_out_ends_the_providers_session(app: WebApp, idp: Provider, store: Store) -> None:
    """The page learns where, with the ID token that the session began with; it is gone here."""
    idp.metadata["end_session_endpoint"] = f"{idp.url}/oauth/end"
    sign_in(app.client, idp)
    token = app.client.cookies["nsfw_review"]
    (stored,) = store._connections.db.execute("select id_token from sessions").fetchone()
    assert not stored.startswith("ey")  # it is encrypted
    where = urlsplit(app.client.post("/logout", headers=JSON).json()["location"])
    asked = parse_qs(where.query)
    assert where.path == "/oauth/end"
    assert asked["post_logout_redirect_uri"] == [f"{SHARED}/login"]
    assert jwt.decode(asked["id_token_hint"][0], idp.key).claims["sub"] == "subject-of-ann.smith"
    app.client.cookies.set("nsfw_review", token)
    assert permissions(app.client) == []


def test_without_an_address_the_local_session_ends(
    app: WebApp, idp: Provider, store: Store
) -> None:
    """No ID token is kept then, and the page goes to the sign-in."""
    sign_in(app.client, idp)
    assert store._connections.db.execute("select id_token from sessions").fetchone()[0] is None
    assert app.client.post("/logout", headers=JSON).json() == {"location": "/login"}
    assert permissions(app.client) == []


ROLES_BY_CLAIM = {"moderators": "reviewer", "ann@example.org": "admin"}


def test_other_settings(idp: Provider, tmp_path: Path) -> None:
    """Session length, public URL, roles of several claims, nested ones and email addresses too.

    An email address counts only where the provider has verified it.
    """
    configured = {
        **chosen(idp),
        "oidc_session_hours": 0.5,
        "public_url": "https://review.example.org/queue/",
        "oidc_roles_claim": ("realm_access.roles", "email"),
        "oidc_roles": ROLES_BY_CLAIM,
    }
    cases: list[tuple[str, dict[str, object], UserRole | None]] = [
        ("nested", {"realm_access": {"roles": ["moderators"]}}, UserRole.REVIEWER),
        ("verified", {"email": "ann@example.org", "email_verified": True}, UserRole.ADMIN),
        ("unsaid", {"email": "ann@example.org"}, None),
        ("unverified", {"email": "ann@example.org", "email_verified": False}, None),
        ("flat", {"realm_access": "moderators"}, None),
    ]
    with open_app_in(tmp_path, roles={}, **configured) as (app, store):
        app.client.base_url = "https://review.example.org"  # cookies are for HTTPS only
        for name, claims, role in cases:
            idp.person = person(name, **claims)
            back = "https://review.example.org/queue/login/callback"
            brought = consent(app.client, idp, back=back)
            done = app.client.get("/login/callback", params=brought, follow_redirects=False)
            user = store.users.user(name)
            assert (user and user.role) == role, name
            if role:
                assert "Max-Age=1800" in done.headers["set-cookie"]
                session = store.sessions.listed(name)[0]
                start, end = map(datetime.fromisoformat, (session.created_at, session.expires_at))
                assert abs((end - start).total_seconds() - 1800) < 5


def test_a_client_may_send_its_secret_in_the_body(app: WebApp, idp: Provider) -> None:
    """Where the provider accepts no header; claims in the ID token spare the userinfo endpoint."""
    idp.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    idp.in_id_token = ("sub", "preferred_username", "groups")
    assert sign_in(app.client, idp).status_code == 303
    assert idp.requests["/oauth/userinfo"] == 0
