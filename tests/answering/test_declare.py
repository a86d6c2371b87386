"""Questions become what would be seen if an answer were true."""

import pytest

from engine.answering.declare import declare


@pytest.mark.parametrize(
    ("question", "choice", "stated"),
    [
        ("What colour is the star?", "red", "red star"),
        ("Which color are the cars?", "blue", "blue cars"),
        ("What shape is the red object?", "circle", "the red object, circle"),
        ("How many dogs are there?", "two", "two dogs"),
        ("How many people are in the room?", "three", "three people in the room"),
        ("What is the man holding?", "a cup", "the man holding a cup"),
        ("What is the man doing?", "walking", "the man walking"),
        ("What does it do after the dog barks?", "runs", "it runs after the dog barks"),
        ("What pattern does the heart have?", "striped", "the heart, striped pattern"),
        ("Where is the cat?", "on the sofa", "the cat on the sofa"),
        ("Who is jumping?", "a boy", "a boy jumping"),
        ("Is it raining?", "yes", "it raining"),
        ("Why does she laugh", "a joke", "why does she laugh a joke"),
        ("What?", "x", "what x"),
        ("", "x", "x"),
    ],
)
def test_statements(question: str, choice: str, stated: str) -> None:
    assert declare(question, choice) == stated
