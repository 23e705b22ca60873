"""Entry point of `python app.py` and of a Hugging Face Space."""

from nsfw_app.server import main

if __name__ == "__main__":
    main()
