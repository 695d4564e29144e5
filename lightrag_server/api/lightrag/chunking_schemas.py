"""How a request says its texts are to be cut: LightRAG's strategies, and the parameters that go with each."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from lightrag_server.core.chunking import BreakpointType

StrategyName = Literal["fixed_token", "recursive_character", "semantic_vector", "paragraph_semantic", "custom"]

SIZE = frozenset({"chunk_token_size"})
OVERLAP = SIZE | {"chunk_overlap_token_size"}
ALLOWED: dict[StrategyName, frozenset[str]] = {
    "fixed_token": OVERLAP | {"split_by_character", "split_by_character_only"},
    "recursive_character": OVERLAP | {"separators"},
    "semantic_vector": SIZE | {"breakpoint_threshold_type", "breakpoint_threshold_amount", "buffer_size"},
    "paragraph_semantic": OVERLAP | {"drop_references"},
}
PERCENT = ("percentile", "gradient")


class ChunkingParams(BaseModel):
    """Unset sizes are those of the settings, in tokens."""

    model_config = ConfigDict(extra="forbid", strict=True)

    chunk_token_size: int | None = Field(None, ge=20, le=1_000_000)
    chunk_overlap_token_size: int | None = Field(None, ge=0, le=1_000_000)
    split_by_character: str | None = Field(None, min_length=1, max_length=256, description="fixed_token only.")
    split_by_character_only: bool | None = Field(None, description="Refuse parts that are too long.")
    separators: list[Annotated[str, StringConstraints(max_length=256)]] | None = Field(
        None, max_length=64, description="recursive_character only; best first.", examples=[["\n\n", "\n", " "]]
    )
    drop_references: bool | None = Field(None, description="paragraph_semantic only: leave out the bibliography.")
    breakpoint_threshold_type: BreakpointType | None = Field(None, description="semantic_vector only.")
    breakpoint_threshold_amount: float | None = Field(
        None, gt=0, description="semantic_vector only; at most 100 for percentile and gradient."
    )
    buffer_size: int | None = Field(
        None, ge=1, le=100, description="semantic_vector only: sentences on either side that count with one."
    )

    @field_validator("breakpoint_threshold_amount")
    @classmethod
    def _finite(cls, amount: float | None) -> float | None:
        if amount is not None and not math.isfinite(amount):
            raise ValueError("breakpoint_threshold_amount must be finite")
        return amount

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size, overlap = self.chunk_token_size, self.chunk_overlap_token_size
        if size is not None and overlap is not None and overlap >= size:
            raise ValueError("chunk_overlap_token_size must be less than chunk_token_size")
        amount, kind = self.breakpoint_threshold_amount, self.breakpoint_threshold_type or "percentile"
        if amount is not None and amount > 100 and kind in PERCENT:
            raise ValueError(f"breakpoint_threshold_amount is at most 100 for {kind}")
        return self


class TextChunkingConfig(BaseModel):
    """How these texts are cut. The strategy custom needs a function, which cannot be sent: it is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    strategy: StrategyName = "fixed_token"
    params: ChunkingParams = ChunkingParams.model_construct()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        allowed = ALLOWED.get(self.strategy)
        if allowed is None:
            raise ValueError("the strategy custom needs a function, and this server has none")
        given = self.params.model_dump(exclude_none=True).keys()
        if odd := sorted(given - allowed):
            raise ValueError(f"{', '.join(odd)} does not go with the strategy {self.strategy}")
        return self

    def as_spec(self) -> dict[str, Any]:
        """What is set, by the names of `ChunkSpec`."""
        params = self.params
        chosen = {
            "strategy": self.strategy,
            "size": params.chunk_token_size,
            "overlap": params.chunk_overlap_token_size,
            "split_by_character": params.split_by_character,
            "split_by_character_only": params.split_by_character_only,
            "separators": params.separators,
            "drop_references": params.drop_references,
            "breakpoint_type": params.breakpoint_threshold_type,
            "breakpoint_amount": params.breakpoint_threshold_amount,
            "buffer_size": params.buffer_size,
        }
        return {name: value for name, value in chosen.items() if value is not None}
