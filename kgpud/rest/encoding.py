"""Answers made smaller where that pays."""

import re

from aiohttp import web

# Less fits in a packet anyway.
_WORTH_IT = 1024
# What is longer is compressed in a thread: the loop has others to serve.
EXECUTOR_SIZE = 16 << 10


def compress(request: web.BaseRequest, response: web.Response) -> None:
    """Gzip a long answer for who takes that. `response` must not hold what was only just secret.

    An answer in which a secret stands beside a caller's own words tells of it by its length
    (BREACH): leave those as they are.
    """
    if not isinstance(response.body, bytes) or len(response.body) < _WORTH_IT:
        return
    response.headers["Vary"] = "Accept-Encoding"
    if _takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)


def _takes_gzip(accepted: str) -> bool:
    """Read Accept-Encoding (RFC 9110, section 12.5.3)."""
    weights = {}
    for word in accepted.lower().split(","):
        coding, _, weight = word.partition(";")
        match = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", weight or "q=1")
        weights[coding.strip()] = float(match[1]) if match else 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
