"""Answers as an API server writes them: JSON without a charset, one line."""

import json

from aiohttp import web

from kgpud.localcluster.forms import JSON
from kgpud.localcluster.registry import Document


def answer(
    document: Document, status: int = 200, warnings: tuple[str, ...] = (), media: str = JSON
) -> web.Response:
    """Answer a document, with a Warning header for each (kubectl shows them)."""
    body = json.dumps(document, separators=(",", ":")) + "\n"
    response = web.Response(body=body.encode(), status=status, headers={"Content-Type": media})
    for words in warnings:
        escaped = words.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response
