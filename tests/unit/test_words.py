"""Texts and names use the terms of docs/glossary.md, in American English."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTORIES = ("nsfw_app", "tests", "docs", "benchmarks")
SUFFIXES = {".py", ".js", ".css", ".html", ".md", ".sh", ".toml", ".txt", ".json", ".yaml"}
# Not ours: licenses of others, and installed packages.
EXCLUDED = {"LICENSES.md", "vendor", ".venv", "node_modules", "__pycache__", Path(__file__).name}

# Words that a practitioner would not search for, with the ones to use.
REPLACEMENTS = {
    r"whoever|nobody|somebody": "the role: caller, user, reviewer, client",
    r"whatever": "any, every, or the noun",
    r"told": "receives, is notified, reports",
    r"lent|lends?|lending|loans?": "lease, claim",
    r"on the desk|stands? for|at hand|turned away|in words": "the term for it",
    r"beside": "next to, in addition to, concurrently",
    r"begun": "started",
    r"anew": "again, recompute",
    r"meanwhile": "concurrently, during it",
    r"former": "previous, earlier",
    r"tells?": "reports, shows, sends",
    r"sealed": "restricted",
    r"rivals?": "competing, by other backends",
    r"mirages?": "differs on black",
    r"grounds?": "background",
    r"pictures?": "image, preview",
    r"glances?": "downscale rule",
    r"misfits?": "incompatibility",
    r"artefacts?": "artifact",
    r"greys?": "gray",
    r"colours?": "color",
    r"behaviours?": "behavior",
    r"judgements?": "judgment, verdict",
    r"licences?": "license",
    r"catalogues?": "catalog",
    r"organisations?": "organization",
    r"(?:optimi|recogni|normali|initiali|authori|summari)s(?:e|es|ed|ing|ation)": "-ize",
}
# Names in files and databases that exist already, which stay as they are.
PUBLIC = re.compile(
    r"[\"`](?:artefact|glances)[\"`]|artefact\.json|\borganisations\b"
    r"|[\"'`/(]pictures?\b|\bpicture=|\brivals\b|outcomes_rivals"
    r"|[\"`]ground[\"`]|\bcolumn ground\b|\bground: String|\[ground\]|\bimage\.ground\b"
    r"|\.tell\b|\bdef tell\b"  # of files
    r"|Anime Picture"  # a label of models
)
PATTERN = re.compile(
    rf"(?<![a-z])(?:{'|'.join(REPLACEMENTS)})(?![a-z])",
    re.IGNORECASE,
)


def paths() -> Iterator[Path]:
    """Every text file of the repository that is ours."""
    yield from (path for path in ROOT.iterdir() if path.suffix in SUFFIXES)
    for directory in DIRECTORIES:
        for path in sorted((ROOT / directory).rglob("*")):
            if path.suffix in SUFFIXES and not EXCLUDED & set(path.relative_to(ROOT).parts):
                yield path


def faults(text: str) -> list[str]:
    """The words in a text that have a better one, each with its line number."""
    return [
        f"{number}: {match[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in PATTERN.finditer(PUBLIC.sub("", line))
    ]


def test_every_text_uses_the_terms_of_the_glossary() -> None:
    """Code, tests, page and docs contain none of the words of `REPLACEMENTS`."""
    texts = {path: path.read_text(encoding="utf-8") for path in paths()}
    assert len(texts) > 200
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path, text in texts.items()
        for fault in faults(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Whoever asks is told.", ["1: Whoever", "1: told"]),
        ("def is_begun():\n    grey = 1", ["1: begun", "2: grey"]),
        ("unfolded, lender_of, greyscale, besides", []),
        ("Reads artefact.json of an artefact.", ["1: artefact"]),
        ('The key "glances" holds glances.', ["1: glances"]),
        ("The background; a ground.", ["1: ground"]),
        ("/desk/pictures of a picture", ["1: picture"]),
    ],
)
def test_words_are_found_in_sentences_and_names(text: str, words: list[str]) -> None:
    """Words are found in any case, between underscores too, and not within other words."""
    assert faults(text) == words
