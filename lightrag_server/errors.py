"""Every error that this package raises on purpose.

LightRAGError
├── ConfigError            a setting is wrong: exit code 2 and one sentence, never served
├── InvalidInput           the caller's request cannot be carried out as it stands
│   ├── UnsupportedFile    no parser reads this kind of file
│   ├── UnreadableFile     a parser exists, this file defeats it (torn, encrypted, empty, bomb)
│   ├── TooLarge           a size limit is exceeded
│   └── BadQuery           a question that cannot be searched for
├── NotFound               no such document, entity, relation or workspace
├── Conflict               the name is taken or the state forbids it
├── Overloaded             try again after `retry_after_s`
├── ExtractionFailed       some chunks of a document could not be extracted; names them
├── ProviderError          a model vendor failed
│   ├── ProviderTimeout    no answer in time
│   ├── ProviderRejected   credentials, quota or request refused; trying again cannot help
│   ├── ProviderUnavailable down, overloaded, or the connection broke; may carry `retry_after_s`
│   │   └── ProviderThrottled  too many calls for it
│   └── BadReply           an answer came that cannot be used
├── StorageError           a backend failed
│   ├── StorageUnavailable down, locked or disk full; trying again may help
│   ├── StorageCorrupt     stored data cannot be read
│   └── DimensionMismatch  vectors of another length, or of another model, are stored
└── JobLost                the job was given to another worker; drop the work

Errors know no HTTP status: `api.errors` maps classes to it. `code` is stable for clients,
`retryable` tells the job runner whether the same call may succeed later.
"""

from __future__ import annotations


class LightRAGError(Exception):
    """Root of the tree. The message is one sentence that may be shown to a caller."""

    code = "error"
    retryable = False

    @property
    def message(self) -> str:
        return str(self)


class ConfigError(LightRAGError):
    code = "config_error"


class InvalidInput(LightRAGError):
    code = "invalid_input"


class UnsupportedFile(InvalidInput):
    code = "unsupported_file"


class UnreadableFile(InvalidInput):
    code = "unreadable_file"


class TooLarge(InvalidInput):
    code = "too_large"


class BadQuery(InvalidInput):
    code = "bad_query"


class NotFound(LightRAGError):
    code = "not_found"


class Conflict(LightRAGError):
    code = "conflict"


class RetryableError(LightRAGError):
    """Carries how long the other side asked us to wait, where it said so."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(RetryableError):
    code = "overloaded"


class ProviderError(RetryableError):
    code = "provider_error"


class ProviderTimeout(ProviderError):
    code = "provider_timeout"


class ProviderRejected(ProviderError):
    code = "provider_rejected"
    retryable = False


class ProviderUnavailable(ProviderError):
    code = "provider_unavailable"


class ProviderThrottled(ProviderUnavailable):
    pass


class BadReply(ProviderError):
    code = "provider_bad_reply"


class ExtractionFailed(RetryableError):
    """`failures` maps the index of each failed chunk to its error; retryable when any of those is."""

    code = "extraction_failed"

    def __init__(self, failures: dict[int, LightRAGError]) -> None:
        first = next(iter(failures.values()))
        waits = [e.retry_after_s for e in failures.values() if isinstance(e, RetryableError) and e.retry_after_s]
        super().__init__(
            f"{len(failures)} chunk(s) failed (first: {first})", retry_after_s=max(waits) if waits else None
        )
        self.failures = failures
        self.retryable = any(e.retryable for e in failures.values())


class StorageError(RetryableError):
    code = "storage_error"
    retryable = False


class StorageUnavailable(StorageError):
    code = "storage_unavailable"
    retryable = True


class StorageCorrupt(StorageError):
    code = "storage_corrupt"


class DimensionMismatch(StorageError):
    code = "dimension_mismatch"


class JobLost(LightRAGError):
    code = "job_lost"
