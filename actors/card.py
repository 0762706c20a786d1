"""What an agent says of itself: its card and skills.

The data model is that of `AgentCard` in the Agent2Agent protocol, version 1.0 (`specification/a2a.proto`), with its
field names; `actors/a2a.py` maps it to the protocol's JSON.

Rules:
* A card is immutable plain data and imports nothing of the swarm: any module may declare one.
* None is "absent" where the protocol tells absent from empty; elsewhere the empty value is the absent one.
* What the protocol requires but an agent inside a swarm does not need (an interface, media types) has a default, and
  is always written to JSON.
"""

from typing import Any

import msgspec

PROTOCOL_VERSION = "1.0"
"""The version of A2A that these types follow."""


class AgentProvider(msgspec.Struct, frozen=True):
    """Who offers the agent."""

    url: str
    organization: str


class AgentInterface(msgspec.Struct, frozen=True):
    """Where an agent can be reached, and how."""

    url: str
    protocol_binding: str
    """`JSONRPC`, `GRPC`, `HTTP+JSON`, or another that both sides know."""
    tenant: str = ""
    protocol_version: str = PROTOCOL_VERSION


class AgentExtension(msgspec.Struct, frozen=True):
    """An extension of the protocol that the agent knows."""

    uri: str = ""
    description: str = ""
    required: bool = False
    """True: who does not follow the extension cannot talk to this agent."""
    params: dict[str, Any] | None = None


class AgentCapabilities(msgspec.Struct, frozen=True):
    """The optional parts of the protocol that an agent supports; None says nothing about it."""

    streaming: bool | None = None
    push_notifications: bool | None = None
    extensions: tuple[AgentExtension, ...] = ()
    extended_agent_card: bool | None = None


class APIKeySecurityScheme(msgspec.Struct, frozen=True):
    """A key in the query, a header or a cookie (`location`), under a name."""

    location: str
    name: str
    description: str = ""


class HTTPAuthSecurityScheme(msgspec.Struct, frozen=True):
    """HTTP authentication by a scheme of the IANA registry, such as `Bearer`."""

    scheme: str
    bearer_format: str = ""
    description: str = ""


class AuthorizationCodeOAuthFlow(msgspec.Struct, frozen=True):
    """OAuth 2.0 by authorization code."""

    authorization_url: str
    token_url: str
    scopes: dict[str, str]
    refresh_url: str = ""
    pkce_required: bool = False


class ClientCredentialsOAuthFlow(msgspec.Struct, frozen=True):
    """OAuth 2.0 by client credentials."""

    token_url: str
    scopes: dict[str, str]
    refresh_url: str = ""


class ImplicitOAuthFlow(msgspec.Struct, frozen=True):
    """OAuth 2.0 by implicit grant; deprecated by the protocol, kept so that a peer's card survives."""

    authorization_url: str = ""
    refresh_url: str = ""
    scopes: dict[str, str] = {}


class PasswordOAuthFlow(msgspec.Struct, frozen=True):
    """OAuth 2.0 by password; deprecated by the protocol, kept so that a peer's card survives."""

    token_url: str = ""
    refresh_url: str = ""
    scopes: dict[str, str] = {}


class DeviceCodeOAuthFlow(msgspec.Struct, frozen=True):
    """OAuth 2.0 by device code (RFC 8628)."""

    device_authorization_url: str
    token_url: str
    scopes: dict[str, str]
    refresh_url: str = ""


class OAuthFlows(msgspec.Struct, frozen=True):
    """One OAuth 2.0 flow: exactly one member is given."""

    authorization_code: AuthorizationCodeOAuthFlow | None = None
    client_credentials: ClientCredentialsOAuthFlow | None = None
    implicit: ImplicitOAuthFlow | None = None
    password: PasswordOAuthFlow | None = None
    device_code: DeviceCodeOAuthFlow | None = None


class OAuth2SecurityScheme(msgspec.Struct, frozen=True):
    """OAuth 2.0."""

    flows: OAuthFlows
    oauth2_metadata_url: str = ""
    description: str = ""


class OpenIdConnectSecurityScheme(msgspec.Struct, frozen=True):
    """OpenID Connect, found at a discovery address."""

    open_id_connect_url: str
    description: str = ""


class MutualTlsSecurityScheme(msgspec.Struct, frozen=True):
    """Certificates on both sides."""

    description: str = ""


class SecurityScheme(msgspec.Struct, frozen=True):
    """A way to prove who one is: exactly one member is given."""

    api_key_security_scheme: APIKeySecurityScheme | None = None
    http_auth_security_scheme: HTTPAuthSecurityScheme | None = None
    oauth2_security_scheme: OAuth2SecurityScheme | None = None
    open_id_connect_security_scheme: OpenIdConnectSecurityScheme | None = None
    mtls_security_scheme: MutualTlsSecurityScheme | None = None


class StringList(msgspec.Struct, frozen=True):
    """Several texts, where the protocol needs a message around them."""

    list: tuple[str, ...] = ()


class SecurityRequirement(msgspec.Struct, frozen=True):
    """Schemes, by name, that are needed together, each with its scopes."""

    schemes: dict[str, StringList] = {}


class AgentCardSignature(msgspec.Struct, frozen=True):
    """A JSON Web Signature (RFC 7515) of a card."""

    protected: str
    signature: str
    header: dict[str, Any] | None = None


class AgentSkill(msgspec.Struct, frozen=True):
    """Something that an agent can do."""

    id: str
    """What `Context.find(skill=...)` looks for."""
    name: str
    description: str
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    input_modes: tuple[str, ...] = ()
    """Media types it takes; empty: those of the card."""
    output_modes: tuple[str, ...] = ()
    security_requirements: tuple[SecurityRequirement, ...] = ()


class AgentCard(msgspec.Struct, frozen=True):
    """What an agent is, offers and needs."""

    name: str
    description: str
    version: str = "1.0.0"
    """The agent's own version."""
    skills: tuple[AgentSkill, ...] = ()
    capabilities: AgentCapabilities = AgentCapabilities()
    default_input_modes: tuple[str, ...] = ("text/plain", "application/json")
    default_output_modes: tuple[str, ...] = ("text/plain", "application/json")
    supported_interfaces: tuple[AgentInterface, ...] = ()
    """In order of preference. Empty for an agent that is reached only inside its swarm."""
    provider: AgentProvider | None = None
    documentation_url: str | None = None
    icon_url: str | None = None
    security_schemes: dict[str, SecurityScheme] = {}
    security_requirements: tuple[SecurityRequirement, ...] = ()
    signatures: tuple[AgentCardSignature, ...] = ()
