"""The composition root: settings in, a running application out. The whole wiring reads from top to bottom.

Opened by the API's lifespan, by tests and by commands alike; what is opened here is closed here, in reverse order.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.registry import choose_bindings, open_embedder, open_llm
from lightrag_server.bindings.wrappers import Cached, Counting
from lightrag_server.compute import Compute
from lightrag_server.core.chunking import ChunkSpec
from lightrag_server.core.records import Profile
from lightrag_server.core.tokens import Tokenizer, load_tokenizer
from lightrag_server.engine import job_kinds
from lightrag_server.engine.answers import Answerer, ExtractiveAnswer, GeneratedAnswer
from lightrag_server.engine.clear import Clear
from lightrag_server.engine.clock import Clock, utc_now
from lightrag_server.engine.commit import Commit
from lightrag_server.engine.extraction import LightExtractor, LLMExtractor, NoExtractor
from lightrag_server.engine.intake import Intake
from lightrag_server.engine.prepare import Prepare, PrepareTools
from lightrag_server.engine.query import Query
from lightrag_server.engine.retrieval import Retrieval
from lightrag_server.engine.status import Pipeline
from lightrag_server.engine.stores import Backends, Stores, open_stores
from lightrag_server.engine.texts import Vectorizer
from lightrag_server.engine.workspace import Workspace, Workspaces, check_embedding
from lightrag_server.errors import ConfigError
from lightrag_server.jobs.handlers import Handlers
from lightrag_server.jobs.liveness import Liveness
from lightrag_server.jobs.reconcile import Reconcile
from lightrag_server.jobs.runner import Runner
from lightrag_server.parsers.registry import Parsers
from lightrag_server.ports.blobs import BlobStore
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.llm import LLM
from lightrag_server.settings import Settings
from lightrag_server.storages.local_blobs import LocalBlobStore
from lightrag_server.storages.registry import open_backends
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue

COORDINATION_FILE = "coordination.sqlite"
GARBAGE_THRESHOLD = 20_000


@dataclass(frozen=True, slots=True)
class App:
    """Everything that is open. `notices` are sentences for the start banner; `llm` is None where answers are quoted."""

    settings: Settings
    workspaces: Workspaces
    queue: JobQueue
    runner: Runner
    llm: Counting | None
    embedder: BatchedEmbedder
    profile: Profile
    parsers: Parsers
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all workspaces of a process share."""

    settings: Settings
    backends: Backends
    blobs: BlobStore
    queue: JobQueue
    compute: Compute
    llm: Counting | None
    embedder: BatchedEmbedder
    vectorizer: Vectorizer
    parsers: Parsers
    profile: Profile
    wake: _Wake
    clock: Clock
    extracting: asyncio.Semaphore
    tokenizer: Callable[[], Tokenizer]
    """Loads at first use: most processes that only answer never need the ranks."""


@asynccontextmanager
async def open_app(settings: Settings, clock: Clock = utc_now) -> AsyncGenerator[App]:
    """Open everything, start the runner, and close both at the end.

    Raises `ConfigError` for settings that cannot work and `DimensionMismatch` when the data of the default workspace
    was embedded by another model.
    """
    async with AsyncExitStack() as stack:
        llm_settings, embedding_settings, notices = await choose_bindings(settings.llm, settings.embedding)
        settings = replace(settings, llm=llm_settings, embedding=embedding_settings)
        await asyncio.to_thread(_make_folders, settings)
        shared = await _open_shared(stack, settings, clock)
        workspaces = Workspaces(partial(_make_workspace, shared), shared.backends.doc_status.workspaces)
        default = await workspaces.get(settings.server.workspace)
        await check_embedding(default.stores, shared.embedder, settings.embedding.dimension)
        runner = await _start_runner(stack, shared, workspaces)
        if settings.server.auto_scan_at_startup:
            await default.intake.scan()
        _spare_the_collector()
        yield App(
            settings=settings,
            workspaces=workspaces,
            queue=shared.queue,
            runner=runner,
            llm=shared.llm,
            embedder=shared.embedder,
            profile=shared.profile,
            parsers=shared.parsers,
            notices=tuple(notices),
        )


