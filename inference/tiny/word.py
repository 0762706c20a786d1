"""The words and numbers of the conversations: names of people, places and articles, and numbers short and long.

All begin with a capital, and the tokenizer never joins a capital to the space before it: a name is the same one
token wherever it stands, and can be copied by looking for it. Names of made-up syllables were tried and not learnt in
minutes (docs/tiny.md).

A number's length is drawn first: a model copies one digit before it learns to copy the second, and the second before
the third. Were all numbers equally likely, nine in ten would be of full length, the first lesson the hardest.
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
    """From 1 on, of each length as often as of any other."""
    digits = rng.randint(1, len(str(greatest)))
    return rng.randint(10 ** (digits - 1), min(10**digits - 1, greatest))
