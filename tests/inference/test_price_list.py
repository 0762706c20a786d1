"""Published prices, offline: known whole or not at all."""

import socket
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from inference.price import Price
from inference.price_list import _whole, listed_price
from inference.provider import parse_model

types = pytest.importorskip("genai_prices.types", reason="pip install 'rayswarm[endpoints]'")

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_published_price_is_found_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("a price was looked up in a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    price = listed_price(parse_model("openai:gpt-4o-mini"), DAY)
    assert price is not None
    assert 0 < price.prompt_usd < price.completion_usd < 10


@pytest.mark.parametrize(
    "line",
    [
        "openai:no-such-model",
        "openai:http://localhost:8000/v1#gpt-4o-mini",
        "vllm:Qwen/Qwen3-8B",
        "ollama:qwen3:0.6b",
        "scripted:rules.yaml",
    ],
)
def test_what_nobody_published_is_unknown_and_not_zero(line: str) -> None:
    assert listed_price(parse_model(line), DAY) is None


def test_a_price_that_ours_cannot_say_whole_is_unknown() -> None:
    plain = {"input_mtok": Decimal(1), "output_mtok": Decimal(4), "cache_write_mtok": Decimal(2)}
    assert _whole(types.ModelPrice(**plain)) == Price(1.0, 4.0)
    assert _whole(types.ModelPrice(**plain, cache_read_mtok=Decimal("0.5"))) == Price(1.0, 4.0, 0.5)
    assert _whole(types.ModelPrice(**plain, requests_kcount=Decimal(5))) is None
    assert _whole(types.ModelPrice(**plain, output_reasoning_mtok=Decimal(5))) is None
    assert (
        _whole(types.ModelPrice(**{**plain, "input_mtok": types.TieredPrices(base=Decimal(1), tiers=[])}))
        is None
    )  # priced by length
    assert _whole(types.ModelPrice(output_mtok=Decimal(4))) is None
