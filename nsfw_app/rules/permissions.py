"""Roles of users, scopes of API keys, and the caller of a request.

- Permissions are denied by default.
- Uploads of callers without `owner` are not stored.
- Which images a caller may see is decided in `nsfw_app/store/visibility.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from nsfw_app.errors import Forbidden, NotSignedIn
from nsfw_app.records import Retain


class Permission(StrEnum):
    """One thing that a caller may do. Those in `KEY_SCOPES` are also scopes of API keys."""

    PAGE = "page"  # open the page and classify single images on it
    CLASSIFY = "classify"  # classify any number of images
    READ = "read"  # read the log, the statistics and the model tab
    REVIEW = "review"  # record decisions, claim from the queue, confirm training labels
    QUEUE = "queue"  # put images into the queue and read their state
    EXPORT = "export"  # export the correction log and training labels
    METRICS = "metrics"  # read the server's metrics
    MANAGE = "manage"  # change the policy, see every image


class UserRole(StrEnum):
    """Role of a user; each role includes the previous role's permissions."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"


KEY_SCOPES = (Permission.CLASSIFY, Permission.QUEUE, Permission.EXPORT, Permission.METRICS)

_VIEWER = frozenset({Permission.PAGE, Permission.CLASSIFY, Permission.READ})
PERMISSIONS: Mapping[UserRole, frozenset[Permission]] = MappingProxyType(
    {
        UserRole.VIEWER: _VIEWER,
        UserRole.REVIEWER: _VIEWER | {Permission.REVIEW, Permission.QUEUE, Permission.EXPORT},
        UserRole.ADMIN: frozenset(Permission),
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request, with its permissions.

    - `name` is recorded with decisions and in the audit.
    - `owner` is what uploads are stored under. None: uploads are not stored.
    - `key_name` is the name of the API key, where one was sent.
    - `abstains` is whether this administrator said that they do not review.
    """

    name: str
    owner: str | None
    permissions: frozenset[Permission]
    key_name: str | None = None
    abstains: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether the caller has a permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Check that the caller has a permission.

        Raises:
            NotSignedIn: The permission is missing, and the request is not authenticated.
            Forbidden: The permission is missing.
        """
        if self.may(permission):
            return
        if self.owner is None:
            raise NotSignedIn("Sign in, or send an API key as 'Authorization: Bearer KEY'.")
        if self.abstains and permission is Permission.REVIEW:
            raise Forbidden(f"{self.name} does not review. Say in the Log tab that you do.")
        raise Forbidden(f"{self.name} lacks the permission '{permission}' that this needs.")


def abstaining(caller: Caller) -> Caller:
    """An administrator who does not review: the same caller without that permission."""
    return replace(caller, permissions=caller.permissions - {Permission.REVIEW}, abstains=True)


def retain_upload(caller: Caller) -> Retain:
    """What is stored of an image that a caller classifies on the page or with its endpoints."""
    if caller.owner is None:
        return Retain.NOTHING
    if not caller.may(Permission.PAGE):
        return Retain.SCORE  # an API key cannot view previews
    return Retain.QUEUE if caller.may(Permission.QUEUE) else Retain.PREVIEW


def retain_submission(caller: Caller) -> Retain:
    """What is stored of an image that a caller submits through the REST API for human review."""
    if caller.owner is None or not caller.may(Permission.QUEUE):
        return Retain.SCORE
    return Retain.SUBMISSION


LOCAL_OWNER = "local"
ANONYMOUS = Caller("anonymous", None, frozenset())
DEMO = Caller("anonymous", None, frozenset({Permission.PAGE}))


def local_caller(name: str) -> Caller:
    """The local caller of an installation without users: has all permissions."""
    return Caller(name, LOCAL_OWNER, PERMISSIONS[UserRole.ADMIN])


def user_caller(name: str, role: UserRole, *, owner: str | None = None) -> Caller:
    """A user; `owner` is what their uploads are stored under, by default of this installation."""
    return Caller(name, owner or f"user:{name}", PERMISSIONS[role])


def key_caller(name: str, scopes: frozenset[Permission]) -> Caller:
    """A program with an API key, whose scopes are its permissions."""
    return Caller(f"key {name}", f"key:{name}", scopes, name)
