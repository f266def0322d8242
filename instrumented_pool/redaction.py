"""Text that may leave the process: credentials taken out of URLs, DSNs and exceptions."""

import re

__all__ = ["describe_error", "redact"]

_PATTERNS = (
    # user:password@host in a URL; the password may itself contain '@' or '/'.
    (re.compile(r"(?P<keep>\b[a-z][a-z0-9+.\-]*://)[^\s\"'<>]*@", re.IGNORECASE), r"\g<keep>***@"),
    # password=… in a URL's query, in a libpq DSN (with its quotes) and in the repr of a dict or a call.
    (
        re.compile(
            r"(?P<keep>\b(?:password|passwd|passfile|pwd|pass|secret|token|api[_-]?key|auth)\b[\"']?\s*[=:]\s*)"
            r"(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s&,;)}\]]+)",
            re.IGNORECASE,
        ),
        r"\g<keep>***",
    ),
)


def redact(text: str) -> str:
    """Return `text` with the credentials of URLs (`scheme://***@host`) and key-value pairs (`password=***`) hidden."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def describe_error(error: BaseException) -> str:
    """Return `Type: text` of `error` on one line, redacted; `Type` alone where it has no text."""
    try:
        text = redact(" ".join(str(error).split()))
    except Exception as failure:  # a driver's __str__ may itself be broken
        text = f"<its text cannot be had: {type(failure).__name__}>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
