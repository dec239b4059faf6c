"""File names for phrases in any language."""

import hashlib
import re
import unicodedata

LONGEST = 60
RESERVED = {"classes"}  # the picture of all classes is stored beside those of the phrases


def slug(phrase: str) -> str:
    """A file name (without suffix) of lower-case ASCII letters, digits and underscores, different for different phrases.

    Eight hex digits of the phrase's hash are appended if more than spaces was changed, or the name is reserved.
    """
    plain = unicodedata.normalize("NFKD", phrase.lower()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST]
    if name.replace("_", " ") == phrase and name not in RESERVED:
        return name
    return f"{name}-{hashlib.sha256(phrase.encode()).hexdigest()[:8]}".lstrip("-")
