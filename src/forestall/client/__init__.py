"""A typed client of Forestall's REST API, made from the API's own description.

::

    from forestall.client import Client

    with Client("https://forestall.example.org", token="fsp_…") as forestall:
        for device in forestall.device_list(status="pending"):
            forestall.device_approve(device.id)

Every operation is a method of its name. Lists are iterators over all pages. A refusal is an exception that carries
the server's own words. It needs nothing but ``pip install forestall``.
"""

from forestall.client.core import (
    ApiError,
    ChangedError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    Pages,
    UnreachableError,
    WrongRequestError,
)
from forestall.client.operations import Client

__all__ = [
    "ApiError",
    "ChangedError",
    "Client",
    "ConflictError",
    "NotAllowedError",
    "NotFoundError",
    "NotSignedInError",
    "Pages",
    "UnreachableError",
    "WrongRequestError",
]
