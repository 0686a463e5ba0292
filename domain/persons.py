"""Names of people: what a name may be made of, and which two name the same person."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_LOOKALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"}
"""Scripts whose letters are taken for each other; a name in one of them is fine, a mix is not."""


def folded(name: str) -> str:
    """Return a name as names are compared: composed, without case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def same_person(one: str, other: str) -> bool:
    """Tell whether two names are those of one person; nobody named is nobody's equal."""
    return bool(folded(one)) and folded(one) == folded(other)


def name_limitation(name: str) -> str | None:
    """Return why a text cannot be the name of a person, or ``None``."""
    if not name.strip():
        return "say who you are in 'by'"
    hidden = invisible_in(name)
    if hidden:
        return f"the name holds an invisible character ({hidden})"
    scripts = {unicodedata.name(c, "").split(" ", 1)[0] for c in name if c.isalpha()} & _LOOKALIKE
    if len(scripts) > 1:
        return f"the name mixes letters that look alike ({', '.join(sorted(scripts)).lower()})"
    return None


def invisible_in(text: str) -> str:
    """Return the first invisible character of a text as its code, or an empty text."""
    return next((f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in _INVISIBLE), "")
