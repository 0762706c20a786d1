"""Signatures and certificates, by a pluggable scheme.

Rules:
* A replica holds its own scheme, which signs in its name alone; any scheme checks anybody's signature.
* What is signed is a statement: a tuple of plain data that begins with a word for its purpose, so that a signature
  given for one purpose cannot serve another.
* `TokenScheme` is for simulation: a signature is a token that nobody else can make, since only the holder of the scheme
  can call `sign`; it costs nothing and is counted. `Ed25519Scheme` is for real runs (RFC 8032).
* Schemes that combine (`combines`) stand for threshold signatures: a certificate counts as one authenticator, as in
  HotStuff's accounting (Yin et al. 2019, section 2). Ed25519 does not combine: a certificate holds them all.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol
from zlib import crc32

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from actors.errors import ConfigurationError

Statement = tuple[Any, ...]

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def digest(content: Any) -> bytes:
    """SHA-256 of content's MessagePack: what stands for a batch or a block."""
    return sha256(_encoder.encode(content)).digest()


class Signature(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One replica's word for a statement."""

    signer: int
    proof: bytes


class Certificate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Many replicas' words for one statement. Who makes one has counted a quorum; who takes one must check it."""

    signatures: tuple[Signature, ...]
    combined: bool = False

    @property
    def signers(self) -> tuple[int, ...]:
        """Who signed, in rising order."""
        return tuple(signature.signer for signature in self.signatures)

    @property
    def authenticators(self) -> int:
        """One if the scheme combines signatures, else as many as there are."""
        return 1 if self.combined else len(self.signatures)


class Scheme(Protocol):
    """Signs for one replica and checks the words of all."""

    combines: bool

    def sign(self, signer: int, statement: Statement) -> Signature:
        """This replica's word for the statement. Raises `ConfigurationError` for another signer than the holder."""

    def verify(self, statement: Statement, signature: Signature) -> bool:
        """Whether the signature is its signer's word for the statement."""


def certificate(scheme: Scheme, signatures: Iterable[Signature]) -> Certificate:
    """A certificate of signatures for one statement, each signer once, in rising order."""
    by_signer = {signature.signer: signature for signature in signatures}
    return Certificate(tuple(by_signer[signer] for signer in sorted(by_signer)), scheme.combines)


def certifies(scheme: Scheme, statement: Statement, found: Certificate) -> Sequence[int]:
    """The signers of a certificate, if each is named once and every signature holds; else nobody."""
    signers = found.signers
    if len(set(signers)) != len(signers):
        return ()
    return signers if all(scheme.verify(statement, one) for one in found.signatures) else ()


class TokenScheme:
    """Signatures for simulations: free, counted, and nobody's but the holder's to make."""

    def __init__(self, holder: int | None = None, *, combines: bool = True, proof_bytes: int = 4) -> None:
        self.holder = holder
        """The only one that it signs for; None for anybody, where nobody lies."""
        self.combines = combines
        self._padding = bytes(max(0, proof_bytes - 4))
        """Makes a token as long on the wire as the signature that it stands for: 64 bytes for secp256k1 or Ed25519."""
        self.signed = 0
        self.verified = 0

    def sign(self, signer: int, statement: Statement) -> Signature:
        """See `Scheme`."""
        if self.holder is not None and signer != self.holder:
            raise ConfigurationError(f"signature: replica {self.holder} cannot sign for {signer}.")
        self.signed += 1
        return Signature(signer, _token(signer, statement) + self._padding)

    def verify(self, statement: Statement, signature: Signature) -> bool:
        """See `Scheme`."""
        self.verified += 1
        return signature.proof == _token(signature.signer, statement) + self._padding


def _token(signer: int, statement: Statement) -> bytes:
    # A checksum is enough where nobody computes one for another: liars in a simulation hold only their own scheme.
    return crc32(_encoder.encode((signer, statement))).to_bytes(4, "big")


class Ed25519Scheme:
    """Ed25519, RFC 8032, by the `cryptography` package."""

    combines = False

    def __init__(self, holder: int, key: Ed25519PrivateKey, public: Mapping[int, Ed25519PublicKey]) -> None:
        self.holder = holder
        self._key = key
        self._public = public

    def sign(self, signer: int, statement: Statement) -> Signature:
        """See `Scheme`."""
        if signer != self.holder:
            raise ConfigurationError(f"signature: replica {self.holder} cannot sign for {signer}.")
        return Signature(signer, self._key.sign(_encoder.encode(statement)))

    def verify(self, statement: Statement, signature: Signature) -> bool:
        """See `Scheme`."""
        key = self._public.get(signature.signer)
        if key is None:
            return False
        try:
            key.verify(signature.proof, _encoder.encode(statement))
        except InvalidSignature:
            return False
        return True


def ed25519_schemes(members: Iterable[int], seed: bytes) -> dict[int, Ed25519Scheme]:
    """A scheme for each member, its key derived from a secret seed and its id.

    For experiments, where one party makes all keys; in a deployment each replica makes its own.
    """
    keys = {
        member: Ed25519PrivateKey.from_private_bytes(sha256(seed + member.to_bytes(8, "big")).digest())
        for member in sorted(members)
    }
    public = {member: key.public_key() for member, key in keys.items()}
    return {member: Ed25519Scheme(member, key, public) for member, key in keys.items()}
