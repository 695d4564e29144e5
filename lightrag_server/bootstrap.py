"""The composition root: settings in, a running application out. The whole wiring reads from top to bottom.

Opened by the API's lifespan, by tests and by commands alike; what is opened here is closed here, in reverse order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cache, partial

from lightrag_server.access.service import Access
from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.limits import VendorLimits
from lightrag_server.bindings.models import Models
from lightrag_server.bindings.registry import (
    LONGEST_RERANK_PAUSE_S,
    choose_bindings,
    choose_reranker,
    open_embedder,
    open_llm,
    open_reranker,
    open_vision,
)
from lightrag_server.bindings.rerank.steady import SteadyReranker
from lightrag_server.bindings.thresholds import scale_of
from lightrag_server.bindings.wrappers import Cached, Counting
from lightrag_server.compute import Compute
from lightrag_server.core.chunking import ChunkSpec
from lightrag_server.core.prices import Price, read_prices
from lightrag_server.core.records import Profile
from lightrag_server.core.tokens import Tokenizer, load_tokenizer
from lightrag_server.engine import job_kinds
from lightrag_server.engine.answers import Answerer, ExtractiveAnswer, GeneratedAnswer
from lightrag_server.engine.browse import Browse
from lightrag_server.engine.chunk_work import PrepareTools
from lightrag_server.engine.clear import Clear
from lightrag_server.engine.clock import Clock, utc_now
from lightrag_server.engine.commit import Commit
from lightrag_server.engine.documents import Documents
from lightrag_server.engine.drop import Drop
from lightrag_server.engine.duplicates import Duplicates
from lightrag_server.engine.edits import Edits
from lightrag_server.engine.extraction import LightExtractor, LLMExtractor, NoExtractor
from lightrag_server.engine.follow_up import FollowUp
from lightrag_server.engine.intake import Intake
from lightrag_server.engine.judge import Judge
from lightrag_server.engine.prepare import Prepare
from lightrag_server.engine.query import Query
from lightrag_server.engine.register import Register
from lightrag_server.engine.replies import ExtractionReplies, ReplyKind
from lightrag_server.engine.resolve import Resolve
from lightrag_server.engine.retrieval import Retrieval
from lightrag_server.engine.status import Pipeline
from lightrag_server.engine.stores import Backends, Stores, open_stores
from lightrag_server.engine.summaries import Summaries
from lightrag_server.engine.texts import Vectorizer
from lightrag_server.engine.workspace import Workspace, Workspaces, check_embedding
from lightrag_server.engine.workspace_settings import WorkspaceSettings, overlaid, stored_settings
from lightrag_server.entrance import open_access
from lightrag_server.errors import ConfigError, InvalidInput
from lightrag_server.jobs.bell import Bell
from lightrag_server.jobs.handlers import Handlers
from lightrag_server.jobs.heart import Heart
from lightrag_server.jobs.helper import Helper
from lightrag_server.jobs.liveness import Liveness
from lightrag_server.jobs.reconcile import Reconcile
from lightrag_server.jobs.runner import Runner
from lightrag_server.kept import PROCESSES_FOLDER, open_kept, open_queue
from lightrag_server.parsers.registry import Parsers
from lightrag_server.ports.blobs import BlobStore
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.telemetry import Telemetry
from lightrag_server.settings import Settings
from lightrag_server.telemetry.opening import open_telemetry
from lightrag_server.telemetry.sampling import Sampler, Slots

log = logging.getLogger(__name__)

METRICS_FOLDER = "metrics"
VENDORS_FOLDER = "vendors"


class Duty(Enum):
    """What a process does with what it opens."""

    EVERYTHING = auto()
    REQUESTS = auto()
    """Other processes of the working directory carry out the jobs."""
    READING = auto()
    """For commands that only look, beside a server or without one."""


@dataclass(frozen=True, slots=True)
class App:
    """Everything that is open. `notices` are sentences for the start banner; `llm` is None where answers are quoted,
    `runner` where other processes carry out the jobs."""

    settings: Settings
    workspaces: Workspaces
    access: Access
    queue: JobQueue
    runner: Runner | None
    bell: Bell
    llm: Counting | None
    vision: Counting | None
    """The model for questions with images; None where none is configured."""
    embedder: BatchedEmbedder
    reranker: SteadyReranker | None
    """None where passages keep the order in which they were found."""
    profile: Profile
    parsers: Parsers
    telemetry: Telemetry
    sampler: Sampler
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all workspaces of a process share."""

    settings: Settings
    backends: Backends
    blobs: BlobStore
    queue: JobQueue
    register: Register
    compute: Compute
    llm: Counting | None
    llm_limiter: Limiter
    vision: Counting | None
    embedder: BatchedEmbedder
    reranker: SteadyReranker | None
    vectorizer: Vectorizer
    parsers: Parsers
    profile: Profile
    bell: Bell
    clock: Clock
    telemetry: Telemetry
    prices: dict[str, Price]
    extracting: asyncio.Semaphore
    tokenizer: Callable[[], Tokenizer]
    """Loads at first use: most processes that only answer never need the ranks."""


