"""The vLLM actor against a bare `AsyncLLM` loop on the same model, and what a shared prefix saves.

Both sides have an engine of their own with the same arguments, and are asked the same conversations with the same
seeds, in turn, so that what else the machine does falls on both. That both answered alike is checked, token by token,
at one caller at a time, where an engine's batches are the same. A ratio is the median of the ratios of neighbouring
runs.

`ratio_to_ray_serve` needs `ray.serve.llm`, which is no dependency; where it cannot be imported the row says why.
"""

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.inference_bare import BareEngine
from benchmarks.inference_model import make_model
from benchmarks.inference_serve import ray_serve, serve_fault
from benchmarks.inference_work import Done, Work, run
from benchmarks.outcome import AsJson, Outcome, median, rounded, tell
from benchmarks.ray_session import own_ray
from inference import BaseLLM, Request, Sampling
from inference.vllm_settings import VLLMSettings

app = typer.Typer(add_completion=False)
CALLERS = (1, 16, 64, 256)
_REQUESTS = {1: 6, 16: 64, 64: 192, 256: 512}
_CONTEXT = 4_096
_PERSONA_TIMES = 80
_SERVE_CALLERS = 64
_CPUS = 4
"""As Ray counts them: what is measured and what it is compared with must find a place, and compute in turn."""
_SETTINGS = VLLMSettings(
    cache_bytes=256 << 20, running_requests=256, context_tokens=2_048, prompt_cache_tokens=0, cpus=0.5
)


async def do(model: BaseLLM, work: Work) -> Done:
    """Has the work done by a model."""

    async def ask(number: int, system: str, user: str) -> tuple[str, int, int]:
        request = Request.of(user, system=system, sampling=Sampling(seed=number, max_tokens=work.max_tokens))
        completion = await model.complete(request)
        usage = completion.usage
        return completion.text, usage.completion_tokens, usage.cached_tokens or 0

    return await run(work, ask)


async def measure(model: str, settings: VLLMSettings, repeats: int, callers: tuple[int, ...]) -> Outcome:
    """Runs the benchmark; Ray must run."""
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    async with BareEngine(model, settings) as bare, _actor(model, settings) as actor:
        for engine in (bare.do, lambda work: do(actor, work)):
            await engine(Work(16, 64, first=1_000_000))  # warm
        for number in callers:
            pairs = await _pairs(bare, actor, number, repeats)
            tokens = median(done.tokens_per_second for _, done in pairs)
            ratio = _ratio(pairs)
            figures[f"tokens_per_second_{number}"] = tokens
            figures[f"ratio_to_bare_engine_{number}"] = ratio
            rows.append(
                {
                    "concurrent": number,
                    "tokens_per_second": tokens,
                    "bare_tokens_per_second": median(done.tokens_per_second for done, _ in pairs),
                    "ratio_to_bare_engine": ratio,
                }
            )
        figures |= await _prefix(actor, repeats)
        rows.append(await _against_serve(actor, model, settings, repeats))
    # The busiest that was measured stands for all.
    figures["ratio_to_bare_engine"] = figures[f"ratio_to_bare_engine_{max(callers)}"]
    notes = [f"{model}; {repeats} runs of each, in turn; answers of up to {Work(1, 1).max_tokens} tokens."]
    if rows[-1]["ratio_to_ray_serve"] is None:
        notes.append(f"ratio_to_ray_serve is null: {rows[-1]['why']}")
    else:
        figures["ratio_to_ray_serve"] = rows[-1]["ratio_to_ray_serve"]
    return Outcome("inference", figures, notes, rows=rows)


@asynccontextmanager
async def _actor(model: str, settings: VLLMSettings) -> AsyncIterator[BaseLLM]:
    from inference.ray_vllm import start_vllm  # noqa: PLC0415  # Ray reads its environment when it is imported

    replica = await asyncio.to_thread(start_vllm, model, settings)
    async with replica:
        yield replica


