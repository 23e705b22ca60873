"""The private dataset repository that rows are saved in.

- It is created private where it is missing and the token permits that. A public one is refused.
- The token is sent to the hub only.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import huggingface_hub
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)

from nsfw_app.dataset_errors import HubConflict, HubFailed, PublicRepository
from nsfw_app.datasets.hub_errors import HubErrors
from nsfw_app.datasets.ignored_files import refuse_ignored

DATASET = "dataset"
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The paths of a repository at a commit; no commit in one that is empty."""

    commit: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository `org/name`, and the token with which it is read and written.

    Raises:
        PushForbidden: From each method: the token has no permission.
        HubFailed: From each method: the hub cannot be reached or fails.
    """

    name: str
    token: str = field(repr=False)

    def prepare(self) -> Snapshot:
        """Create it, private, if it does not exist; return what it has.

        Raises:
            PublicRepository: It is public.
        """
        with self._translated():
            # Asked first: a token may be allowed to write a repository and not to create one.
            if not self._api.repo_exists(self.name, repo_type=DATASET):
                self._api.create_repo(self.name, repo_type=DATASET, private=True, exist_ok=True)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """Its latest commit, and the paths in it.

        Raises:
            PublicRepository: It is public.
            HubConflict: The commit is gone, because the history was squashed since.
        """
        with self._translated():
            info = self._api.repo_info(self.name, repo_type=DATASET)
            if info.private:
                paths = self._listed(info.sha)
        if not info.private:
            raise PublicRepository(
                f"{self.name} is public: everyone could see decisions and names of images. Nothing "
                "is saved in it. Make it private in its settings, or set NSFW_HUB_DATASET to "
                "another one."
            )
        return Snapshot(info.sha or "", tuple(paths))

    def _listed(self, commit: str | None) -> list[str]:
        try:
            return self._api.list_repo_files(self.name, repo_type=DATASET, revision=commit)
        except RevisionNotFoundError as error:
            raise HubConflict(f"{self.name} was changed while it was listed. Try again.") from error

    def commit(
        self,
        message: str,
        *,
        added: tuple[str, bytes | Path] | None = None,
        deleted: Sequence[str] = (),
        parent: str | None = None,
    ) -> None:
        """Make one commit.

        Args:
            message: The commit message.
            added: Path and content of the file that it adds or replaces.
            deleted: Paths of files that it deletes.
            parent: The commit that it follows; None for any.

        Raises:
            FilesIgnored: The `.gitignore` matches the file that it adds. Nothing was changed.
            HubConflict: Another commit followed the parent. Nothing was changed.
        """
        operations: list[
            huggingface_hub.CommitOperationAdd | huggingface_hub.CommitOperationDelete
        ] = [huggingface_hub.CommitOperationDelete(path, is_folder=False) for path in deleted]
        if added is not None:
            operations.append(huggingface_hub.CommitOperationAdd(*added))
        with self._translated():
            if added is not None:
                refuse_ignored(self._api, self.name, [added[0]])
            self._api.create_commit(
                self.name,
                repo_type=DATASET,
                operations=operations,
                commit_message=message,
                parent_commit=parent,
                num_threads=1,
            )

    @contextmanager
    def downloaded(self, path: str, commit: str) -> Iterator[Path]:
        """A file of a commit, in a temporary directory until the block ends.

        Raises:
            HubConflict: The commit is gone, because the history was squashed since.
        """
        with TemporaryDirectory(prefix="nsfw-review-hub-") as directory:
            with self._translated():
                found = self._download(path, commit, directory)
            yield Path(found)

    def _download(self, path: str, commit: str, directory: str) -> str:
        try:
            return self._api.hf_hub_download(
                self.name, path, repo_type=DATASET, revision=commit, local_dir=directory
            )
        except LocalEntryNotFoundError as error:
            raise HubFailed(
                f"The hub cannot be reached, or failed, while {path} was downloaded."
            ) from error
        except (EntryNotFoundError, RevisionNotFoundError) as error:
            raise HubConflict(
                f"{self.name} was changed while {path} was downloaded. Try again."
            ) from error

    def text(self, path: str, snapshot: Snapshot) -> str:
        """A small file; empty where it is missing."""
        if path not in snapshot.paths:
            return ""
        with self.downloaded(path, snapshot.commit) as file:
            return file.read_text(encoding="utf-8")

    def squash(self) -> None:
        """Replace all commits by one with the files as they are: deleted content is gone."""
        with self._translated():
            self._api.super_squash_history(self.name, repo_type=DATASET)

    @property
    def _api(self) -> huggingface_hub.HfApi:
        return huggingface_hub.HfApi(token=self.token)

    def _translated(self) -> AbstractContextManager[None]:
        return HubErrors(self.name, self.token).translated()
