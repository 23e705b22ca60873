"""Entry point of `python -m nsfw_app`."""

from nsfw_app.cli import main

main()
