"""Entities that may be one: look at the candidates, decide, and take merges back. Beyond LightRAG."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.edits import applied, finished
from lightrag_server.api.jobs import StillWaiting
from lightrag_server.api.lightrag.duplicates_schemas import (
    AcceptRequest,
    AliasesPage,
    AliasRow,
    CandidateEntity,
    CandidateVerdict,
    DuplicateCandidate,
    DuplicatesPage,
    MergePair,
    NamePair,
    PairResult,
    PairResults,
    RejectRequest,
    ScanStarted,
    SplitResult,
)
from lightrag_server.api.lightrag.graph import PageNumber, PageSize
from lightrag_server.api.lightrag.schemas import PaginationInfo
from lightrag_server.core.edits import SplitEntity
from lightrag_server.core.resolution import Candidate, Status
from lightrag_server.engine.duplicates import PERSON, Groups, Wanted, merge_of
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import Conflict, InvalidInput, LightRAGError, NotFound

router = APIRouter(tags=["graph"], route_class=GuardedRoute)

ACCEPTED_REASON = "accepted by a person"
CHANGING: dict[int | str, dict[str, Any]] = {400: {}, 404: {}, 409: {}, 503: {}}

Submitted = tuple[str, int, Candidate, str]
"""Id of the edit, of its job, what is merged, and into which name."""


@router.get("/graph/duplicates")
async def duplicates(
    workspace: ChosenWorkspace,
    page: PageNumber = 1,
    page_size: PageSize = 50,
    min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
    type: Annotated[str | None, Query(description="Only pairs with an entity of exactly this type.")] = None,
    status: Status = "open",
) -> DuplicatesPage:
    """One page of pairs of entities that may be one, the likeliest first, or of what was decided of such pairs."""
    found = await workspace.duplicates.listed(Wanted(status, min_score, type))
    begin = (page - 1) * page_size
    return DuplicatesPage(
        duplicates=[_shown(candidate) for candidate in found[begin : begin + page_size]],
        pagination=PaginationInfo.of(page, page_size, len(found)),
    )


@router.post("/graph/duplicates/accept", responses={503: {}})
async def accept(app: OpenedApp, workspace: ChosenWorkspace, request: AcceptRequest) -> PairResults:
    """Let both entities of each pair be one, whether the pair was a candidate or not. Each pair succeeds or fails for
    itself; `DELETE /graph/aliases/{alias}` takes a merge back."""
    groups = await workspace.duplicates.groups()
    submitted = [await _submitted(workspace, groups, pair) for pair in request.pairs]
    results = [
        result if isinstance(result, PairResult) else await _merged(app, workspace, pair, result)
        for pair, result in zip(request.pairs, submitted, strict=True)
    ]
    return PairResults(results=results)


@router.post("/graph/duplicates/reject")
async def reject(workspace: ChosenWorkspace, request: RejectRequest) -> PairResults:
    """Remember that the entities of each pair are two. They are suggested no more and never merged automatically."""
    return PairResults(results=[await _rejected(workspace, pair) for pair in request.pairs])


@router.post("/graph/duplicates/scan", responses={400: {}})
async def scan(app: OpenedApp, workspace: ChosenWorkspace) -> ScanStarted:
    """Look at all entities again, in the background. New and changed ones are looked at without being asked."""
    await workspace.resolve.submit()
    app.bell.ring()
    return ScanStarted(message="All entities are being compared; GET /graph/duplicates lists what is found.")


@router.get("/graph/aliases")
async def aliases(workspace: ChosenWorkspace, page: PageNumber = 1, page_size: PageSize = 50) -> AliasesPage:
    """One page of names that stand for another entity since they were merged or renamed, by name."""
    known = await workspace.duplicates.aliases()
    shown = known[(page - 1) * page_size : page * page_size]
    return AliasesPage(
        aliases=[AliasRow(name=a.name, entity=a.entity, reason=a.reason, merged_at=a.at or None) for a in shown],
        pagination=PaginationInfo.of(page, page_size, len(known)),
    )


@router.delete("/graph/aliases/{alias:path}", responses=CHANGING)
async def split(app: OpenedApp, workspace: ChosenWorkspace, alias: str) -> SplitResult:
    """Take a merge or a new name back: what documents say of the name is told of itself again, and what was written
    by hand is as it was before. The two are suggested no more."""
    known = await workspace.duplicates.alias(alias)
    before = await workspace.duplicates.tell_apart(known)
    try:
        edited = await applied(app, workspace, SplitEntity(alias))
    except StillWaiting:
        raise
    except LightRAGError:
        await workspace.duplicates.restore(known.pair, before)
        raise
    exists = await workspace.browse.exists(edited.names[0])
    return SplitResult(message=f"{edited.names[0]!r} stands for itself again.", name=edited.names[0], exists=exists)


async def _submitted(workspace: Workspace, groups: Groups, pair: MergePair) -> Submitted | PairResult:
    """All edits are queued before the first is waited for: one commit carries them out."""
    try:
        candidate, there = await workspace.duplicates.candidate(pair.a, pair.b)
        edit = merge_of(candidate, there, pair.into, ACCEPTED_REASON)
        await groups.refuse_rejected(candidate.pair)
    except (NotFound, InvalidInput, Conflict) as error:
        return _refused(pair, error)
    groups.join(candidate.pair)
    return (*await workspace.edits.submit(edit), candidate, edit.into)


async def _merged(app: OpenedApp, workspace: Workspace, pair: MergePair, submitted: Submitted) -> PairResult:
    edit_id, job, candidate, into = submitted
    try:
        edited = await finished(app, workspace, edit_id, job)
    except StillWaiting as error:
        await workspace.duplicates.decide(candidate, "accepted", PERSON, into)
        return PairResult(a=pair.a, b=pair.b, status="waiting", into=into, message=error.message)
    except (NotFound, InvalidInput, Conflict) as error:
        return _refused(pair, error)
    await workspace.duplicates.decide(candidate, "accepted", PERSON, edited.names[0])
    return PairResult(
        a=pair.a, b=pair.b, status="merged", into=edited.names[0], message=f"Both are {edited.names[0]!r} now."
    )


async def _rejected(workspace: Workspace, pair: NamePair) -> PairResult:
    try:
        candidate, _ = await workspace.duplicates.candidate(pair.a, pair.b)
    except (NotFound, InvalidInput) as error:
        return _refused(pair, error)
    await workspace.duplicates.decide(candidate, "rejected", PERSON)
    return PairResult(a=pair.a, b=pair.b, status="rejected", message="They stay two.")


def _refused(pair: NamePair, error: LightRAGError) -> PairResult:
    status = "not_found" if isinstance(error, NotFound) else "refused"
    return PairResult(a=pair.a, b=pair.b, status=status, message=error.message)


def _shown(candidate: Candidate) -> DuplicateCandidate:
    sides = zip(candidate.names, candidate.types, candidate.descriptions, strict=True)
    a, b = (CandidateEntity(name=name, type=type_, description=text) for name, type_, text in sides)
    verdict = candidate.verdict
    return DuplicateCandidate(
        a=a,
        b=b,
        score=candidate.score,
        reasons=list(candidate.reasons),
        is_sure=candidate.is_sure,
        verdict=CandidateVerdict(same=verdict.is_same, why=verdict.why) if verdict else None,
        status=candidate.status,
        into=candidate.into,
        decided_by=candidate.by,
        decided_at=candidate.decided_at,
    )
