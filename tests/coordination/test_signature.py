"""Signatures and certificates."""

import pytest

from actors.errors import ConfigurationError
from coordination.signature import (
    Certificate,
    Signature,
    TokenScheme,
    certificate,
    certifies,
    ed25519_schemes,
)

MEMBERS = range(1, 5)
STATEMENT = ("vote", 3, b"digest")


def schemes(name: str) -> dict[int, object]:
    if name == "ed25519":
        return dict(ed25519_schemes(MEMBERS, b"seed"))
    return {member: TokenScheme(member) for member in MEMBERS}


@pytest.mark.parametrize("name", ["token", "ed25519"])
def test_a_signature_holds_for_its_signer_and_its_statement_alone(name: str) -> None:
    of = schemes(name)
    signature = of[1].sign(1, STATEMENT)  # type: ignore[attr-defined]  # each is a Scheme
    other = of[2]
    assert other.verify(STATEMENT, signature)  # type: ignore[attr-defined]  # each is a Scheme
    assert not other.verify(("vote", 4, b"digest"), signature)  # type: ignore[attr-defined]  # each is a Scheme
    assert not other.verify(STATEMENT, Signature(2, signature.proof))  # type: ignore[attr-defined]  # each is a Scheme
    assert not other.verify(STATEMENT, Signature(1, b"forged"))  # type: ignore[attr-defined]  # each is a Scheme
    with pytest.raises(ConfigurationError, match="cannot sign for 2"):
        of[1].sign(2, STATEMENT)  # type: ignore[attr-defined]  # each is a Scheme


def test_a_certificate_names_each_signer_once_and_one_bad_signature_spoils_it() -> None:
    of = ed25519_schemes(MEMBERS, b"seed")
    signatures = [of[member].sign(member, STATEMENT) for member in (3, 1, 2, 1)]
    found = certificate(of[1], signatures)
    assert found.signers == (1, 2, 3)
    assert certifies(of[4], STATEMENT, found) == (1, 2, 3)
    assert found.authenticators == 3
    assert certifies(of[4], STATEMENT, Certificate((*found.signatures, Signature(4, b"no")))) == ()
    assert certifies(of[4], STATEMENT, Certificate((found.signatures[0],) * 3)) == ()


def test_a_combined_certificate_counts_once() -> None:
    scheme = TokenScheme(combines=True)
    assert certificate(scheme, [scheme.sign(m, STATEMENT) for m in MEMBERS]).authenticators == 1


def test_a_stranger_to_the_keys_is_nobody() -> None:
    of = ed25519_schemes(MEMBERS, b"seed")
    stranger = ed25519_schemes([9], b"seed")[9]
    assert not of[1].verify(STATEMENT, stranger.sign(9, STATEMENT))
    imposter = ed25519_schemes(MEMBERS, b"another seed")
    assert not of[1].verify(STATEMENT, imposter[2].sign(2, STATEMENT))
