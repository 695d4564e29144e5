"""What a worker of `lightrag-server` is told; how it lives and dies: tests/e2e/test_standby.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightrag_server.settings.loader import load
from lightrag_server.standby import CALL_BYTES, choice, chosen


def test_a_worker_uses_the_models_that_the_server_chose(tmp_path: Path) -> None:
    unset = load([], environ={}, start_dir=tmp_path)
    assert unset.llm.binding is None
    opened = replace(
        unset,
        llm=unset.llm.model_copy(update={"binding": "ollama"}),
        embedding=unset.embedding.model_copy(update={"binding": "local"}),
    )
    call = choice(opened)
    assert chosen(unset, call) == opened
    assert chosen(unset, call + choice(unset)) == opened
    assert len(call) < CALL_BYTES
