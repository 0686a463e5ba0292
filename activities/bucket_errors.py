"""What the far store's refusals mean to a person."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError

from domain.errors import DrError, Refused, Unavailable

_DENIED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}
_NOT_OFFERED = {
    "InvalidStorageClass",
    "InvalidEncryptionAlgorithmError",
    "NotImplemented",
    "501",
    "InvalidBucketState",
    "ServerSideEncryptionConfigurationNotFoundError",
}
_AGAIN = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
_ELSEWHERE = {"NoSuchBucket", "PermanentRedirect", "301", "IllegalLocationConstraintException"}
_KEYS = "check the references under offsite in stack.yaml, and what their owner may do"
_PLACE = "make it, or correct bucket and region under offsite in stack.yaml"
_OTHERS = "outside AWS most stores want storage_class: STANDARD and sse: none (docs/offsite.md)"
_UNTRUSTED = re.compile(r"certificate verify failed: ([^(]+)")
_LONGEST = 200
_SERVER = 500
_TOO_MANY = 429


def code_of(error: ClientError) -> str:
    """Return the store's own code of a refusal; a HEAD has a status alone."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """Turn what the far store or the way to it says into ``Refused`` or ``Unavailable``."""
    try:
        yield
    except ClientError as error:
        raise _meant(error, where) from None
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise Unavailable(
            f"the far store does not answer: {type(error).__name__}{_certificate(error)}",
            where=where,
            hint=f"{_look_at(error)}; what was sent stays there, and the next attempt goes on behind it",
            code="offsite-unavailable",
        ) from None


def _certificate(error: Exception) -> str:
    """Return what is wrong with the store's certificate, in the words of the TLS library."""
    found = _UNTRUSTED.search(str(error)) if isinstance(error, SSLError | ssl.SSLError) else None
    return f", {found[1].strip().rstrip('.')[:_LONGEST]}" if found else ""


def _look_at(error: Exception) -> str:
    if isinstance(error, SSLError | ssl.SSLError):
        return "check that it speaks TLS, and that its certificate is in date and known here (AWS_CA_BUNDLE)"
    return "check endpoint under offsite in stack.yaml, and the way there"


def _meant(error: ClientError, where: str) -> DrError:
    code, status = code_of(error), _status(error)
    said = str(error.response.get("Error", {}).get("Message", "")) or f"status {status}"
    busy = code in _AGAIN or status == _TOO_MANY or "throttl" in code.lower()
    if not busy and (code in _NOT_OFFERED or "kms" in f"{code} {said}".lower()):
        meaning = (f"does not offer this: {code}: {said}", _OTHERS, "offsite-not-offered")
    elif busy or status >= _SERVER:
        return Unavailable(f"the far store is busy or ill: {code}", where=where, code="offsite-unavailable")
    elif code in _DENIED:
        meaning = (f"does not let us in: {code}", _KEYS, "offsite-denied")
    elif code in _CLOCK:
        meaning = (f"finds our clock wrong: {code}", "set this host's clock", "offsite-clock")
    elif code in _ELSEWHERE:
        meaning = (f"has no such bucket in this region: {code}", _PLACE, "offsite-bucket-missing")
    else:
        meaning = (f"refuses: {code}: {said}", "", "offsite-refused")
    what, hint, ours = meaning
    return Refused(f"the far store {what}", where=where, hint=hint, code=ours)