async def _open_shared(stack: AsyncExitStack, settings: Settings, clock: Clock) -> _Shared:
    """Stores, queue and models, in the order in which they need one another; the stack closes them."""
    backends = await stack.enter_async_context(open_backends(settings))
    queue = SQLiteJobQueue(settings.server.working_dir / COORDINATION_FILE, settings.sqlite)
    stack.push_async_callback(queue.close)
    compute = Compute(settings.ingest.cpu_workers)
    stack.push_async_callback(compute.close)
    llm = open_llm(settings.llm, None, compute)
    if llm:
        stack.push_async_callback(llm.close)
    embedder = open_embedder(settings.embedding, compute)
    stack.push_async_callback(embedder.close)
    return _Shared(
        settings=settings,
        backends=backends,
        blobs=LocalBlobStore(settings.server.working_dir / "blobs"),
        queue=queue,
        compute=compute,
        llm=llm,
        embedder=embedder,
        vectorizer=Vectorizer(embedder),
        parsers=Parsers(settings.ingest),
        profile=_profile(settings, llm),
        wake=_Wake(),
        clock=clock,
        extracting=asyncio.Semaphore(settings.ingest.max_parallel_documents),
        tokenizer=cache(partial(load_tokenizer, settings.ingest.tokenizer)),
    )


def _profile(settings: Settings, llm: Counting | None) -> Profile:
    profile = settings.ingest.profile or (Profile.FULL if llm else Profile.LIGHT)
    if profile is Profile.FULL and llm is None:
        raise ConfigError("INDEX_PROFILE=full needs a language model: set LLM_BINDING, or use light or vector")
    return profile


async def _start_runner(stack: AsyncExitStack, shared: _Shared, workspaces: Workspaces) -> Runner:
    """The worker of this process; the stack stops it before anything that it works on is closed."""
    liveness = Liveness(shared.settings.server.working_dir / "processes")
    await asyncio.to_thread(liveness.open)
    stack.push_async_callback(asyncio.to_thread, liveness.close)
    ingest = shared.settings.ingest
    handlers = Handlers(
        workspaces,
        shared.queue,
        max_attempts=ingest.max_attempts,
        retry_delay_s=ingest.retry_delay_s,
        clock=shared.clock,
    )
    slots = {
        (job_kinds.PREPARE,): 2 * ingest.max_parallel_documents,
        (job_kinds.COMMIT, job_kinds.CLEAR, job_kinds.SCAN): 2,
    }
    runner = Runner(shared.queue, handlers, liveness, slots, Reconcile(workspaces, shared.queue, shared.clock))
    shared.wake.target = runner.wake
    await runner.start()
    stack.push_async_callback(runner.stop)
    return runner


def _spare_the_collector() -> None:
    """What is loaded by now stays: looking through it again and again costs queries a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


class _Wake:
    """Lets the intake wake the runner, which is made after it."""

    target: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.target:
            self.target()


def _make_folders(settings: Settings) -> None:
    for folder in (settings.server.working_dir, settings.server.input_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the folder {str(folder)!r} cannot be made: {error.strerror}") from error


def _make_workspace(shared: _Shared, name: str) -> Workspace:
    settings, clock = shared.settings, shared.clock
    stores = open_stores(name, shared.backends, shared.blobs)
    input_dir = settings.server.input_dir / name if name else settings.server.input_dir
    commit = Commit(stores, shared.queue, shared.vectorizer, shared.embedder.identity, clock)
    return Workspace(
        name=name,
        stores=stores,
        intake=Intake(
            stores,
            shared.queue,
            shared.parsers,
            max_upload_bytes=settings.server.max_upload_bytes,
            input_dir=input_dir,
            wake=shared.wake,
            clock=clock,
        ),
        prepare=Prepare(stores, shared.queue, _prepare_tools(shared, stores)),
        commit=commit,
        clear=Clear(stores, shared.queue, input_dir),
        query=_make_query(shared, stores),
        pipeline=Pipeline(name, shared.queue),
    )


def _prepare_tools(shared: _Shared, stores: Stores) -> PrepareTools:
    ingest = shared.settings.ingest
    light = LightExtractor(shared.compute, ingest)
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
            **(
                {Profile.FULL: LLMExtractor(_cached(shared, stores, ingest.enable_llm_cache_for_extract), ingest)}
                if shared.llm
                else {}
            ),
        },
        vectorizer=shared.vectorizer,
        profile=shared.profile,
        clock=shared.clock,
        extracting=shared.extracting,
    )


def _make_query(shared: _Shared, stores: Stores) -> Query:
    query = shared.settings.query
    threshold = query.cosine_threshold if query.cosine_threshold is not None else shared.embedder.threshold
    llm = _cached(shared, stores, query.enable_llm_cache) if shared.llm else None
    answerer: Answerer = GeneratedAnswer(llm) if llm else ExtractiveAnswer(shared.embedder)
    return Query(
        Retrieval(stores, shared.embedder, threshold),
        answerer,
        keyword_llm=llm if query.keyword_extraction == "llm" else None,
        max_context_tokens=shared.settings.llm.max_context_tokens,
    )


def _cached(shared: _Shared, stores: Stores, is_on: bool) -> LLM:
    """The model with this workspace's cache: replies of one tenant never serve another."""
    assert shared.llm is not None
    return Cached(shared.llm, stores.cache) if is_on else shared.llm
