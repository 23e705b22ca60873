"""Serves the page: `python app.py`, and what a Space runs."""

from nsfw_app.server import main

if __name__ == "__main__":
    main()
