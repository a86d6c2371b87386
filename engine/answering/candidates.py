"""Common answers to a question that came without choices, by how it begins."""

import re

COLOURS = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"),
    *("grey", "cyan"),
)
NUMBERS = ("none", "one", "two", "three", "four", "five", "six")
SHAPES = (
    *("circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart", "hexagon"),
    *("crescent", "arrow", "pentagon"),
)
THINGS = (
    *("a person", "a man", "a woman", "a child", "a baby", "a dog", "a cat", "a bird", "a horse"),
    *("a car", "a truck", "a bus", "a bicycle", "a motorcycle", "a boat", "a train", "a plane"),
    *("a ball", "a toy", "a book", "a phone", "a camera", "a computer", "a bag", "a box", "a cup"),
    *("a bottle", "a knife", "a tool", "food", "fruit", "a plant", "a flower", "a chair"),
    *("a table", "a bed", "clothes", "a hat", "an instrument", "a guitar", "water", "nothing"),
)
DOINGS = (
    *("stands still", "walks", "runs", "jumps", "dances", "sits", "lies down", "falls", "turns"),
    *("moves left", "moves right", "moves up", "moves down", "talks", "eats", "drinks", "cooks"),
    *("plays", "sings", "reads", "writes", "drives", "rides", "swims", "throws something"),
    *("picks something up", "opens something", "cuts something", "waves", "appears", "vanishes"),
)
PLACES = (
    *("indoors", "outdoors", "in a kitchen", "in a living room", "in an office", "in a shop"),
    *("on a street", "in a park", "at the beach", "in the water", "in a forest", "on a field"),
    *("on a stage", "in a car", "in the mountains", "at a station"),
)
_KINDS = (
    (r"(what|which) colou?r", COLOURS),
    (r"how many", NUMBERS),
    (r"(what|which) shape", SHAPES),
    (r"where", PLACES),
    (r"what (do|does|did|is|are|was|were)\b.*\b(do|doing)\b", DOINGS),
    (r"(is|are|was|were|do|does|did|can|has|have)\b", ("yes", "no")),
)


def candidates(question: str) -> tuple[str, ...]:
    """Return common answers to the question; things where its beginning tells nothing.

    >>> candidates("Is it raining?")
    ('yes', 'no')
    """
    asked = question.strip().lower()
    return next((answers for pattern, answers in _KINDS if re.match(pattern, asked)), THINGS)
