"""Stories that a program can read, solve and make: coins, letters, objects and dates.

Each module has a frozen record of a story with `tell()`, the question; `steps()`, its exact
solution as pairs of subquestion and solution; and `answer`. `read(question)` is the inverse of
`tell()`, and `draw(rng, wanted)` makes a new story.
"""
