"""The template for engines and the one for training say the same, tools, calls and results included."""

import random
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from inference.message import ChatMessage, ToolCall
from inference.request import Tool
from inference.tiny.conversation import Family
from inference.tiny.families import FAMILIES
from inference.tiny.template import CHAT_TEMPLATE, as_chat, as_functions, rendered

STOCK = Tool(
    "stock",
    "how many are in store",
    {"type": "object", "properties": {"store": {"type": "integer"}, "item": {"type": "string"}}},
)
CALL = ToolCall("call_0", "stock", '{"item": "Bolt", "store": 3}')


def by_jinja(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
    """As transformers does it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(CHAT_TEMPLATE).render(
        messages=messages, tools=tools, add_generation_prompt=True
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_both_templates_say_the_same(family: Family) -> None:
    for seed in range(30):
        each = family.draw(random.Random(seed))
        text = by_jinja(as_chat(each.messages), as_functions(each.tools) or None)
        assert rendered(each.messages, each.tools) == text


def test_tools_calls_and_results_are_all_told() -> None:
    messages = (
        ChatMessage.user("How many Bolt are in store 3?"),
        ChatMessage.assistant("", (CALL, CALL)),
        ChatMessage.tool("call_0", '{"units": 42}'),
        ChatMessage.assistant("42."),
        ChatMessage.user("Thank you."),
    )
    call = '<tool_call>\n{"name": "stock", "arguments": {"item": "Bolt", "store": 3}}\n</tool_call>'
    text = rendered(messages, (STOCK,))
    assert text == (
        "<|im_start|>system\n\nTools:\n- stock(item: string, store: integer): how many are in store"
        "<|im_end|>\n"
        "<|im_start|>user\nHow many Bolt are in store 3?<|im_end|>\n"
        f"<|im_start|>assistant\n{call}\n{call}<|im_end|>\n"
        '<|im_start|>user\n<tool_response>\n{"units": 42}\n</tool_response><|im_end|>\n'
        "<|im_start|>assistant\n42.<|im_end|>\n"
        "<|im_start|>user\nThank you.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert text == by_jinja(as_chat(messages), as_functions((STOCK,)))


def test_engines_that_give_arguments_as_values_and_tools_bare_are_understood() -> None:
    chat = as_chat((ChatMessage.user("?"), ChatMessage.assistant("", (CALL,))))
    text = by_jinja(chat, as_functions((STOCK,)))
    chat[1]["tool_calls"][0]["function"]["arguments"] = {"item": "Bolt", "store": 3}
    assert by_jinja(chat, [as_functions((STOCK,))[0]["function"]]).replace(" ", "") == text.replace(" ", "")
    chat[1]["content"] = None
    assert "None" not in by_jinja(chat, None)


def test_a_tool_without_arguments_and_no_system_message_are_told_too() -> None:
    tool = Tool("now", "the time")
    text = rendered((ChatMessage.user("?"),), (tool,))
    assert "\n- now(): the time<|im_end|>" in text
    assert text == by_jinja([{"role": "user", "content": "?"}], as_functions((tool,)))
    assert by_jinja([{"role": "user", "content": "?"}], None) == rendered((ChatMessage.user("?"),))
