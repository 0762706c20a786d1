"""A note on answers that were cut before `max_tokens`: at the end of the context servers say `length`, as at the limit.

Only the count tells the two apart: a sample that ends by `length` has `max_tokens` tokens, or was cut before.
"""

from inference.completion import Choice, Usage
from inference.request import Request


def cut_notes(choices: tuple[Choice, ...], usage: Usage, request: Request) -> tuple[str, ...]:
    """One note, or none; none where the provider does not count."""
    cut = sum(choice.finish_reason == "length" for choice in choices)
    if usage.estimated or usage.completion_tokens >= cut * request.sampling.max_tokens:
        return ()
    return (
        f"cut before max_tokens ({request.sampling.max_tokens:,}) by the end of the context or the server's own "
        f"limit: {usage.prompt_tokens:,} tokens of prompt, {usage.completion_tokens:,} of answer",
    )
