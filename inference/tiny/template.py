"""The chat template: how messages and tools become the text that the model reads.

Messages are framed as in ChatML, tool calls and results as in Hermes and Qwen, so that vLLM's parser `hermes` reads the
answers. Tools are told in a line each, their arguments in alphabetical order, as a schema may have passed through a
store that sorts it: about ten tokens instead of fifty.

`CHAT_TEMPLATE` is what engines use (Jinja); `rendered` is the same in Python, 40 times as fast, for training. A test
holds the two together.
"""

from collections.abc import Sequence
from typing import Any

from inference.message import ChatMessage
from inference.request import Tool
from inference.tiny.conversation import written

OPENS, CLOSES, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
MARKS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""One token each, but no special tokens: an engine that leaves special tokens out of its text must keep them."""

CHAT_TEMPLATE = """\
{%- set first = messages[0] if messages and messages[0].role == 'system' else none %}
{%- if first or tools %}
{{- '<|im_start|>system\\n' }}{{ first.content if first else '' }}
{%- if tools %}
{{- '\\nTools:' }}
{%- for tool in tools %}
{%- set about = tool.function if tool.function is defined else tool %}
{%- set types = (about.parameters or {}).get('properties', {}) %}
{{- '\\n- ' + about.name + '(' }}
{%- for name in types | sort %}
{{- name + ': ' + types[name].type }}{{ ', ' if not loop.last else '' }}
{%- endfor %}
{{- '): ' + (about.description or '') }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{%- set about = call.function if call.function is defined else call %}
{{- '\\n' if not loop.first else '' }}{{ '<tool_call>\\n{"name": "' + about.name + '", "arguments": ' }}
{{- about.arguments if about.arguments is string else about.arguments | tojson }}{{ '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message is not sameas first %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def rendered(messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> str:
    """The prompt: all messages, and the opening of the assistant's answer."""
    first = messages[0] if messages and messages[0].role == "system" else None
    parts = []
    if first or tools:
        told = "\nTools:" + "".join(map(_line, tools)) if tools else ""
        parts.append(f"{OPENS}system\n{first.text if first else ''}{told}{CLOSES}\n")
    for message in messages:
        if message.role == "tool":
            parts.append(f"{OPENS}user\n<tool_response>\n{message.text}\n</tool_response>{CLOSES}\n")
        elif message is not first:
            parts.append(f"{OPENS}{message.role}\n{message.text}{written(message.tool_calls)}{CLOSES}\n")
    return "".join(parts) + f"{OPENS}assistant\n"


def as_chat(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages as the chat APIs and Hugging Face's tokenizers take them."""
    chat = []
    for message in messages:
        plain: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.tool_calls:
            plain["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            plain["tool_call_id"] = message.tool_call_id
        chat.append(plain)
    return chat


def as_functions(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as the chat APIs and Hugging Face's tokenizers take them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def _line(tool: Tool) -> str:
    properties = tool.parameters.get("properties", {})
    types = ", ".join(f"{name}: {properties[name]['type']}" for name in sorted(properties))
    return f"\n- {tool.name}({types}): {tool.description}"