@asynccontextmanager
async def open_app(
    settings: Settings, clock: Clock = utc_now, *, duty: Duty = Duty.EVERYTHING, helper: Helper | None = None
) -> AsyncGenerator[App]:
    """Open everything, start the runner where jobs are part of the duty, and close both at the end. With a `helper` the
    runner has that do the jobs that it can.

    Raises `ConfigError` for settings that cannot work and `DimensionMismatch` when the data of the default workspace
    was embedded by another model.
    """
    async with AsyncExitStack() as stack:
        llm_settings, embedding_settings, notices = await choose_bindings(settings.llm, settings.embedding)
        rerank_settings = choose_reranker(settings.rerank, embedding_settings, llm_settings)
        settings = replace(settings, llm=llm_settings, embedding=embedding_settings, rerank=rerank_settings)
        await asyncio.to_thread(_make_folders, settings)
        telemetry = await stack.enter_async_context(
            open_telemetry(settings.server.working_dir / METRICS_FOLDER, settings.telemetry)
        )
        access = await stack.enter_async_context(open_access(settings, clock))
        shared = await _open_shared(
            stack, settings, clock, telemetry, is_answering=duty is Duty.REQUESTS or helper is not None
        )
        sampler = await _open_sampler(stack, shared)
        workspaces = _workspaces(shared)
        default = await workspaces.named(settings.server.workspace, will_write=duty is not Duty.READING)
        await check_embedding(default.stores, shared.embedder, settings.embedding.dimension)
        runner = None
        if duty is Duty.EVERYTHING:
            runner = await _open_runner(stack, shared, workspaces, helper)
            if settings.server.auto_scan_at_startup:
                await default.intake.scan()
        yield App(
            settings=settings,
            workspaces=workspaces,
            access=access,
            queue=shared.queue,
            runner=runner,
            bell=shared.bell,
            llm=shared.llm,
            vision=shared.vision,
            embedder=shared.embedder,
            reranker=shared.reranker,
            profile=shared.profile,
            parsers=shared.parsers,
            telemetry=telemetry,
            sampler=sampler,
            notices=tuple(notices),
        )


