"""Prices that providers publish, looked up offline in the list that comes with `genai-prices`.

Rules:
* The list is the one that was installed: no network, no update, the same answer on every machine with that version.
* Only a price that `Price` can state whole is given: one of tokens in, tokens out and cached tokens. A model that is
  priced by the length of its prompt or by the request, one that the list does not have, and one at an address that
  belongs to no listed provider have no price here. Unknown is None, never zero.
* Local models (vLLM, Ollama, scripts) are in no list: what a token of them costs is for their owner to say.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from inference.errors import ExtraMissing
from inference.extra import optional
from inference.price import Price
from inference.provider import ModelSpec

_TOKENS = ("input_mtok", "output_mtok", "cache_read_mtok")
_OF_OTHER_CALLS = (
    "cache_write_mtok",  # paid where a request asks for a cache, which ours never do
    "cache_write_1h_mtok",
    "web_searches_kcount",
    "storage_searches_kcount",
    "input_audio_mtok",
    "output_audio_mtok",
    "cache_audio_read_mtok",
    "output_image_mtok",
    "output_video_mtok",
    "input_video_mtok",
)
"""Priced besides, for what no request of ours holds."""


def listed_price(spec: ModelSpec, day: datetime | None = None) -> Price | None:
    """The published price of an endpoint's model on a day (today); None if it is not known whole."""
    if spec.provider != "openai":
        return None
    try:
        snapshots = optional("genai_prices.data_snapshot", "endpoints", "a list of prices")
    except ExtraMissing:
        return None
    try:
        _provider, model = snapshots.get_snapshot().find_provider_model(spec.name, None, None, spec.place)
    except LookupError:
        return None
    return _whole(model.get_prices(day or datetime.now(UTC)))


def _whole(listed: Any) -> Price | None:
    """A listed price as ours; None if ours cannot say all of it."""
    prices = {name: value for name, value in vars(listed).items() if value is not None}
    read, said, cached = (prices.pop(name, None) for name in _TOKENS)
    if any(name not in _OF_OTHER_CALLS for name in prices):
        return None
    if not isinstance(read, Decimal) or not isinstance(said, Decimal):
        return None
    if cached is not None and not isinstance(cached, Decimal):
        return None
    return Price(float(read), float(said), None if cached is None else float(cached))
