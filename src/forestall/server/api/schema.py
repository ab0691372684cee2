"""The base of every shape that goes in or out: what it does not know, it refuses by name."""

from __future__ import annotations

from heapq import nsmallest
from typing import Any, Self

import ninja
from ninja.schema import DjangoGetter
from pydantic import ConfigDict, ValidationInfo, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import PydanticCustomError

ANSWER = "response_status"
"""What ninja puts into the context when it shapes an answer: there a model may have more than is shown."""


class Schema(ninja.Schema):
    """A shape of the API. In a request, an unknown field is a slip: it is refused with its name."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"additionalProperties": False})

    @model_validator(mode="wrap")
    @classmethod
    def _run_root_validator(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Any:
        # Takes the place of ninja's validator of that name, which reads attributes of models in the same way.
        if isinstance(values, dict) and ANSWER not in (info.context or {}):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            if not known >= values.keys():
                unknown = nsmallest(10, (str(name)[:80] for name in values.keys() - known))
                raise PydanticCustomError(
                    "unknown_field",
                    "unknown field {unknown}; known: {known}",
                    {"unknown": ", ".join(map(repr, unknown)), "known": ", ".join(sorted(known))},
                )
            return handler(values)
        return handler(DjangoGetter(values, cls, info.context))
