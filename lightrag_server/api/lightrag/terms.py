"""What a request may say of the documents that it brings: as fields of JSON, and as fields of a form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Form, Query
from pydantic import AfterValidator, BaseModel, Field

from lightrag_server.core.attributes import checked_attributes, checked_tags
from lightrag_server.core.records import Profile
from lightrag_server.engine.incoming import OnConflict, Terms
from lightrag_server.errors import InvalidInput

T = TypeVar("T")
V = TypeVar("V")

METADATA = "Names with texts, numbers, true, false, null, or lists of these. Questions can be limited by them."
TAGS = "Words that documents can be found by."
PROFILE = "How deep to index: full (language model), light (text analysis), vector (text only). Unset: as configured."
ON_CONFLICT = "What becomes of a document whose name is known: it stays, is replaced, or the request is refused (409)."


def _checked(check: Callable[[V], T]) -> Callable[[V], T]:
    """For pydantic, which knows `ValueError` only."""

    def checked(value: V) -> T:
        try:
            return check(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from error

    return checked


Attributes = Annotated[dict[str, Any], AfterValidator(_checked(checked_attributes))]
Tags = Annotated[list[str], AfterValidator(_checked(lambda tags: list(checked_tags(tags))))]


class TermsFields(BaseModel):
    """Fields of requests that bring documents."""

    metadata: Attributes | None = Field(None, description=METADATA, examples=[{"year": 2026, "team": "finance"}])
    tags: Tags | None = Field(None, description=TAGS, examples=[["report", "draft"]])
    profile: Profile | None = Field(None, description=PROFILE)

    def terms(self, on_conflict: OnConflict = "skip") -> Terms:
        return Terms(self.metadata, None if self.tags is None else tuple(self.tags), self.profile, on_conflict)


class InsertTermsFields(TermsFields):
    on_conflict: OnConflict = Field("skip", description=ON_CONFLICT)


def _form_terms(
    metadata: Annotated[str | None, Form(description=f"A JSON object. {METADATA}")] = None,
    tags: Annotated[list[str] | None, Form(description=f"{TAGS} Repeated, or with commas between.")] = None,
    profile: Annotated[Profile | None, Form(description=PROFILE)] = None,
) -> Terms:
    return Terms(
        attributes=_attributes(metadata) if metadata else None,
        tags=checked_tags(tag for part in tags for tag in part.split(",")) if tags else None,
        profile=profile,
    )


def _attributes(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("metadata must be a JSON object") from error
    return checked_attributes(value)


FormTerms = Annotated[Terms, Depends(_form_terms)]


def _upload_terms(
    terms: FormTerms,
    on_conflict: Annotated[OnConflict | None, Form(description=ON_CONFLICT)] = None,
    on_conflict_of_query: Annotated[OnConflict | None, Query(alias="on_conflict", description=ON_CONFLICT)] = None,
) -> Terms:
    return Terms(terms.attributes, terms.tags, terms.profile, on_conflict or on_conflict_of_query or "skip")


UploadTerms = Annotated[Terms, Depends(_upload_terms)]
