"""Chat messages: what is said to a model and by it, with tool calls and their results.

The four roles, tool calls and results are those of the chat APIs of OpenAI, vLLM and Ollama, so that any of them can be
spoken without loss. All are frozen structs, checked when made: a message that exists can be sent.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from inference.check import as_tuple, check_text
from inference.errors import BadRequest

ChatRole = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[ChatRole, ...] = ("system", "user", "assistant", "tool")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a tool may be called: the rule of OpenAI's API, which the others take too."""


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="kind"):
    """Text."""

    text: str

    def __post_init__(self) -> None:
        check_text(self.text, "a text part")


class ImagePart(msgspec.Struct, frozen=True, tag="image", tag_field="kind"):
    """An image by its address: `https://...`, or `data:image/png;base64,...` for the bytes themselves."""

    url: str

    def __post_init__(self) -> None:
        check_text(self.url, "an image's url")
        if not re.match(r"(https?://|data:image/[\w.+-]+;base64,)", self.url):
            raise BadRequest(
                f"an image's url is {self.url[:40]!r}: give http(s)://... or data:image/TYPE;base64,..."
            )


ContentPart = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True):
    """A model asks for a tool. `arguments` is JSON as the model wrote it, which may not be valid: see `values`."""

    id: str
    name: str
    arguments: str = "{}"

    def __post_init__(self) -> None:
        check_text(self.id, "a tool call's id")
        check_text(self.name, "a tool call's name")
        check_text(self.arguments, "a tool call's arguments")

    def values(self) -> dict[str, Any]:
        """The arguments by name. Raises `ValueError` with the model's text where it is not a JSON object."""
        try:
            return msgspec.json.decode(self.arguments, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ValueError(
                f"the arguments of {self.name} are not a JSON object ({error}): {self.arguments[:200]!r}"
            ) from None


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `ChatMessage.system`, `.user`, `.assistant` and `.tool` make them of text."""

    role: ChatRole
    parts: tuple[ContentPart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant only."""
    tool_call_id: str = ""
    """Of a tool only: which call this is the result of."""
    name: str = ""
    """Who speaks, where several speak in one role."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise BadRequest(f"a message's role is {self.role!r}: give one of {', '.join(ROLES)}")
        as_tuple(self, "parts", (TextPart, ImagePart))
        as_tuple(self, "tool_calls", (ToolCall,))
        check_text(self.name, "a message's name")
        if self.tool_calls and self.role != "assistant":
            raise BadRequest(f"a message of the {self.role} holds tool calls: only an assistant's may")
        if (self.role == "tool") != bool(self.tool_call_id):
            raise BadRequest(
                "a tool's message names the call that it answers: make it with ChatMessage.tool(call.id, text)"
                if self.role == "tool"
                else f"a message of the {self.role} answers no tool call: leave tool_call_id empty"
            )
        if not self.parts and not self.tool_calls:
            raise BadRequest(f"a message of the {self.role} is empty: give it a part, at least TextPart('')")

    @classmethod
    def system(cls, text: str) -> "ChatMessage":
        """What the model is told to be. Put what many agents share first: a prefix cache then serves them all."""
        return cls("system", (TextPart(text),))

    @classmethod
    def user(cls, text: str, images: Iterable[str] = ()) -> "ChatMessage":
        """What is asked, with images by their urls."""
        return cls("user", (TextPart(text), *(ImagePart(url) for url in images)))

    @classmethod
    def assistant(cls, text: str, tool_calls: Iterable[ToolCall] = ()) -> "ChatMessage":
        """What the model said, and the tools that it asked for."""
        return cls("assistant", (TextPart(text),), tuple(tool_calls))

    @classmethod
    def tool(cls, call_id: str, text: str) -> "ChatMessage":
        """The result of a tool call."""
        return cls("tool", (TextPart(text),), tool_call_id=call_id)

    @property
    def text(self) -> str:
        """All text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[str, ...]:
        """The urls of the images."""
        return tuple(part.url for part in self.parts if isinstance(part, ImagePart))
