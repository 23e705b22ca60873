"""Files that the `.gitignore` of a dataset repository keeps out of commits.

The hub names such files when a commit is prepared. huggingface_hub leaves their additions out of
the commit without an error, and deletions in the same commit are made all the same.
"""

from collections.abc import Iterable

import huggingface_hub

from nsfw_app.dataset_errors import FilesIgnored


def refuse_ignored(api: huggingface_hub.HfApi, name: str, paths: Iterable[str]) -> None:
    """Ask the hub about files before a commit adds them; nothing of their content is sent.

    Args:
        api: The client, which may write the repository.
        name: The repository, `ORG/NAME`.
        paths: Paths in it that the commit will add or replace.

    Raises:
        FilesIgnored: The `.gitignore` of the repository matches some of them.
    """
    # Without content: the client asks about large files, and uploads none.
    probes = [huggingface_hub.CommitOperationAdd(path, b"") for path in paths]
    api.preupload_lfs_files(name, probes, repo_type="dataset")
    ignored = [probe.path_in_repo for probe in probes if probe._should_ignore]
    if ignored:
        others = f" (and {len(ignored) - 1:,} more)" if len(ignored) > 1 else ""
        raise FilesIgnored(
            f"The .gitignore of {name} matches {ignored[0]}{others}, so that the hub would leave "
            "it out. Nothing was uploaded. Remove the lines that match from that .gitignore, or "
            "choose another repository."
        )
