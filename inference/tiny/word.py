"""The words of the conversations: names of people, places and articles, and names that nobody has seen before.

Half of the names are made of syllables, two or three of 70, so that copying is learnt and not the list. All names begin
with a capital: the tokenizer never joins a capital to the space before it, so a name is the same tokens wherever it
stands, which is what an induction head copies (Olsson et al., In-context learning and induction heads, 2022).
"""

import random

PEOPLE = tuple(
    "Ada Amir Ana Boris Carla Chen Dana Diego Elif Emil Erik Fatima Finn Greta Hana Hugo Ida Ines Ivan Jonas Julia "
    "Kofi Lara Leo Lin Lucia Maja Marek Mira Nadia Nils Nora Olga Omar Otto Pavel Petra Quinn Rosa Sami Sara Sven "
    "Tara Teo Tilda Uma Viktor Wanda Yara Zoe".split()
)
PLACES = tuple(
    "Accra Athens Bergen Berlin Bogota Boston Cairo Chennai Dakar Delhi Dublin Fez Geneva Hanoi Havana Izmir Kyiv "
    "Kyoto Lagos Lima Lisbon London Lyon Madrid Malmo Manila Milan Nairobi Osaka Oslo Paris Porto Prague Quito Riga "
    "Rome Seoul Sofia Tallinn Tokyo Turin Vienna Warsaw Zagreb Zurich".split()
)
ARTICLES = tuple(
    "Anvil Axle Barrel Battery Bearing Bolt Bottle Bracket Brush Bucket Cable Camera Candle Chain Clamp Crate Drill "
    "Engine Fan Filter Flask Fuse Gear Hammer Hinge Hook Kettle Ladder Lamp Lens Lever Magnet Mirror Motor Needle "
    "Nozzle Pipe Plug Pump Rail Rope Saw Screw Sensor Shelf Spring Switch Tent Tile Valve Wheel".split()
)
_SYLLABLES = tuple(first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou")


def made_up(rng: random.Random) -> str:
    """A name of two or three syllables."""
    return "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 3)))).capitalize()


def name_of(rng: random.Random, names: tuple[str, ...]) -> str:
    """One of the names, or one made up."""
    return rng.choice(names)


def names_of(rng: random.Random, names: tuple[str, ...], count: int) -> list[str]:
    """As many different names."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[name_of(rng, names)] = None
    return list(found)