async def _open_shared(
    stack: AsyncExitStack, settings: Settings, clock: Clock, telemetry: Telemetry, *, is_answering: bool
) -> _Shared:
    """Stores, queue and models, in the order in which they need one another; the stack closes them. `is_answering`:
    another process does the jobs."""
    kept = await stack.enter_async_context(open_kept(settings, clock))
    # questions alone need one process, and do not stand back
    compute = Compute(1, niceness=0) if is_answering else Compute(settings.ingest.cpu_workers)
    stack.push_async_callback(compute.close)
    limits = _vendor_limits(settings)
    stack.callback(limits.close)
    llm_limiter = limits.limiter("llm", settings.llm.binding, settings.llm.host, settings.llm.max_async)
    llm = open_llm(settings.llm, None, compute, llm_limiter)
    if llm:
        stack.push_async_callback(llm.close)
    vision = open_vision(settings.vision.beside(settings.llm), compute, llm_limiter)
    if vision:
        stack.push_async_callback(vision.close)
    embedding, rerank = settings.embedding, settings.rerank
    limiter = limits.limiter("embedding", embedding.binding, embedding.host, embedding.max_async)
    embedder = open_embedder(embedding, compute, limiter)
    stack.push_async_callback(embedder.close)
    assert rerank.max_async is not None
    limiter = limits.limiter("rerank", rerank.binding, rerank.host, rerank.max_async, LONGEST_RERANK_PAUSE_S)
    reranker = open_reranker(rerank, embedder, limiter)
    if reranker:
        stack.push_async_callback(reranker.close)
    return _Shared(
        settings=settings,
        backends=kept.backends,
        blobs=kept.blobs,
        queue=kept.queue,
        register=kept.register,
        compute=compute,
        llm=llm,
        llm_limiter=llm_limiter,
        vision=vision,
        embedder=embedder,
        reranker=reranker,
        vectorizer=Vectorizer(embedder),
        parsers=Parsers(settings.ingest),
        profile=_profile(settings, llm),
        bell=Bell(settings.server.working_dir / "bells"),
        clock=clock,
        telemetry=telemetry,
        prices=read_prices(settings.telemetry.model_prices),
        extracting=asyncio.Semaphore(settings.ingest.max_parallel_documents),
        tokenizer=cache(partial(load_tokenizer, settings.ingest.tokenizer)),
    )


def _vendor_limits(settings: Settings) -> VendorLimits:
    return VendorLimits(settings.server.working_dir / VENDORS_FOLDER, is_adaptive=settings.llm.adaptive_concurrency)


def _profile(settings: Settings, llm: Counting | None) -> Profile:
    profile = settings.ingest.profile or (Profile.FULL if llm else Profile.LIGHT)
    if profile is Profile.FULL and llm is None:
        raise ConfigError("INDEX_PROFILE=full needs a language model: set LLM_BINDING, or use light or vector")
    return profile


async def _open_sampler(stack: AsyncExitStack, shared: _Shared) -> Sampler:
    models = {"llm": shared.llm, "vision": shared.vision, "embedding": shared.embedder, "rerank": shared.reranker}
    roles = {role: partial(_slots, model) for role, model in models.items() if model}
    sampler = Sampler(shared.telemetry.meter, roles)
    sampling = asyncio.create_task(sampler.run())
    stack.callback(sampling.cancel)
    return sampler


def _slots(model: Counting | BatchedEmbedder | SteadyReranker) -> Slots:
    counts = model.snapshot()
    return Slots(counts.running, counts.queued, counts.limit, counts.current_limit)


async def _open_runner(stack: AsyncExitStack, shared: _Shared, workspaces: Workspaces, helper: Helper | None) -> Runner:
    """The worker of this process; the stack stops it before anything that it works on is closed."""
    liveness = Liveness(shared.settings.server.working_dir / PROCESSES_FOLDER)
    ingest = shared.settings.ingest
    handlers = Handlers(
        workspaces,
        shared.queue,
        max_attempts=ingest.max_attempts,
        retry_delay_s=ingest.retry_delay_s,
        clock=shared.clock,
        telemetry=shared.telemetry,
    )
    slots = {
        (job_kinds.PREPARE,): 2 * ingest.max_parallel_documents,
        (job_kinds.COMMIT, job_kinds.CLEAR, job_kinds.DROP, job_kinds.SCAN): 2,
        (job_kinds.RESOLVE,): 1,
        (job_kinds.SUMMARIZE,): 1,
    }
    reconcile = Reconcile(workspaces, shared.queue, shared.clock)
    heart = Heart(liveness.owner, partial(open_queue, shared.settings))
    drain = partial(shared.llm_limiter.drain, shared.settings.server.stop_timeout_s)
    meter = shared.telemetry.meter
    runner = Runner(shared.queue, handlers, liveness, slots, reconcile, heart, drain, meter, helper)
    await asyncio.to_thread(liveness.open)
    stack.push_async_callback(asyncio.to_thread, liveness.close)
    shared.bell.open(liveness.owner, runner.wake)
    stack.callback(shared.bell.close)
    if helper:
        helper.open(shared.settings, runner.wake)
        stack.push_async_callback(helper.close)
    await runner.start()
    stack.push_async_callback(runner.stop)
    return runner


