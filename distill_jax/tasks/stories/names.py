"""Names for made stories: common first names, and made-up ones that no data set has."""

import random

_KNOWN = """
Aaron Abby Ada Adam Agnes Alan Albert Alex Alina Amos Amy Andy Angela Anita Anna Arthur Astrid
Barbara Basil Beatrice Ben Bernard Bianca Boris Brenda Bruno Carla Carol Caspar Cecil Chloe
Claudia Clive Connor Cora Cyril Daisy Damian Daphne Darius David Deborah Denise Derek Dominic
Doris Duncan Edgar Edith Edwin Eileen Elena Elias Ella Emil Emma Enid Erik Esther Ethan Eugene
Fabian Fatima Felix Fergus Fiona Flora Frank Freya Gavin Gemma George Gerard Gina Gloria Gordon
Grace Greta Gustav Hannah Harold Hazel Hector Helen Henry Hilda Howard Hugo Ian Ida Igor Imogen
Ingrid Iris Isaac Ivan Jack Jakob Jasmin Jean Jerome Jill Joanna Joel Jonas Joy Judith Julian
Karen Karl Kate Keith Kenneth Klara Kurt Lara Laszlo Laura Lena Leonard Lewis Linda Lionel Lisa
Livia Lorenz Lucas Lucy Luke Lydia Mabel Magnus Marcel Margot Maria Martin Matilda Maxim Megan
Milan Miriam Monica Moses Nadia Naomi Nathan Neil Nicole Nigel Nina Noah Nora Norman Olaf Olga
Oliver Omar Oscar Otto Pablo Pamela Patrick Paula Peggy Petra Philip Piotr Polly Quentin Rachel
Ralph Ramon Regina Rex Rhoda Richard Rita Robert Roland Rosa Rupert Ruth Salim Samuel Sandra
Saul Selma Silas Simon Sonia Stefan Stella Sven Sylvia Tara Thelma Theo Tobias Tomas Trevor Trudy
Ulrich Ursula Valerie Vera Victor Vincent Viola Walter Wendy Wilma Winston Xenia Yannick Yusuf
Yvonne Zack Zelda
"""
KNOWN = tuple(_KNOWN.split())

_ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "eo")
_ENDINGS = ("", "", "n", "r", "s", "l", "k", "m", "th", "x")


def draw(rng: random.Random, count: int, *, new: bool) -> list[str]:
    """`count` different names; `new`: made-up ones of two to four syllables.

    >>> draw(random.Random(0), 2, new=False), draw(random.Random(0), 2, new=True)
    (['Zack', 'Jasmin'], ['Salutos', 'Puglufin'])
    """
    if not new:
        return rng.sample(KNOWN, count)
    names: list[str] = []
    while len(names) < count:
        syllables = rng.randint(2, 4)
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables))
        name = (word + rng.choice(_ENDINGS)).capitalize()
        if name not in names and name not in KNOWN:
            names.append(name)
    return names
