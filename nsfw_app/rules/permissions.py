"""Who may do what: the roles of people, the scopes of API keys, and the caller behind a request.

What always holds: a permission that nobody granted is not there, and a caller without an owner
keeps nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from nsfw_app.errors import Forbidden, NotSignedIn
from nsfw_app.records import Retain


class Permission(StrEnum):
    """One thing that a caller may do. Four of them are also the scopes of API keys."""

    PAGE = "page"  # open the page, and have an image judged on it
    CLASSIFY = "classify"  # have any number of images judged
    READ = "read"  # the log, the statistics and the model's facts
    REVIEW = "review"  # answer, work off the queue, confirm training labels
    QUEUE = "queue"  # put images into the queue, and ask what became of them
    EXPORT = "export"  # take the correction log and training labels out
    METRICS = "metrics"  # the server's own counters
    MANAGE = "manage"  # change the policy, see every image


class UserRole(StrEnum):
    """What a person is here; each can do all that the one before can."""

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
    """Whoever a request comes from.

    `name` stands on answers and in the audit. `owner` is what uploads are kept under; without one
    nothing is kept. `key_name` is that of the API key that was sent, if one was.
    """

    name: str
    owner: str | None
    permissions: frozenset[Permission]
    key_name: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether this was granted."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Stop whoever was not granted this.

        Raises:
            NotSignedIn: Nobody has signed in.
            Forbidden: Whoever has may do other things only.
        """
        if self.may(permission):
            return
        if self.owner is None:
            raise NotSignedIn("Sign in, or send an API key as 'Authorization: Bearer KEY'.")
        raise Forbidden(f"{self.name} lacks the permission '{permission}' that this needs.")


def retain_upload(caller: Caller) -> Retain:
    """What is kept of an image that a caller classifies on the page or with its endpoints."""
    if caller.owner is None:
        return Retain.NOTHING
    if not caller.may(Permission.PAGE):
        return Retain.SCORE  # an API key cannot view previews
    return Retain.QUEUE if caller.may(Permission.QUEUE) else Retain.PREVIEW


def retain_submission(caller: Caller) -> Retain:
    """What is kept of an image that a caller submits through the REST API for human review."""
    if caller.owner is None or not caller.may(Permission.QUEUE):
        return Retain.SCORE
    return Retain.SUBMISSION


LOCAL_OWNER = "local"
ANONYMOUS = Caller("anonymous", None, frozenset())
DEMO = Caller("anonymous", None, frozenset({Permission.PAGE}))


def local_caller(name: str) -> Caller:
    """Whoever sits at this machine, where nobody has to sign in: may do everything."""
    return Caller(name, LOCAL_OWNER, PERMISSIONS[UserRole.ADMIN])


def user_caller(name: str, role: UserRole) -> Caller:
    """A person with an account of this installation."""
    return Caller(name, f"user:{name}", PERMISSIONS[role])


def hub_caller(name: str, role: UserRole) -> Caller:
    """A person with an account of Hugging Face."""
    return Caller(name, f"hf:{name}", PERMISSIONS[role])


def key_caller(name: str, scopes: frozenset[Permission]) -> Caller:
    """A program with an API key."""
    return Caller(f"key {name}", f"key:{name}", scopes, name)
