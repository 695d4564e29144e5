from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings that belong together; frozen. `heading` heads the group in help texts and example files.

    A group reads nothing by itself: `loader.load` gathers the values, everyone else names fields.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=False, allow_inf_nan=False
    )

    heading: ClassVar[str]
