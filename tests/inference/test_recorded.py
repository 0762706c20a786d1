"""Recordings: what was answered is answered again, from a file that can be shared, without a model or a socket."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from inference.completion import Choice, Completion, Delta, TokenLogprob
from inference.errors import (
    ConfigurationError,
    ContextTooLong,
    EngineDead,
    RecordingBroken,
    RecordingMiss,
    Refused,
)
from inference.llm import BaseLLM
from inference.message import ChatMessage
from inference.recorded import RecordedLLM
from inference.recording import Recording
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool
from inference.scripted import Answer, Rule, ScriptedLLM
from tests.inference.conformance import check_model, pieces

ROOT = Path(__file__).resolve().parents[2]


class Counting(BaseLLM):
    """Counts how often it is asked, and never gives the same answer twice, as a model that samples."""

    identity = "counting"  # type: ignore[assignment]  # a plain attribute will do

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        await asyncio.sleep(0)
        text = request.messages[-1].text
        if text == "refuse":
            raise Refused("not this")
        if text == "long":
            raise ContextTooLong("too long", prompt_tokens=9, limit_tokens=8)
        if text == "die":
            raise EngineDead("gone")
        return Completion((Choice(f"{text} {self.asked}", logprobs=(TokenLogprob("x", -0.5),)),))


async def ask(model: BaseLLM, *texts: str, **options: object) -> list[str]:
    return [(await model.complete(Request.of(text, **options))).text for text in texts]


async def recorded(path: Path, *texts: str, **options: object) -> list[str]:
    async with RecordedLLM.record(path, Counting()) as model:
        return await ask(model, *texts, **options)


def drawn(_request: Request, rng: Random) -> Answer:
    return f"drew {rng.random()}"


def test_it_keeps_to_what_all_models_keep_to_in_each_mode(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "run" / "completions.jsonl"
        for make in (RecordedLLM.record, RecordedLLM.fill):
            async with make(path, ScriptedLLM(drawn)) as model:
                await check_model(model)
        async with RecordedLLM.replay(path) as model:
            await check_model(model)

    asyncio.run(main())


def test_a_replay_gives_what_was_recorded_to_the_last_bit(tmp_path: Path) -> None:
    requests = [
        Request(
            (ChatMessage.user("ünï\u2028\n\0 ☃"),),
            Sampling(n=2, logprobs=1, seed=5),
            (Tool("f"),),
            response_schema=ResponseSchema.choice("a", "b"),
            token_ids=True,
        ),
        Request.of("plain"),
    ]

    async def main() -> None:
        path = tmp_path / "x.jsonl"
        async with RecordedLLM.record(path, ScriptedLLM(drawn, first_token_s=0.001)) as model:
            first = [await model.complete(request) for request in requests]
        async with RecordedLLM.replay(path) as model:
            assert [await model.complete(request) for request in requests] == first

    asyncio.run(main())


def test_a_request_asked_often_has_its_answers_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        first = await recorded(path, "a", "b", "a", "a")
        async with RecordedLLM.replay(path) as model:
            assert await ask(model, "a", "a", "b", "a") == [first[0], first[2], first[1], first[3]]
            with pytest.raises(RecordingMiss, match="recorded 3 times and is asked once more"):
                await ask(model, "a")

    asyncio.run(main())


def test_a_deterministic_request_has_its_last_answer_again(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        greedy = Sampling(temperature=0)
        (first,) = await recorded(path, "a", sampling=greedy)
        async with RecordedLLM.replay(path) as model:
            assert await ask(model, "a", "a", "a", sampling=greedy) == [first] * 3

    asyncio.run(main())


def test_who_asks_makes_no_difference(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        first = await recorded(path, "a")
        async with RecordedLLM.replay(path) as model:
            assert await ask(model, "a", caller=Caller("x/1"), timeout_s=5.0) == first

    asyncio.run(main())


def test_filling_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        first = await recorded(path, "a", "b", "a")
        inner = Counting()
        async with RecordedLLM.fill(path, inner) as model:
            assert await ask(model, "a", "b", "c", "a", "a") == [first[0], first[1], "c 1", first[2], "a 2"]
        assert inner.asked == 2
        async with RecordedLLM.replay(path) as model:
            assert await ask(model, "a", "a", "a", "b", "c") == [first[0], first[2], "a 2", first[1], "c 1"]

    asyncio.run(main())


def test_recording_again_supersedes(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        await recorded(path, "a", "a")
        second = await recorded(path, "b", "a")
        async with RecordedLLM.replay(path) as model:
            assert await ask(model, "a", "a") == [second[1], "a 2"]

    asyncio.run(main())


def test_errors_of_the_request_are_replayed_and_those_of_the_moment_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        for mode in ("record", "replay"):
            async with RecordedLLM(path, mode, Counting() if mode == "record" else None) as model:
                with pytest.raises(Refused, match="not this") as refused:
                    await ask(model, "refuse")
                assert not refused.value.definite
                with pytest.raises(ContextTooLong) as long:
                    await pieces(model, Request.of("long"))
                assert (long.value.prompt_tokens, long.value.limit_tokens) == (9, 8)
                with pytest.raises((EngineDead, RecordingMiss)) as dead:
                    await ask(model, "die")
        assert isinstance(dead.value, RecordingMiss)

    asyncio.run(main())


def test_a_stream_that_is_left_is_not_recorded(tmp_path: Path) -> None:
    closed = []

    class Slow(BaseLLM):
        identity = "slow"  # type: ignore[assignment]  # a plain attribute will do

        async def complete(self, request: Request) -> Completion:
            raise NotImplementedError

        async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
            try:
                yield Delta("a")
                yield Delta("b")
                yield Delta(completion=Completion((Choice("ab"),)))
            finally:
                closed.append(request)

    async def main() -> None:
        path = tmp_path / "x.jsonl"
        async with RecordedLLM.record(path, Slow()) as model:
            stream = model.stream(Request.of("x"))
            async for _delta in stream:
                break
            await stream.aclose()
            assert len(closed) == 1
            assert len(Recording(path)) == 0
            await pieces(model, Request.of("x"))
            assert len(Recording(path)) == 1

    asyncio.run(main())


# --- Misses ---------------------------------------------------------------------------------------------------


def missed(path: Path, request: Request, identity: str = "counting") -> str:
    async def main() -> str:
        async with RecordedLLM.replay(path, identity) as model:
            with pytest.raises(RecordingMiss) as caught:
                await model.complete(request)
            return str(caught.value)

    return asyncio.run(main())


def test_a_miss_names_the_difference_from_the_nearest_request(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    long = "The motion is to plant a hundred trees along the southern road before winter."
    asyncio.run(recorded(path, "unlike in every way", long, sampling=Sampling(seed=3)))
    told = missed(path, Request.of(long.replace("trees", "bushes"), sampling=Sampling(seed=4)))
    assert "messages[0].parts[0].text: recorded ...'n is to plant a hundred trees" in told
    assert "sampling.seed: recorded 3, asked 4" in told
    assert "x.jsonl" in told
    assert "Fill the recording" in told
    told = missed(path, Request.of(long, system="new", sampling=Sampling(seed=3)))
    assert "asked 'system'" in told
    assert "and 1 more" in told or "nothing" in told


def test_a_miss_for_the_model_alone_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a"))
    assert "recorded of the model counting, and you ask other" in missed(path, Request.of("a"), "other")


def test_a_recording_of_several_models_asks_which(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.jsonl"
        await recorded(path, "a")
        async with RecordedLLM.fill(path, ScriptedLLM([Rule("", "b")], name="two")) as model:
            identity = model.identity
            await ask(model, "a")
        with pytest.raises(ConfigurationError, match="2 models: counting, scripted:two@"):
            RecordedLLM.replay(path)
        async with RecordedLLM.replay(path, identity) as model:
            assert await ask(model, "a") == ["b"]

    asyncio.run(main())


def test_a_replay_opens_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a"))
    code = (
        "import sys, asyncio, pathlib\n"
        "from inference.recorded import RecordedLLM\n"
        "from inference.request import Request\n"
        "from inference.errors import RecordingMiss\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, arguments: seen.append(name) if name.startswith('socket.') else None)\n"
        "async def main():\n"
        "    del seen[:]\n"  # the loop's own pair for waking up
        "    async with RecordedLLM.replay(pathlib.Path(sys.argv[1])) as model:\n"
        "        print((await model.complete(Request.of('a'))).text)\n"
        "        try: await model.complete(Request.of('b'))\n"
        "        except RecordingMiss: print('missed')\n"
        "    print(seen)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.check_output([sys.executable, "-c", code, path], env=environment, text=True)
    assert told.split("\n")[:3] == ["a 1", "missed", "[]"]


# --- The file -------------------------------------------------------------------------------------------------


def test_a_file_is_lines_of_json_with_sorted_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a", "b"))
    header, *lines = path.read_text().splitlines()
    assert json.loads(header) == {"format": "rayswarm-recording", "version": 1}
    for line in lines:
        entry = json.loads(line)
        assert line == json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert set(entry) == {"key", "model", "request", "completion"}


def test_sorted_copies_of_two_runs_differ_only_where_the_answers_do(tmp_path: Path) -> None:
    """Order, times and superseded answers differ from run to run, and say nothing."""

    def answer(last: str) -> BaseLLM:
        def script(request: Request, rng: Random) -> Answer:
            return last if request.messages[-1].text == "c" else f"drew {rng.random()}"

        return ScriptedLLM(script, name="voters", first_token_s=0.001)

    async def run(name: str, last: str, *texts: str) -> list[str]:
        path = tmp_path / f"{name}.jsonl"
        for _time in range(2):
            async with RecordedLLM.record(path, answer(last)) as model:
                await ask(model, *texts)
        recording = Recording(path)
        recording.write_sorted(tmp_path / name)
        with pytest.raises(RecordingBroken, match="File exists"):
            recording.write_sorted(path)
        recording.close()
        return (tmp_path / name).read_text().splitlines()

    async def main() -> None:
        one = await run("one", "yes", "a", "b", "c", "b")
        two = await run("two", "no", "b", "c", "b", "a")
        assert len(one) == len(two) == 5
        ((before, after),) = ((a, b) for a, b in zip(one, two, strict=True) if a != b)
        assert ("yes" in before, "no" in after) == (True, True)
        async with RecordedLLM.replay(tmp_path / "one") as model:
            assert (await ask(model, "c", "b", "b", "a"))[0] == "yes"

    asyncio.run(main())


def test_joined_recordings_replay_as_one(tmp_path: Path) -> None:
    async def main() -> None:
        (first,) = await recorded(tmp_path / "one.jsonl", "a")
        (second,) = await recorded(tmp_path / "two.jsonl", "b")
        joined = tmp_path / "both.jsonl"
        joined.write_text(
            (tmp_path / "one.jsonl").read_text() + (tmp_path / "two.jsonl").read_text().split("\n", 1)[1]
        )
        async with RecordedLLM.replay(joined) as model:
            assert await ask(model, "b", "a") == [second, first]

    asyncio.run(main())


def test_a_torn_last_line_is_cut_and_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a", "b"))
    whole = path.read_bytes()
    last = len(whole) - whole.rindex(b"\n", 0, -1) - 1
    for cut in (1, 2, last // 2, last - 1):
        path.write_bytes(whole[:-cut])
        replay = Recording(path)
        assert (len(replay), replay.torn_bytes) == (1, last - cut)
        assert path.read_bytes() == whole[:-cut]
        fill = RecordedLLM.fill(path, Counting())
        assert fill.torn_bytes == last - cut
        assert path.read_bytes() == whole[:-last]
        assert asyncio.run(ask(fill, "a", "b")) == ["a 1", "b 1"]
        asyncio.run(fill.aclose())
        replay.close()
        assert asyncio.run(ask(RecordedLLM.replay(path), "a", "b")) == ["a 1", "b 1"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lines: [b"{}", *lines[1:]], "line 1: .*format"),
        (lambda lines: [lines[0].replace(b"1", b"2"), *lines[1:]], "not rayswarm-recording 1"),
        (lambda lines: [lines[0], b"nonsense", lines[2]], "line 2: JSON"),
        (lambda lines: [lines[0], b'{"key": "x"}', lines[2]], "line 2: .*model"),
        (lambda lines: [lines[0], lines[1].replace(b'"key"', b'"occurrence":2,"key"')], "occurrence 2"),
        (lambda lines: [lines[0], b"\xff\xfe", lines[2]], "line 2"),
    ],
)
def test_a_broken_line_is_told_with_its_number(tmp_path: Path, spoil: object, told: str) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a", "b"))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(spoil(lines)) + b"\n")  # type: ignore[operator]  # a function
    with pytest.raises(RecordingBroken, match=told) as caught:
        Recording(path)
    assert "x.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"text":"a"', b'"text":"z"', "it was edited"),
        (b'"completion":{', b'"completion":7,"c":{', "completion"),
        (b'"completion":{', b'"other":{', "neither a completion"),
    ],
)
def test_a_line_edited_by_hand_is_told_when_it_is_asked_for(
    tmp_path: Path, old: bytes, new: bytes, told: str
) -> None:
    path = tmp_path / "x.jsonl"
    asyncio.run(recorded(path, "a", "b"))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    model = RecordedLLM.replay(path)
    assert asyncio.run(ask(model, "b")) == ["b 2"]
    with pytest.raises(RecordingBroken, match=told):
        asyncio.run(ask(model, "a"))


def test_what_cannot_be_replayed_is_not_written(tmp_path: Path) -> None:
    class Odd(BaseLLM):
        identity = "odd"  # type: ignore[assignment]  # a plain attribute will do

        async def complete(self, request: Request) -> Completion:
            if request.messages[-1].text == "surrogate":
                return Completion((Choice("\ud800"),))
            return Completion((Choice("x", logprobs=(TokenLogprob("x", float("-inf")),)),))

    path = tmp_path / "x.jsonl"
    for text in ("infinite", "surrogate"):
        with pytest.raises(RecordingBroken, match="of odd cannot be recorded"):
            asyncio.run(ask(RecordedLLM.record(path, Odd()), text))
    assert len(path.read_bytes().splitlines()) == 1


def test_a_recording_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingBroken, match="cannot open the recording"):
        RecordedLLM.replay(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigurationError, match=r"no model\. Record some first"):
        RecordedLLM.replay(tmp_path / "empty.jsonl")


def test_many_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    long = "word " * 3_000  # over what a pipe or a page writes at once

    async def write(writer: int) -> None:
        async with RecordedLLM.record(path, Counting()) as model:
            await asyncio.gather(*(ask(model, f"{long}{writer}.{number}") for number in range(20)))

    threads = [Thread(target=asyncio.run, args=(write(writer),)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recording = Recording(path)
    assert (len(recording), recording.torn_bytes) == (120, 0)
    texts = [f"{long}{writer}.{number}" for writer in range(6) for number in range(20)]
    assert len(asyncio.run(ask(RecordedLLM.replay(path), *texts))) == 120
