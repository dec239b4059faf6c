"""File names for phrases in any language."""

import hashlib
import re
import unicodedata

LONGEST = 60


def slug(phrase: str) -> str:
    """A file name (without suffix) of lower-case ASCII letters, digits and underscores, different for different phrases.

    A phrase that loses anything but spaces on the way carries eight digits of its hash.
    """
    plain = unicodedata.normalize("NFKD", phrase.lower()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST]
    if name.replace("_", " ") == phrase:
        return name
    return f"{name}-{hashlib.sha256(phrase.encode()).hexdigest()[:8]}".lstrip("-")
