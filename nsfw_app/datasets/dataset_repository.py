"""A dataset repository of the Hugging Face Hub, to which a training set is uploaded.

- The upload is one commit, so readers of the repository find the whole set or the earlier one.
  `HfApi.upload_folder` makes several commits of a large directory; `create_commit` does not.
- Files of an earlier training set are deleted in the same commit; other files stay.
- The token is sent to the hub only: it is neither printed nor logged, and removed from messages.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError

from nsfw_app.dataset_errors import PublicRepository, PushError, PushForbidden
from nsfw_app.datasets.hub_errors import HubErrors
from nsfw_app.datasets.ignored_files import refuse_ignored
from nsfw_app.datasets.locations import redacted

DATASET = "dataset"
# What training sets of any format consist of; see `training_set_export`.
SET_FILES = ("train/*", "test/*", "data/*", "images/*", "labels.csv", "tasks.json", "labeling.xml")


@dataclass(frozen=True, slots=True)
class DatasetRepository:
    """A repository `ORG/NAME`, and the token with which it is written."""

    name: str
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """Its page."""
        return f"{redacted(huggingface_hub.constants.ENDPOINT)}/datasets/{self.name}"

    def prepare(self, directory: Path, *, public: bool = False) -> str | None:
        """Create it, private, if it does not exist; see that it takes the files of a directory.

        Args:
            directory: A training set that is written whole; nothing of its content is sent.
            public: Accept a repository that is public.

        Returns:
            Its latest commit, for `upload`.

        Raises:
            PublicRepository: It is public.
            FilesIgnored: Its `.gitignore` matches files of the directory.
            PushForbidden: The token may not write it, or there is no such organization.
            HubFailed: The hub cannot be reached or fails.
        """
        with HubErrors(self.name, self.token).translated():
            self._api.create_repo(self.name, repo_type=DATASET, private=True, exist_ok=True)
            info = self._api.repo_info(self.name, repo_type=DATASET)
        # Of a repository that was created just now, too: the hub may have other ideas.
        if not info.private and not public:
            raise PublicRepository(
                f"{self.name} is public: everyone could see the images. Nothing was uploaded. "
                "Make it private in its settings, choose another one, or allow it with --public."
            )
        with HubErrors(self.name, self.token).translated():
            refuse_ignored(self._api, self.name, _files(directory))
        return info.sha

    def upload(self, directory: Path, *, parent: str | None, message: str) -> str:
        """Replace the training set in the repository by that of a directory, in one commit.

        Args:
            directory: A training set that is written whole.
            parent: The commit that the upload follows, from `prepare`; another one since is an
                error.
            message: The commit message.

        Returns:
            The hash of the commit; that of the latest one if no file differs.

        Raises:
            PushForbidden: The token may not write it.
            HubFailed: The hub cannot be reached or fails. It has the whole set then, or none of it.
        """
        added = _files(directory)
        with HubErrors(self.name, self.token).translated():
            earlier = self._api.list_repo_files(self.name, repo_type=DATASET, revision=parent)
            commit = self._api.create_commit(
                self.name,
                repo_type=DATASET,
                operations=[
                    *(
                        huggingface_hub.CommitOperationDelete(name, is_folder=False)
                        for name in earlier
                        if name not in added and _of_a_set(name)
                    ),
                    *(
                        huggingface_hub.CommitOperationAdd(name, path)
                        for name, path in added.items()
                    ),
                ],
                commit_message=message,
                parent_commit=parent,
            )
        return commit.oid

    @property
    def _api(self) -> huggingface_hub.HfApi:
        return huggingface_hub.HfApi(token=self.token)


def _files(directory: Path) -> dict[str, Path]:
    """The files of a directory, by their path in the repository."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path for path in files}


def _of_a_set(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SET_FILES)


def open_repository(name: str) -> DatasetRepository:
    """The repository of a name, with the token that huggingface_hub finds; asks no hub.

    Raises:
        PushError: The name is not of the form ORG/NAME.
        PushForbidden: There is no token.
    """
    try:
        huggingface_hub.hf_hub_url(name, "README.md", repo_type=DATASET)
    except HFValidationError:
        valid = False
    else:
        valid = "/" in name
    if not valid:
        raise PushError(
            f"'{name}' is not a repository of the form ORG/NAME: letters, digits and . - _ only."
        )
    token = huggingface_hub.get_token()
    if not token:
        raise PushForbidden(
            f"There is no token for the hub. Set HF_TOKEN to one with write access to {name}, or "
            "sign in with `hf auth login`."
        )
    return DatasetRepository(name, token)
