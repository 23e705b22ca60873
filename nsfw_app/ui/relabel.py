"""The Relabel tab: settled misclassifications and their training labels."""

from nsfw_app.ui.components import Region, RelabelGrid


def create_relabel_tab() -> None:
    """A toolbar, and the grid whose script fetches the images."""
    Region("relabel-tools")
    RelabelGrid("relabel")
