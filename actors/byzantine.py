"""Lies: the parts of a message with its values altered.

Rules:
* A lie is a pure function of a stream (made of seed, sender and sequence number) and, for an equivocator, of
  the recipient. A corrupt sender tells everybody the same lie, an equivocator tells each recipient its own
  (Lamport, Shostak and Pease, "The Byzantine generals problem", 1982).
* Structure stays: keys, lengths of lists and types; letters stay letters and digits digits. So what is
  altered can always be encoded, and gets past a recipient's parser to its judgement.
* Numbers, text, true and false, and bytes are altered; links (parts of kind `url`) are not, so that no agent
  is sent to a stranger's host. With `values` given only these are altered, each into another one of them:
  lies that keep the protocol's other fields plausible.
* Equivocation differs between any two numbered members of a role, as far as there are different values:
  numbers always do, text of n letters has 25^n lies, and a truth value or one of `values` goes round all of
  them, so that some recipients get the truth.
"""

from itertools import cycle
from math import isfinite
from zlib import crc32

from actors.message import Part
from actors.rng import Rng

_DEEPEST = 64
"""Nesting below this level is left as it is."""
_GOLDEN = 0.6180339887498949
"""Its multiples modulo 1 keep apart as well as any (Knuth, TAOCP 3, section 6.4)."""
_INTEGERS = range(-(2**63), 2**64)
"""What MessagePack can say."""
_ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789")
_LETTERS = {letter: alphabet for alphabet in _ALPHABETS for letter in alphabet}


def lot_of(recipient: str) -> int:
    """The number that tells recipients apart: an agent's number, or a checksum of another key."""
    key = recipient.partition("/")[2]
    return int(key) if key.isascii() and key.isdigit() else crc32(recipient.encode())


def alter(
    parts: tuple[Part, ...], stream: Rng, lot: int | None, values: tuple[object, ...]
) -> tuple[Part, ...]:
    """The parts with their values altered: for one recipient by its lot, or with None alike for all."""
    liar = _Liar(stream, lot, values)
    return tuple(liar.part(part) for part in parts)


class _Liar:
    """One broadcast's worth of lies. It draws the same numbers in the same order for every recipient."""

    def __init__(self, rng: Rng, lot: int | None, values: tuple[object, ...]) -> None:
        self.rng = rng
        self.same_for_all = lot is None
        self.lot = lot or 0
        self.values = values

    def part(self, part: Part) -> Part:
        if part.kind == "url":
            return part
        return Part(part.kind, self.value(part.value), part.media_type, part.filename, part.metadata)

    def value(self, value: object, depth: int = 0) -> object:
        """The value or, in a list or dictionary, its values, altered."""
        if depth == _DEEPEST:
            return value
        if type(value) is dict:
            return {key: self.value(item, depth + 1) for key, item in value.items()}
        if type(value) is list:
            return [self.value(item, depth + 1) for item in value]
        return self._among_values(value) if self.values else self._leaf(value)

    def _among_values(self, value: object) -> object:
        """Another of the values given, if it is one of them."""
        for place, known in enumerate(self.values):
            if type(known) is type(value) and known == value:  # 1 and True are equal and not the same vote
                return self.values[self._other(place, len(self.values))]
        return value

    def _leaf(self, value: object) -> object:
        match value:
            case bool():
                return bool(self._other(int(value), 2))
            case int():
                return self._integer(value)
            case float():
                return self._real(value)
            case str():
                return self._text(value)
            case bytes():
                return self._bytes(value)
            case _:
                return value

    def _other(self, place: int, size: int) -> int:
        """Another place of so many; an equivocator goes round all of them by lot, the true one included."""
        draw = self.rng.getrandbits(32)
        if self.same_for_all:
            return (place + 1 + draw % max(1, size - 1)) % size
        return (place + draw + self.lot) % size

    def _integer(self, value: int) -> int:
        draw = self.rng.getrandbits(32)
        distance = 1 + (draw >> 1) % max(1, abs(value)) + self.lot
        sign = 1 if draw & 1 else -1
        altered = value + sign * distance
        return altered if altered in _INTEGERS else value - sign * distance

    def _real(self, value: float) -> float:
        draw = self.rng.random()
        u = (draw + self.lot * _GOLDEN) % 1.0
        if not isfinite(value):
            return u
        distance = (u + 0.5) * max(1.0, abs(value))
        altered = value + distance if self.rng.getrandbits(1) else value - distance
        return altered if isfinite(altered) else u * value

    def _text(self, text: str) -> str:
        lot, altered = self.lot, []
        for letter, noise in zip(text, self._noise(len(text)), strict=False):
            alphabet = _LETTERS.get(letter)
            if alphabet is None:
                altered.append(letter)
                continue
            lot, step = divmod(lot, len(alphabet) - 1)
            shift = 1 + (noise + step) % (len(alphabet) - 1)
            altered.append(alphabet[(alphabet.index(letter) + shift) % len(alphabet)])
        return "".join(altered)

    def _bytes(self, data: bytes) -> bytes:
        lot, altered = self.lot, bytearray()
        for byte, noise in zip(data, self._noise(len(data)), strict=False):
            lot, step = divmod(lot, 255)
            altered.append((byte + 1 + (noise + step) % 255) % 256)
        return bytes(altered)

    def _noise(self, size: int) -> "cycle[int]":
        # A period of 64 is enough to look scrambled and costs 8 draws, however long the text is.
        return cycle(self.rng.randbytes(min(size, 64)) or b"\0")
