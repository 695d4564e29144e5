"""Requests and responses of the routes for entities that may be one."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lightrag_server.api.lightrag.graph_schemas import Name
from lightrag_server.api.lightrag.schemas import PaginationInfo

MAX_PAIRS = 200


class NamePair(BaseModel):
    a: Name
    b: Name


class MergePair(NamePair):
    into: Name | None = Field(None, description="Which of both names stays. Unset: that of what is told of most.")


class AcceptRequest(BaseModel):
    pairs: list[MergePair] = Field(min_length=1, max_length=MAX_PAIRS)


class RejectRequest(BaseModel):
    pairs: list[NamePair] = Field(min_length=1, max_length=MAX_PAIRS)


class PairResult(BaseModel):
    a: str
    b: str
    status: Literal["merged", "rejected", "not_found", "refused", "waiting"] = Field(
        description="refused: see the message; waiting: other work has to end first, it will be done."
    )
    into: str | None = Field(default=None, description="The name of what both are now.")
    message: str


class PairResults(BaseModel):
    results: list[PairResult] = Field(description="In the order of the request.")


class CandidateEntity(BaseModel):
    name: str
    type: str
    description: str = Field(description="Its beginning.")


class CandidateVerdict(BaseModel):
    same: bool
    why: str


class DuplicateCandidate(BaseModel):
    a: CandidateEntity
    b: CandidateEntity
    score: float = Field(description="From 0 to 1.")
    reasons: list[str]
    is_sure: bool = Field(description="By rule: with ENTITY_RESOLUTION=auto this is merged.")
    verdict: CandidateVerdict | None = Field(description="What the model said, where it was asked.")
    status: Literal["open", "accepted", "rejected"]
    into: str | None = Field(description="Of an accepted one: the name of what both are now.")
    decided_by: str | None = Field(description="person, rule or model.")
    decided_at: str | None


class DuplicatesPage(BaseModel):
    duplicates: list[DuplicateCandidate] = Field(description="The likeliest first.")
    pagination: PaginationInfo


class ScanStarted(BaseModel):
    status: Literal["scanning_started"] = "scanning_started"
    message: str


class AliasRow(BaseModel):
    name: str
    entity: str = Field(description="The entity that it stands for.")
    reason: str = Field(description="Why it was merged, where that was not by hand.")
    merged_at: str | None


class AliasesPage(BaseModel):
    aliases: list[AliasRow]
    pagination: PaginationInfo


class SplitResult(BaseModel):
    status: Literal["success"] = "success"
    message: str
    name: str = Field(description="What stands for itself again.")
    exists: bool = Field(description="Whether there is such an entity: some document may have told of it.")