async def _pairs(bare: BareEngine, actor: BaseLLM, callers: int, repeats: int) -> list[tuple[Done, Done]]:
    """(bare, actor) of neighbouring runs, which take turns to be the first."""
    pairs = []
    for number in range(repeats):
        work = Work(callers, _REQUESTS[callers], first=10_000 * (number + 1))
        if number % 2:
            mine, its = await do(actor, work), await bare.do(work)
        else:
            its, mine = await bare.do(work), await do(actor, work)
        if callers == 1 and (its.tokens, its.texts) != (mine.tokens, mine.texts):
            raise AssertionError(
                f"the actor and the bare engine answer differently to the same: {mine} and {its}"
            )
        pairs.append((its, mine))
    return pairs


async def _prefix(actor: BaseLLM, repeats: int) -> dict[str, float]:
    """Many short answers on a long persona: one that all share, and one of each request's own."""
    ratios, hits = [], []
    for number in range(repeats):
        first = 2_000_000 + 10_000 * number
        own = await do(actor, Work(64, 64, first, _PERSONA_TIMES, shared=False, max_tokens=8))
        shared = await do(actor, Work(64, 64, first, _PERSONA_TIMES, shared=True, max_tokens=8))
        ratios.append(own.seconds / shared.seconds)
        hits.append(shared.cached / 64)
    return {
        "shared_prefix_speed_ratio": rounded(statistics.median(ratios)),
        "shared_prefix_cached_tokens": rounded(statistics.median(hits)),
    }


async def _against_serve(actor: BaseLLM, model: str, settings: VLLMSettings, repeats: int) -> dict[str, Any]:
    """The row of Ray Serve: figures, or why there are none."""
    why = await asyncio.to_thread(serve_fault)
    if why:
        return {"ratio_to_ray_serve": None, "why": why}
    pairs = []
    async with ray_serve(model, settings) as serve:
        await do(serve, Work(16, 64, first=1_000_000))  # warm
        for number in range(repeats):
            work = Work(_SERVE_CALLERS, _REQUESTS[_SERVE_CALLERS], first=10_000 * (number + 1))
            if number % 2:
                mine, its = await do(actor, work), await do(serve, work)
            else:
                its, mine = await do(serve, work), await do(actor, work)
            pairs.append((its, mine))
    return {
        "concurrent": _SERVE_CALLERS,
        "ratio_to_ray_serve": _ratio(pairs),
        "ray_serve_tokens_per_second": median(done.tokens_per_second for done, _ in pairs),
        "tokens_per_second": median(done.tokens_per_second for _, done in pairs),
    }


def _ratio(pairs: list[tuple[Done, Done]]) -> float:
    """The median of the second's rate over the first's."""
    return rounded(statistics.median(mine.tokens_per_second / its.tokens_per_second for its, mine in pairs))


@app.command()
def inference(
    *,
    model: Annotated[str, typer.Option(help="A model's folder; empty makes one of random weights.")] = "",
    repeats: Annotated[int, typer.Option(min=1, max=1_000, help="Runs of each side.")] = 5,
    width: Annotated[int, typer.Option(min=64, max=4_096, help="Of the random model.")] = 256,
    layers: Annotated[int, typer.Option(min=1, max=64, help="Of the random model.")] = 4,
    callers: Annotated[str, typer.Option(help="Callers at once, of 1,16,64,256.")] = "1,16,64,256",
    as_json: AsJson = False,
) -> None:
    """The vLLM actor against a bare AsyncLLM loop.

    Examples:

        rayswarm bench inference

        rayswarm bench inference --model results/model --callers 64,256
    """
    known = {str(number): number for number in CALLERS}
    if any(each not in known for each in callers.split(",")):
        raise typer.BadParameter(f"callers is {callers!r}: give some of {', '.join(known)}")
    numbers = tuple(known[each] for each in callers.split(","))
    with tempfile.TemporaryDirectory(prefix="model") as folder, own_ray(_CPUS):
        made = model or str(make_model(Path(folder) / "random", width=width, layers=layers, context=_CONTEXT))
        outcome = asyncio.run(measure(made, _SETTINGS, repeats, numbers))
    tell(outcome, as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.inference import app as importable

    importable()
