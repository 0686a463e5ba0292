"""Text of others made harmless before it is quoted: nothing moves a terminal, opens markup or is a secret."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 2000
"""Characters of a quotation; more of it is evidence that nobody reads and a blob that no server takes."""

_TAIL = 60
_READ = 2 * LONGEST
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MARKDOWN = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")
_LINE_START = re.compile(r"^(\d+(?=[.)])|)([#+=-]|(?<=\d)[.)](?=\s|$))")
_WEB = re.compile(r"(?i)\b(https?|ftp)://|\bwww\.")

HIDDEN = "***"
# "passed: 9 of 10" is no password.
_WORD = (
    r"(?:pass(?!(?:ed|es|ing)\b)(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization|requirepass"
    r"|(?:api|access|master|private|service|secret|jwt|signing|encryption)[_-]?key)"
)
# What is spelled like a secret is one. Over-eager on purpose: a lost word costs less than a told one.
_SECRETS = (
    # The password of an address; it may hold anything but blanks, also further signs of its own syntax.
    (re.compile(r"(://[^\s:/@]*:)[^\s]+@"), rf"\g<1>{HIDDEN}@"),
    # An option or a header; within a path it is a file's name: /etc/dr/s3-secret.
    (re.compile(rf"(?i)((?<![\w/.-])\w*--?[\w-]*{_WORD}[\w-]*[ =])[^\s]+"), rf"\g<1>{HIDDEN}"),
    (
        re.compile(
            rf"(?i)(\b[\w.-]*{_WORD}[\w.-]*\\?[\"']?\s*(?:=|:(?=\S)|:\s+(?=\\?[\"']|\S*\d))\s*)"
            r"(?!container:|env:|file:)(\\?\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^\s,;&\"']+)"
        ),
        rf"\g<1>{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*\d)[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1> {HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,2}"), HIDDEN),
)


def without_secrets(text: str) -> str:
    """Return a text with everything replaced that is spelled like a secret: addresses, settings, tokens."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def visible(text: str, more: str = "more characters") -> str:
    """Return a text on one line with every invisible character spelled out, at most 2000 characters.

    Direction marks and other invisible characters can make a line read differently from what it says.
    """
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return text
    # Never more is spelled out than can be shown: the text may have many megabytes.
    shown = "".join(_spelled(c) for c in text[:LONGEST])
    if len(text) <= LONGEST and len(shown) <= LONGEST:
        return shown
    kept = LONGEST - _TAIL
    return f"{shown[:kept]} … ({max(len(text) - kept, len(shown) - kept)} {more})"


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    if character in "\n\t":
        return " "
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 - the last of Latin-1
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - the basic plane


def quoted(text: str) -> str:
    """Return what somebody else said so that it may stand in a sentence of ours; twice is as once."""
    if len(text) <= _READ:
        return visible(without_secrets(text))
    # The patterns must not work through many megabytes, and nothing behind this is shown.
    shown = "".join(_spelled(c) for c in without_secrets(text[:_READ])[:LONGEST])
    return f"{shown[: LONGEST - _TAIL]} … ({len(text) - LONGEST + _TAIL} more characters)"


Quoted = Annotated[str, AfterValidator(quoted)]
"""A sentence that may quote a log line, a row or a file name."""


def markdown(text: str) -> str:
    """Return Markdown that renders as the plain text it is, on one line, with nothing to follow or fetch."""
    text = " ".join(visible(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKDOWN.sub(r"\\\1", text)
    # A bare address would become a link; an entity renders as the sign that it stands for.
    text = _WEB.sub(lambda found: found[0].replace(":", "&#58;").replace("www.", "www&#46;"), text)
    return _LINE_START.sub(lambda found: f"{found[1]}\\{found[2]}", text)
