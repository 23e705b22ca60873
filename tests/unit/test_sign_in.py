"""Settings of sign-in: what belongs together, what is refused, and Hugging Face's preset."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from nsfw_app.errors import SettingsError
from nsfw_app.rules.identities import mapped_role
from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings import load
from nsfw_app.settings.sign_in import is_secure_url

SetAll = Callable[[dict[str, str]], None]
OIDC = {
    "NSFW_OIDC_ISSUER": "https://login.example.org/realms/main",
    "NSFW_OIDC_CLIENT_ID": "review",
    "NSFW_OIDC_ROLES": "moderators=reviewer, ts-leads=admin",
}
HEADER = {
    "NSFW_AUTH_HEADER": "X-Forwarded-User",
    "NSFW_AUTH_HEADER_FROM": "127.0.0.1, 10.0.0.0/8",
    "NSFW_AUTH_ROLES": "ann=admin",
}


@pytest.fixture
def set_all(monkeypatch: pytest.MonkeyPatch) -> SetAll:
    """Sets environment variables."""

    def set_all(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_a_provider_is_issuer_client_and_roles(set_all: SetAll) -> None:
    """The rest has defaults; spaces in the list of roles do not count."""
    assert load().openid is None
    assert not load().single_sign_on
    set_all(OIDC)
    found = load()
    assert found.openid is not None
    assert found.single_sign_on
    assert found.roles_by_group == {"moderators": UserRole.REVIEWER, "ts-leads": UserRole.ADMIN}
    assert (found.openid.label, found.openid.client_secret) == ("login.example.org", "")
    assert found.openid.scopes == ("openid", "profile")
    assert (found.openid.name_claim, found.openid.roles_claims) == (
        "preferred_username",
        ("groups",),
    )
    assert found.openid.session == timedelta(hours=12)
    set_all(
        {
            "NSFW_OIDC_SCOPES": "openid email,groups",
            "NSFW_OIDC_CLIENT_SECRET": "hidden",
            "NSFW_OIDC_NAME_CLAIM": "email",
            "NSFW_OIDC_ROLES_CLAIM": "realm_access.roles, email",
            "NSFW_OIDC_SESSION_HOURS": "0.5",
            "NSFW_PUBLIC_URL": "https://example.org/review/",
        }
    )
    found = load()
    assert found.openid is not None
    assert found.openid.scopes == ("openid", "email", "groups")
    assert found.openid.roles_claims == ("realm_access.roles", "email")
    assert found.openid.session == timedelta(minutes=30)
    assert found.public_url == "https://example.org/review"
    assert "hidden" not in repr(found)


def test_hugging_face_is_a_preset(set_all: SetAll) -> None:
    """On a Space with its variables; an issuer of one's own takes precedence."""
    space = {
        "SPACE_ID": "me/review",
        "OAUTH_CLIENT_ID": "id",
        "OAUTH_CLIENT_SECRET": "secret",
        "NSFW_HUB_ROLES": "ann=admin",
    }
    set_all(space)
    found = load().openid
    assert found is not None
    assert (found.issuer, found.label) == ("https://huggingface.co", "Hugging Face")
    assert found.roles_claims == ("preferred_username", "orgs")
    assert load().roles_by_group == {"ann": UserRole.ADMIN}
    set_all(OIDC)
    other = load().openid
    assert other is not None
    assert other.issuer == OIDC["NSFW_OIDC_ISSUER"]


