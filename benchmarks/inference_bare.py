"""A bare `AsyncLLM` loop in a process of its own: what vLLM does with nothing around it, to compare the actor with.

The process reads works as lines of JSON from its input and writes what came of each as one. Its engine has the
actor's arguments, and keeps no statistics.
"""

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from benchmarks.inference_work import Done, Work, run
from inference.vllm_arguments import Platform, engine_arguments, set_environment
from inference.vllm_model import find_model
from inference.vllm_settings import VLLMSettings

_START_S = 600.0


class BareEngine:
    """The process, as the benchmark sees it."""

    def __init__(self, model: str, settings: VLLMSettings) -> None:
        self._arguments = (model, json.dumps(settings.plain()))
        self._process: asyncio.subprocess.Process | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the process has ended

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.inference_bare",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
        )
        async with asyncio.timeout(_START_S):
            await self._read()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._log.close()

    async def do(self, work: Work) -> Done:
        """Has the work done."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(work.plain()).encode() + b"\n")
        return Done(**await self._read())

    async def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            said = self._log.read()[-4_000:].decode(errors="replace")
            raise RuntimeError(f"the bare engine's process ended, and said last: {said}")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def serve(model: str, settings: VLLMSettings, out: int) -> None:
    """What runs in the process."""
    llm, sampling = await asyncio.to_thread(_started, model, settings)
    tokenizer = llm.get_tokenizer()

    async def ask(number: int, system: str, user: str) -> tuple[str, int, int]:
        talk = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        ids = tokenizer.apply_chat_template(
            talk, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        final: Any = None
        async for output in llm.generate({"prompt_token_ids": ids}, sampling(number, tokens), f"b{number}"):
            final = output
        return final.outputs[0].text, len(final.outputs[0].token_ids), final.num_cached_tokens or 0

    os.write(out, b"{}\n")
    while line := await asyncio.to_thread(sys.stdin.readline):
        work = Work(**json.loads(line))
        tokens = work.max_tokens
        os.write(out, json.dumps(asdict(await run(work, ask))).encode() + b"\n")
    llm.shutdown()


def _started(model: str, settings: VLLMSettings) -> tuple[Any, Any]:
    set_environment(settings)
    arguments = engine_arguments(find_model(model, revision=None, offline=True), settings, Platform(settings))
    from vllm import SamplingParams  # noqa: PLC0415  # after the environment is set
    from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415  # as above
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415  # as above

    def sampling(number: int, max_tokens: int) -> Any:
        return SamplingParams(
            seed=number, max_tokens=max_tokens, output_kind=RequestOutputKind.FINAL_ONLY, skip_clone=True
        )

    return AsyncLLM.from_vllm_config(arguments.create_engine_config(), disable_log_stats=True), sampling


if __name__ == "__main__":
    # What else is printed, by any library, must not come between the lines.
    answers = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(serve(sys.argv[1], VLLMSettings(**json.loads(sys.argv[2])), answers))
