"""A stated, simple tokenizer: for scripted models, and for estimates where the provider has the real one.

A token is up to five letters or digits, or one other character, each with the white space before it; white space at
the end is one token. So the tokens of a text, joined, are the text. A prompt has in addition four tokens for each
message (its role and its borders, as in ChatML), the JSON of tools, calls and schemas, and 256 for an image. On
English prose this is a little above what byte-pair encodings of 100,000 entries give, which is the safe side for a
reservation; it is no measure of any real model.
"""

import re
from zlib import crc32

import msgspec

from inference.request import Request

MESSAGE_TOKENS = 4
IMAGE_TOKENS = 256
_TOKEN = re.compile(r"\s*(?:[^\W_]{1,5}|[^\s])|\s+$")


def tokens_of(text: str) -> list[str]:
    """The tokens, which joined are the text."""
    return _TOKEN.findall(text)


def count_text(text: str) -> int:
    """The number of tokens of a text."""
    return sum(1 for _ in _TOKEN.finditer(text))


def token_id(token: str) -> int:
    """A token's id: the CRC-32 of its UTF-8. It names the token; nothing is decoded from it."""
    return crc32(token.encode())


def prompt_tokens(request: Request) -> int:
    """The number of tokens of a prompt."""
    count = 0
    for message in request.messages:
        count += MESSAGE_TOKENS + count_text(message.text) + IMAGE_TOKENS * len(message.images)
        count += sum(count_text(call.name) + count_text(call.arguments) for call in message.tool_calls)
    for described in (*request.tools, request.response_schema):
        if described is not None:
            count += count_text(msgspec.json.encode(described).decode())
    return count
