"""What is secret in a URL, and texts of others without it: drivers and file systems repeat what they were given."""

import re
from urllib.parse import unquote, urlsplit

LONGEST = 300
"""Characters of another's message that are told."""
_FRAMES = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+")
_PAGES = ("\n\nQuery was:", "JVM stacktrace")
"""What begins that nobody needs to read: of PostgreSQL's driver, and of Spark's client."""


def secrets_of(url: str) -> list[str]:
    """Return the words of a URL that nobody else may read, the longest first."""
    place, *parameters = url.split(";")  # those of Spark Connect
    parts = urlsplit(place)
    pairs = [*parts.query.split("&"), *parameters]
    # One without a value may be a secret whose name was forgotten.
    values = [pair.partition("=")[2] or pair for pair in pairs]
    words = [parts.password or "", *values]
    return sorted({word for given in words for word in (given, unquote(given)) if word}, key=len, reverse=True)


def without_secrets(said: object, *urls: str | None) -> str:
    """Return the message of another as a line, without what is secret in these URLs."""
    line = _FRAMES.sub("", str(said))
    for page in _PAGES:
        line = line.partition(page)[0]
    for secret in (word for url in urls if url for word in secrets_of(url)):
        # As a word: a password of one letter is in most words.
        line = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", line)
    return " ".join(line.split())[:LONGEST]
