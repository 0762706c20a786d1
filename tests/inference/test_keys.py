"""Keys come from the environment or a file, and are in nothing that is left of a run."""

import asyncio
import json
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from inference.endpoint import EndpointSettings
from inference.errors import ConfigurationError, LLMError
from inference.ollama import OllamaLLM
from inference.openai_endpoint import OpenAICompatLLM
from inference.recorded import RecordedLLM
from inference.request import Request
from inference.retry import RetryPolicy
from inference.secret import Secret
from tests.inference.needs import needs
from tests.inference.openai_calls import ask, model_at
from tests.inference.server import chat, chunked, events, openai, serving, whole

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("THE_KEY", KEY)
    return Secret("env:THE_KEY")


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    key: Secret, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every fault and every answer echoes the key; none of what is left holds it."""
    needs("openai", "httpx2")
    caplog.set_level(logging.DEBUG)
    echo = f"your key is {KEY}"
    faults = [
        whole(401, {"error": {"message": echo}}),
        whole(500, echo.encode()),
        whole(429, {"error": {"message": echo}}, {"Retry-After": "9999"}),
        whole(200, echo.encode()),
        chunked([echo.encode()], ending="close"),
        chunked(events({"error": {"message": echo}})),
    ]
    left: list[str] = []

    async def main() -> None:
        path = tmp_path / "x.jsonl"
        async with serving(*faults, whole(200, chat(echo))) as server:
            inner = model_at(server, key=key)
            async with RecordedLLM.record(path, inner) as model:
                for number, _fault in enumerate(faults):
                    with pytest.raises(LLMError) as caught:
                        await ask(model, Request.of("hi"), stream=number >= 4)
                    error = caught.value
                    left.extend([*traceback.format_exception(error), repr(error), repr(error.__dict__)])
                    left.append(repr(pickle.dumps(error)))
                completion = await model.complete(Request.of("hi"))
                left.extend([repr(completion), model.identity, repr(vars(inner)), repr(inner._settings)])
            left.append(path.read_text())
            assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
            assert completion.text == "your key is [key]"

    asyncio.run(main())
    told = capfd.readouterr()
    left += [told.out, told.err, caplog.text, repr(pickle.dumps(key)), repr(key)]
    left += [repr(vars(record)) for record in caplog.records]
    assert any("httpx" in record.name or "openai" in record.name for record in caplog.records)
    assert [text for text in left if KEY in text] == []


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_no_part_of_a_key_is_left_where_a_long_answer_is_cut_off(kind: str, key: Secret) -> None:
    """Errors show the beginning of an answer; a key that is cut in two would be found by no search for it."""
    needs("openai", "httpx2")

    async def main() -> None:
        for start in (190, 195, 490, 495):
            said = "x" * start + KEY + "y" * 900
            for answer in (whole(500, said.encode()), whole(400, {"error": said}), whole(200, said.encode())):
                async with serving(answer) as server:
                    settings = EndpointSettings(key=key, retry=RetryPolicy(attempts=1))
                    async with (
                        OllamaLLM("tiny", url=server.url, settings=settings)
                        if kind == "ollama"
                        else OpenAICompatLLM(f"{server.url}/v1", "tiny", settings=settings)
                    ) as model:
                        with pytest.raises(LLMError) as caught:
                            await model.complete(Request.of("hi"))
                assert KEY[:4] not in str(caught.value)

    asyncio.run(main())


def test_nothing_of_the_environment_goes_to_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("openai", "httpx2")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Own: {KEY}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")

    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            await model.complete(Request.of("hi"))
            assert KEY not in json.dumps(server.asked[0].headers)
            assert "authorization" not in server.asked[0].headers

    asyncio.run(main())


def test_a_key_is_read_from_a_file_and_pickles_as_its_place(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    secret = Secret(f"file:{file}")
    assert secret.reveal() == KEY
    file.write_text("another")
    assert pickle.loads(pickle.dumps(secret)).reveal() == "another"  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (KEY, "not the key"),
        ("env:", "env:NAME or file:PATH"),
        ("env:NO_SUCH_KEY", "set the environment variable NO_SUCH_KEY"),
        ("file:/no/such/key", "cannot read the key of file:/no/such/key"),
        ("env:BAD_KEY", "no header may have"),
    ],
)
def test_a_key_that_is_not_there_is_told_without_it(
    source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_KEY", f"{KEY}\r\nX: y")
    with pytest.raises(ConfigurationError, match=told) as caught:
        Secret(source)
    assert KEY not in str(caught.value)
