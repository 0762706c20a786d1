"""What an endpoint's refusal means: HTTP status, error body and headers to an `LLMError`. Pure.

Of the statuses only 429 and 503 say that nothing was done; 500, 502, 504 may come after the tokens were computed. That
a prompt is too long is said in a code by OpenAI, and in words by vLLM, SGLang, llama.cpp and Ollama; the words are
known by what they have in common, and the counts are read where they stand.
"""

import re
from typing import Any

import msgspec

from inference.errors import (
    BadRequest,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    LLMError,
    RateLimited,
    Refused,
)

_SHOWN = 500
_TOO_LONG = re.compile(
    r"maximum context length|context_length_exceeded|exceeds? the (available |maximum )?context|prompt is too long"
    r"|longer than the (maximum )?model|input length .*exceeds",
    re.I,
)
_LIMIT = re.compile(
    r"(?:maximum (?:context|model) length (?:is|of)|context (?:size|length|window)\D{0,12}) ?\(?([\d,]+)",
    re.I,
)
_PROMPT = re.compile(
    r"\(([\d,]+) in the messages|messages resulted in ([\d,]+)|prompt contains (?:at least )?([\d,]+)"
    r"|request \(([\d,]+) tokens",
    re.I,
)


class _Body(msgspec.Struct):
    error: Any = None
    message: Any = None
    detail: Any = None


def status_error(status: int, body: bytes, retry_after_s: float | None, where: str) -> LLMError:
    """The error of an answer with such a status, body, and wait."""
    text, code = message_of(body)
    said = f"{where} answered {status}: {text}" if text else f"{where} answered {status}"
    if status == 429 and code != "insufficient_quota":
        return RateLimited(said, wait_s=retry_after_s)
    if status in (400, 413, 422) and (code == "context_length_exceeded" or _TOO_LONG.search(text)):
        return ContextTooLong(said, prompt_tokens=_count(_PROMPT, text), limit_tokens=_count(_LIMIT, text))
    if code in ("content_filter", "content_policy_violation"):
        return Refused(said)
    if status in (408, 504):
        return DeadlinePassed(said)
    if status == 503:
        # With a time to come back it is what 429 is: come back then, all together.
        return (
            EngineDead(said, definite=True)
            if retry_after_s is None
            else RateLimited(said, wait_s=retry_after_s)
        )
    if status >= 500:
        return EngineDead(said)
    return BadRequest(said + _mend(status, code))


def message_of(body: bytes) -> tuple[str, str]:
    """(text, code) of an error body, in whichever of the usual shapes it comes."""
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body[:_SHOWN].decode(errors="replace").strip(), ""
    error = decoded.error if decoded.error is not None else decoded
    if isinstance(error, str):
        return error[:_SHOWN], ""
    if isinstance(error, dict):
        return str(error.get("message") or error)[:_SHOWN], str(error.get("code") or error.get("type") or "")
    return str(decoded.message or decoded.detail or "")[:_SHOWN], ""


def _mend(status: int, code: str) -> str:
    if status in (401, 403):
        return ". Check the key: it is named by its source, env:NAME or file:PATH."
    if status == 404:
        return ". Check the model's name and the address, which ends in /v1 for most servers."
    if 300 <= status < 400:
        return ". Redirects are not followed: give the final address."
    if code == "insufficient_quota":
        return ". The account has no credit left; waiting does not help."
    return ""


def _count(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    digits = next((group for group in found.groups() if group), "") if found else ""
    return int(digits.replace(",", "")[:18]) if digits.strip(",") else None
