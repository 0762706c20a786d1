"""Routing: a ticket goes to the team whose work it is, if it is on duty, else to the helpdesk; and is it urgent?

The reason names the team whose work it is, and looks for it, before the answer does. Held out are combinations of the
complaint, who sends it and from where. A complaint itself is known from training: which team it belongs to is
knowledge, and cannot be worked out.
"""

import random
from collections.abc import Sequence

from inference.message import ChatMessage
from inference.tiny.conversation import Conversation, as_json
from inference.tiny.word import PEOPLE, PLACES

HELPDESK = "helpdesk"
COMPLAINTS: dict[str, tuple[str, ...]] = {
    "network": (
        "the wifi drops every hour",
        "no connection to the server",
        "the line is very slow",
        "the router is dead",
        "calls break off",
    ),
    "billing": (
        "the invoice is wrong",
        "a payment was taken twice",
        "the refund never came",
        "the price on the bill is too high",
        "the receipt is missing",
    ),
    "printing": (
        "the printer is out of ink",
        "paper is stuck in the printer",
        "pages come out blank",
        "the scanner shows stripes",
        "the copier is loud",
    ),
    "accounts": (
        "the password has expired",
        "a user is locked out",
        "a new user needs access",
        "the login page rejects me",
        "an old user must be removed",
    ),
    "security": (
        "a strange mail asks for data",
        "a laptop was stolen",
        "somebody opened the side door",
        "a virus was found",
        "a key card is lost",
    ),
    "storage": (
        "the disk is full",
        "a file was deleted by mistake",
        "the backup failed",
        "a folder cannot be opened",
        "the archive is broken",
    ),
    "building": (
        "the heating is cold",
        "a window is broken",
        "water drips from the roof",
        "the lift is stuck",
        "the lights flicker",
    ),
    "travel": (
        "a flight was cancelled",
        "the hotel is full",
        "a train ticket must be changed",
        "a visa is needed",
        "the rental car is missing",
    ),
}
TEAMS = tuple(COMPLAINTS)
_URGENT = ("Nobody can work.", "It is urgent.", "We need help at once.")
_CALM = ("It can wait.", "No hurry.", "Whenever you have time.")
_RULES = (
    "Route the ticket. Teams: {teams}. If none fits: helpdesk. Answer as JSON.",
    "Teams on duty: {teams}. Which one takes the ticket? If none, helpdesk. Answer as JSON.",
    "Give the team for the ticket as JSON, one of {teams}, else helpdesk.",
)
_TICKETS = ("{who} in {place}: {what}. {when}", "Ticket from {who}, {place}: {what}. {when}",
            "{when} In {place} {what}, says {who}.")  # fmt: skip


def route(team: str, teams: Sequence[str], urgent: bool) -> str:
    """The answer: whose work it is, and if that team is away, the team that gets it, and urgency, as JSON."""
    there = team in teams
    reason = f"is for {team}" if there else f"is for {team}, away"
    return as_json({"reason": reason, "team": team if there else HELPDESK, "urgent": urgent})


def route_messages(teams: Sequence[str], ticket: str, phrasing: int = 0) -> tuple[ChatMessage, ...]:
    """Asks where a ticket goes; `phrasing` chooses among the wordings."""
    rule = _RULES[phrasing % 3].format(teams=", ".join(teams))
    return (ChatMessage.system(rule), ChatMessage.user(ticket))


def ticket_text(who: str, place: str, what: str, urgent: bool, phrasing: tuple[int, int] = (0, 0)) -> str:
    """A ticket in words; `phrasing` chooses among the wordings."""
    when = (_URGENT if urgent else _CALM)[phrasing[1] % 3]
    return _TICKETS[phrasing[0] % 3].format(who=who, place=place, what=what, when=when)


def draw(rng: random.Random) -> Conversation:
    """A ticket, and two to four teams on duty, most often the right one among them."""
    team = rng.choice(TEAMS)
    what, who, place = rng.choice(COMPLAINTS[team]), rng.choice(PEOPLE), rng.choice(PLACES)
    urgent = rng.random() < 0.5
    others = rng.sample([other for other in TEAMS if other != team], rng.randint(2, 4))
    teams = others if rng.random() < 0.2 else [team, *others[1:]]
    rng.shuffle(teams)
    ticket = ticket_text(who, place, what, urgent, (rng.randrange(3), rng.randrange(3)))
    messages = route_messages(teams, ticket, rng.randrange(3))
    return Conversation("routing", f"route {what} / {who} / {place}", messages, route(team, teams, urgent))