def _make_folders(settings: Settings) -> None:
    for folder in (settings.server.working_dir, settings.server.input_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the folder {str(folder)!r} cannot be made: {error.strerror}") from error


def _workspaces(shared: _Shared) -> Workspaces:
    return Workspaces(shared.register, partial(_make_workspace, shared), partial(_with_own, shared))


def _with_own(shared: _Shared, own: WorkspaceSettings) -> _Shared:
    """What all workspaces share, with the settings that hold in one. Raises `InvalidInput` where they cannot work."""
    ingest, query = overlaid(own, shared.settings.ingest, shared.settings.query)
    profile = own.index_profile or shared.profile
    if profile is Profile.FULL and shared.llm is None:
        raise InvalidInput("index_profile full needs a language model, and LLM_BINDING is not set")
    ingest = ingest.model_copy(update={"profile": profile})
    return replace(shared, settings=replace(shared.settings, ingest=ingest, query=query), profile=profile)


def _settled(shared: _Shared, row: WorkspaceRow) -> _Shared:
    """A server that was configured anew must still open what was set under the old configuration."""
    try:
        return _with_own(shared, stored_settings(row.settings))
    except InvalidInput as error:
        log.warning("the settings of the workspace do not fit this server, its own hold name=%r: %s", row.name, error)
        return _with_own(shared, WorkspaceSettings())


def _make_workspace(shared: _Shared, row: WorkspaceRow) -> Workspace:
    shared, key = _settled(shared, row), row.key
    settings, clock = shared.settings, shared.clock
    stores = open_stores(key, shared.backends, shared.blobs)
    models = _models(shared, stores)
    vectorizer = shared.vectorizer.by(models.embedder())
    input_dir = settings.server.input_dir / key if key else settings.server.input_dir
    commit = Commit(
        stores,
        shared.queue,
        vectorizer,
        shared.embedder.identity,
        clock,
        notes_names=settings.ingest.entity_resolution != "off",
        telemetry=shared.telemetry,
    )
    edits, duplicates = Edits(stores, shared.queue, shared.bell.ring), Duplicates(stores, clock)
    summaries = _summaries(shared, stores, models)
    return Workspace(
        key=key,
        name=row.name,
        stores=stores,
        intake=Intake(
            stores,
            shared.queue,
            shared.parsers,
            max_upload_bytes=settings.server.max_upload_bytes,
            input_dir=input_dir,
            wake=shared.bell.ring,
            clock=clock,
            profiles=[p for p in Profile if p is not Profile.FULL or shared.llm],
        ),
        documents=Documents(stores, clock),
        prepare=Prepare(stores, shared.queue, _prepare_tools(shared, models, vectorizer)),
        replies=_extraction_replies(shared, stores),
        commit=commit,
        clear=Clear(stores, shared.queue, input_dir),
        drop=Drop(stores, shared.queue, shared.register, input_dir),
        query=_make_query(shared, stores, models, summaries),
        summaries=summaries,
        ingest_settings=settings.ingest,
        query_settings=settings.query,
        pipeline=Pipeline(key, shared.queue),
        edits=edits,
        browse=Browse(stores),
        duplicates=duplicates,
        resolve=_make_resolve(shared, stores, models, duplicates, edits),
    )


def _models(shared: _Shared, stores: Stores) -> Models:
    return Models(
        workspace=stores.workspace,
        cache=stores.cache,
        settings=shared.settings,
        telemetry=shared.telemetry,
        prices=shared.prices,
        chat=shared.llm,
        seeing=shared.vision,
        embedding=shared.embedder,
        reranking=shared.reranker,
    )


def _make_resolve(shared: _Shared, stores: Stores, models: Models, duplicates: Duplicates, edits: Edits) -> Resolve:
    ingest = shared.settings.ingest
    llm = models.llm("duplicates", kept_as=_kept_as("extract", ingest.enable_llm_cache_for_extract))
    return Resolve(
        stores,
        shared.queue,
        duplicates,
        edits,
        mode=ingest.entity_resolution,
        threshold=shared.embedder.threshold,
        judge=Judge(llm) if llm and ingest.entity_resolution_llm else None,
    )


def _prepare_tools(shared: _Shared, models: Models, vectorizer: Vectorizer) -> PrepareTools:
    ingest = shared.settings.ingest
    light = LightExtractor(shared.compute, ingest)
    llm = models.llm("extract", kept_as=_kept_as("extract", ingest.enable_llm_cache_for_extract))
    return PrepareTools(
        parser=shared.parsers,
        tokenizer=shared.tokenizer,
        spec=ChunkSpec(
            strategy=ingest.chunk_strategy,
            size=ingest.chunk_size,
            overlap=ingest.chunk_overlap,
            window_size=ingest.window_size or shared.embedder.passage_tokens,
            window_overlap=ingest.window_overlap,
        ),
        extractors={
            Profile.LIGHT: light,
            Profile.VECTOR: NoExtractor(),
            **({Profile.FULL: LLMExtractor(llm, ingest)} if llm else {}),
        },
        vectorizer=vectorizer,
        profile=shared.profile,
        clock=shared.clock,
        extracting=shared.extracting,
        is_stopping=lambda: shared.llm_limiter.is_draining,
        telemetry=shared.telemetry,
    )


def _summaries(shared: _Shared, stores: Stores, models: Models) -> Summaries | None:
    query, llm = shared.settings.query, models.llm("summary")
    if llm is None or not query.summaries:
        return None
    return Summaries(stores, shared.queue, llm, query, shared.settings.ingest.summary_language, shared.bell.ring)


def _make_query(shared: _Shared, stores: Stores, models: Models, summaries: Summaries | None) -> Query:
    query = shared.settings.query
    threshold = query.cosine_threshold if query.cosine_threshold is not None else shared.embedder.threshold
    kept_as, embedder, vision = _kept_as("query", query.enable_llm_cache), models.embedder(), models.vision()
    llm = models.llm("query", kept_as=kept_as)
    quoting = ExtractiveAnswer(embedder)
    answerer: Answerer = GeneratedAnswer(llm) if llm else quoting
    return Query(
        stores.documents,
        Retrieval(stores, embedder, threshold, reranker=models.reranker(), telemetry=shared.telemetry),
        answerer,
        quoting=quoting,
        keyword_llm=models.llm("keywords", kept_as=kept_as) if query.keyword_extraction == "llm" else None,
        follow_up=FollowUp(
            is_on=query.follow_up != "off",
            llm=models.llm("follow_up", kept_as=kept_as) if query.follow_up == "llm" else None,
        ),
        max_context_tokens=shared.settings.llm.max_context_tokens,
        scale=scale_of(shared.embedder.identity, shared.embedder.threshold),
        summaries=summaries,
        vision=GeneratedAnswer(vision) if vision else None,
        telemetry=shared.telemetry,
    )


def _extraction_replies(shared: _Shared, stores: Stores) -> ExtractionReplies | None:
    if shared.llm is None:
        return None
    kept = Cached(shared.llm, stores.cache, "extract")
    return ExtractionReplies(stores, LLMExtractor(kept, shared.settings.ingest), kept)


def _kept_as(kind: ReplyKind, is_on: bool) -> ReplyKind | None:
    return kind if is_on else None
