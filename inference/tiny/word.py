"""The words and numbers of the conversations: names of people, places and articles, and numbers.

All begin with a capital, and the tokenizer never joins a capital to the space before it: a name is the same one
token wherever it stands, and can be copied by looking for it. Names of made-up syllables were tried and not learnt in
minutes (docs/tiny.md).

Numbers have two digits at most and are one token each: what is copied, or compared, is one token.
"""

import random

PEOPLE = (
    "Ada", "Amir", "Ana", "Boris", "Carla", "Chen", "Dana", "Diego", "Elif", "Emil", "Erik", "Fatima",
    "Finn", "Greta", "Hana", "Hugo", "Ida", "Ivan", "Jonas", "Kofi", "Lara", "Leo", "Lucia", "Mira",
    "Nadia", "Nils", "Olga", "Omar", "Petra", "Rosa", "Sami", "Zoe",
)  # fmt: skip
PLACES = (
    "Accra", "Athens", "Bergen", "Berlin", "Bogota", "Boston", "Cairo", "Dakar", "Delhi", "Dublin", "Fez",
    "Geneva", "Hanoi", "Havana", "Kyiv", "Kyoto", "Lagos", "Lima", "Lisbon", "London", "Lyon", "Madrid",
    "Milan", "Nairobi", "Oslo", "Paris", "Porto", "Quito", "Riga", "Rome", "Seoul", "Tokyo",
)  # fmt: skip
ARTICLES = (
    "Anvil", "Axle", "Barrel", "Battery", "Bolt", "Bottle", "Brush", "Bucket", "Cable", "Camera", "Candle",
    "Chain", "Clamp", "Crate", "Drill", "Engine", "Fan", "Filter", "Fuse", "Gear", "Hammer", "Hinge",
    "Kettle", "Ladder", "Lamp", "Lever", "Magnet", "Mirror", "Motor", "Pump", "Rope", "Valve",
)  # fmt: skip


def number(rng: random.Random, greatest: int) -> int:
    """From 1 to the greatest, all equally likely."""
    return rng.randint(1, greatest)