def test_a_proxy_is_header_address_and_roles(set_all: SetAll) -> None:
    """Header names are not case-sensitive."""
    set_all(HEADER)
    found = load()
    assert (found.auth_header, found.auth_header_from) == (
        "x-forwarded-user",
        ("127.0.0.1", "10.0.0.0/8"),
    )
    assert found.single_sign_on
    assert found.roles_by_group == {"ann": UserRole.ADMIN}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**OIDC, "NSFW_OIDC_ROLES": ""}, "NSFW_OIDC_ROLES is not set"),
        ({"NSFW_OIDC_ROLES": "a=admin"}, "NSFW_OIDC_ISSUER, NSFW_OIDC_CLIENT_ID is not set"),
        ({**OIDC, "NSFW_OIDC_ISSUER": "http://login.example.org"}, "not an https:// URL"),
        ({**OIDC, "NSFW_OIDC_ISSUER": "login.example.org"}, "not an https:// URL"),
        ({**OIDC, "NSFW_OIDC_ROLES": "a=king"}, "viewer"),
        ({**OIDC, "NSFW_OIDC_ROLES": "a"}, "viewer"),
        ({**OIDC, "NSFW_OIDC_ROLES": "a=admin,a=viewer"}, "a has more than one role"),
        ({**OIDC, "NSFW_OIDC_SCOPES": "profile"}, "'openid' is not among the scopes"),
        ({**OIDC, "NSFW_OIDC_SESSION_HOURS": "0"}, "greater than 0"),
        ({**OIDC, "NSFW_OIDC_SESSION_HOURS": "721"}, "less than or equal to 720"),
        ({**OIDC, **HEADER}, "exclude each other"),
        ({**HEADER, "NSFW_AUTH_HEADER_FROM": ""}, "NSFW_AUTH_HEADER_FROM is not set"),
        ({**HEADER, "NSFW_AUTH_HEADER_FROM": "*"}, "Every peer could sign in as anyone"),
        ({**HEADER, "NSFW_AUTH_HEADER_FROM": "0.0.0.0/0"}, "Every peer could sign in as anyone"),
        ({**HEADER, "NSFW_AUTH_HEADER_FROM": "::1,::/0"}, "Every peer could sign in as anyone"),
        ({**HEADER, "NSFW_AUTH_HEADER_FROM": "proxy.test"}, "proxy.test"),
        ({**HEADER, "NSFW_AUTH_HEADER": "Authorization"}, "no header that can name a user"),
        ({**HEADER, "NSFW_AUTH_HEADER": "a b"}, "no header that can name a user"),
        ({**HEADER, "NSFW_AUTH_GROUPS_HEADER": "x-forwarded-user"}, "the same header"),
        ({"NSFW_AUTH_GROUPS_HEADER": "x-groups"}, "needs NSFW_AUTH_HEADER"),
        ({"NSFW_PUBLIC_URL": "example.org"}, "not a URL of the form"),
        ({"NSFW_PUBLIC_URL": "https://example.org/a?b"}, "not a URL of the form"),
        ({"NSFW_PUBLIC_URL": "https://example.org:port"}, "not a URL of the form"),
    ],
)
def test_what_cannot_work_stops_the_start(
    set_all: SetAll, variables: dict[str, str], message: str
) -> None:
    """The error names the setting and what is wrong with it."""
    set_all(variables)
    with pytest.raises(SettingsError) as caught:
        load()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://login.example.org", True),
        ("http://127.0.0.1:9000", True),
        ("http://localhost/x", True),
        ("http://[::1]:9000", True),
        ("http://login.example.org", False),
        ("http://127.0.0.1@login.example.org", False),
        ("https://", False),
        ("ftp://login.example.org", False),
        ("https://[", False),
    ],
)
def test_addresses_of_providers_are_encrypted_or_local(url: str, secure: bool) -> None:
    """Plain HTTP is allowed on the loopback interface only."""
    assert is_secure_url(url) is secure


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ((), None),
        (("staff",), None),
        (("Moderators",), UserRole.REVIEWER),
        (("moderators", "ts-leads", "readers"), UserRole.ADMIN),
    ],
)
def test_the_highest_role_counts(groups: tuple[str, ...], role: UserRole | None) -> None:
    """Of all groups that have one, ignoring case."""
    roles = {
        "readers": UserRole.VIEWER,
        "moderators": UserRole.REVIEWER,
        "TS-leads": UserRole.ADMIN,
    }
    assert mapped_role(groups, roles) is role
