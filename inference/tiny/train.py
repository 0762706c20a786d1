"""Trains the tiny model: Qwen3's architecture, from fixed seeds, in minutes on two CPU cores.

Rules:
* The budget is in steps, so the same versions, machine type and workers give the same model.
* Every conversation is new: what generalises is diversity, not repetition. Only answers are learnt.
* Initial weights that can copy (`inference.tiny.initial`). Muon for the matrices (Jordan et al. 2024), AdamW for
  embeddings and norms; a short warm-up, a plateau and a cool-down (Hägele et al. 2024), gradients clipped; weights in
  float32, saved in bfloat16, and tested as saved.
* The folder appears whole or not at all; where it is, nothing is done.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from inference.extra import optional
from inference.tiny.families import FAMILIES, held_out, training
from inference.tiny.initial import set_up
from inference.tiny.measure import Answerer, score
from inference.tiny.packing import Batch, Example, batches
from inference.tiny.place import PINNED, REPORT, ROOT, model_folder
from inference.tiny.report import NOTE, Report, table
from inference.tiny.template import CLOSES, PAD, rendered
from inference.tiny.tokenizer import save_tokenizer, trained_tokenizer

Say = Callable[[str], None]
_END_S = 30.0
_ALONE = timedelta(minutes=5)
"""A worker that waits so long for another's gradients gives up: the other has died."""


@dataclass(frozen=True)
class Settings:
    """All that decides the model, beside the families."""

    seed: int = 0
    steps: int = 1_600
    rows: int = 4
    """Of a worker's batch: packed rows of `length` tokens."""
    length: int = 256
    width: int = 160
    layers: int = 3
    heads: int = 5
    key_value_heads: int = 5
    head_width: int = 32
    inner_width: int = 448
    context_tokens: int = 2_048
    learning_rate: float = 1e-2
    """Of AdamW."""
    matrix_learning_rate: float = 0.02
    """Of Muon."""
    warm_up_steps: int = 50
    cool_down: float = 0.3
    """The share of the steps in which the learning rate falls to nothing."""
    decay: float = 0.01
    tokenizer_conversations: int = 4_000
    test_prompts: int = 250
    """Of each family."""
    workers: int = 2
    """Processes of one thread each, which average their gradients: so small a model gains little by two threads."""


@dataclass(frozen=True)
class Trained:
    """A model with its tokenizer, and what its training took."""

    model: Any
    tokenizer: Any
    losses: list[tuple[int, float]]
    conversations: int
    tokens: int
    seconds: float


def train(settings: Settings, say: Say) -> Trained:
    """Trains a model in `workers` processes, this one the first; the others end with it."""
    torch = optional("torch", "vllm", "training")
    first = islice(training(settings.seed), settings.tokenizer_conversations)
    tokenizer = trained_tokenizer(rendered(each.messages, each.tools) + each.expected for each in first)
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        others = [
            torch.multiprocessing.get_context("spawn").Process(
                target=_work, args=(rank, settings, tokenizer.to_str(), meeting), daemon=True
            )
            for rank in range(1, settings.workers)
        ]
        for other in others:
            other.start()
        try:
            return _work(0, settings, tokenizer.to_str(), meeting, say)
        finally:
            for other in others:
                other.join(_END_S)
                other.kill()


def _work(rank: int, settings: Settings, tokens_by: str, meeting: str, say: Say = lambda _: None) -> Trained:
    """One worker's part: batches of its own, and the same model as the others after each step."""
    torch = optional("torch", "vllm", "training")
    tokenizer = optional("tokenizers", "vllm", "training").Tokenizer.from_str(tokens_by)
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    together = torch.distributed
    together.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=settings.workers, timeout=_ALONE
    )
    model = _model(settings, tokenizer)
    set_up(model, tokenizer)
    optimizers = _optimizers(model, settings)
    weights = list(model.parameters())
    say(f"{sum(each.numel() for each in weights):,} parameters, {settings.steps:,} steps")
    started = time.monotonic()
    losses: list[tuple[int, float]] = []
    recent: list[float] = []
    conversations = tokens = 0
    stream = batches(
        _examples(tokenizer, settings.seed * settings.workers + rank), settings.rows, settings.length
    )
    for step, batch in enumerate(islice(stream, settings.steps), start=1):
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * _share(step, settings)
        loss = _loss(model, batch)
        loss.backward()
        together.all_reduce(flat := torch.cat([each.grad.flatten() for each in weights]))
        for weight, part in zip(weights, flat.split([each.numel() for each in weights]), strict=True):
            weight.grad.copy_(part.view_as(weight) / settings.workers)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=False)
        recent.append(loss.item())
        conversations += int(batch.segments.max()) * settings.workers
        tokens += int((batch.segments > 0).sum()) * settings.workers
        if step % 50 == 0 or step == settings.steps:
            spent = time.monotonic() - started
            losses.append((step, sum(recent) / len(recent)))
            recent = []
            left = spent / step * (settings.steps - step)
            say(
                f"step {step:>5}  loss {losses[-1][1]:.4f}  {tokens / spent:>6,.0f} tokens/s  {left:>4.0f} s left"
            )
    together.destroy_process_group()
    return Trained(model, tokenizer, losses, conversations, tokens, time.monotonic() - started)


def save(trained: Trained, settings: Settings, folder: Path) -> None:
    """Writes the model in Hugging Face's format, in bfloat16, with tokenizer, template and generation settings."""
    torch = optional("torch", "vllm", "training")
    trained.model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(trained.tokenizer, folder, settings.context_tokens)


def make(folder: Path, settings: Settings, say: Say) -> Report:
    """Trains, saves, tests what was saved, writes report.json, and only then puts the folder in its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        trained = train(settings, say)
        save(trained, settings, made)
        say("testing on held-out prompts")
        started = time.monotonic()
        answerer = Answerer(made)
        families = {
            family.name: score(answerer, held_out(family, settings.seed, settings.test_prompts))
            for family in FAMILIES
        }
        report = Report(
            note=NOTE,
            families=families,
            losses=trained.losses,
            parameters=sum(each.numel() for each in trained.model.parameters()),
            vocabulary=trained.tokenizer.get_vocab_size(),
            steps=settings.steps,
            conversations=trained.conversations,
            tokens=trained.tokens,
            training_seconds=round(trained.seconds, 1),
            testing_seconds=round(time.monotonic() - started, 1),
            threads=settings.workers,
            load=round(os.getloadavg()[0], 2),
            settings=asdict(settings),
            versions={name: version(name) for name in PINNED},
        )
        (made / REPORT).write_text(json.dumps(msgspec.to_builtins(report), indent=1) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return report


def _model(settings: Settings, tokenizer: Any) -> Any:
    transformers = optional("transformers", "vllm", "training")
    end, pad = tokenizer.token_to_id(CLOSES), tokenizer.token_to_id(PAD)
    config = transformers.Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.width,
        intermediate_size=settings.inner_width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.key_value_heads,
        head_dim=settings.head_width,
        max_position_embeddings=settings.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        use_cache=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = transformers.Qwen3ForCausalLM(config)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=end, pad_token_id=pad, do_sample=False
    )
    return model


def _optimizers(model: Any, settings: Settings) -> list[tuple[Any, float]]:
    """Each with its learning rate: Muon for what multiplies, AdamW for the rest."""
    optim = optional("torch", "vllm", "training").optim
    matrices: list[Any] = []
    rest: list[Any] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed" not in name else rest).append(weight)
    muon = optim.Muon(matrices, lr=settings.matrix_learning_rate, weight_decay=settings.decay, momentum=0.95)
    adamw = optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [(muon, settings.matrix_learning_rate), (adamw, settings.learning_rate)]


def _examples(tokenizer: Any, seed: int) -> Iterator[Example]:
    """Conversations as tokens, without end."""
    stream = training(seed)
    while True:
        some = list(islice(stream, 256))
        prompts = tokenizer.encode_batch([rendered(each.messages, each.tools) for each in some])
        answers = tokenizer.encode_batch([each.expected + CLOSES for each in some])
        yield from ((prompt.ids, answer.ids) for prompt, answer in zip(prompts, answers, strict=True))


def _loss(model: Any, batch: Batch) -> Any:
    """The mean cross-entropy of the answers' tokens of a batch."""
    torch = optional("torch", "vllm", "training")
    segments, targets = torch.from_numpy(batch.segments), torch.from_numpy(batch.targets)
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    sees = (segments[:, None, :, None] == segments[:, None, None, :]) & causal
    hidden = model.model(
        input_ids=torch.from_numpy(batch.tokens),
        position_ids=torch.from_numpy(batch.positions),
        attention_mask=sees,
        use_cache=False,
    ).last_hidden_state
    learnt = targets >= 0
    return torch.nn.functional.cross_entropy(hidden[learnt] @ model.lm_head.weight.T, targets[learnt])


def _share(step: int, settings: Settings) -> float:
    """Of the learning rate: a linear rise, a plateau, and a linear fall to nothing."""
    falls = settings.cool_down * settings.steps
    return min(1.0, step / settings.warm_up_steps, (settings.steps + 1 - step) / falls)


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    folder: Annotated[
        Path | None, typer.Option(help="Where to put it; in models/ by the hash of the scripts.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Fewer make a worse model sooner.")] = Settings.steps,
    workers: Annotated[int, typer.Option(min=1, help="Processes of one thread each.")] = Settings.workers,
    seed: Annotated[
        int, typer.Option(min=0, help="Another one, another model; give it a folder.")
    ] = Settings.seed,
    again: Annotated[bool, typer.Option("--again", help="Make it even if it is there.")] = False,
) -> None:
    """Train the tiny model and test it on held-out prompts; where it is there already, do nothing.

    \b
    Examples:
      python -m inference.tiny.train                                into models/, once
      python -m inference.tiny.train --again                        once more
      python -m inference.tiny.train --steps 100 --folder /tmp/raw  a quick, bad one
      python -m inference.tiny.train --seed 1 --folder /tmp/other   as good a one?
    """
    settings = Settings(seed=seed, steps=steps, workers=workers)
    if folder is None and settings != Settings():
        raise typer.BadParameter(
            "models/ is for the model that these scripts make by themselves: add --folder"
        )
    target = model_folder() if folder is None else folder
    if target.exists() and not again:
        typer.echo(f"{target} is there")
        return
    for name in (
        "OMP_WAIT_POLICY",
        "KMP_BLOCKTIME",
    ):  # a thread that spins at a barrier starves its neighbours
        os.environ.setdefault(name, {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}[name])
    os.environ["HF_HUB_OFFLINE"] = "1"
    report = make(target, settings, typer.echo)
    typer.echo(table(report))
    typer.echo(f"in {target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}")


if __name__ == "__main__":
    app()
