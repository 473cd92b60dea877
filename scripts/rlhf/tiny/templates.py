"""The sentences with places in them that the instructions and the answers of the tiny world are made from."""

from collections.abc import Mapping

from rlhf.tiny import facts

FRAMES = ("{}", "Quick question: {}", "Hello! {}")
TABLE_FAMILIES: tuple[tuple[str, Mapping[str, str], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "opposites",
        facts.OPPOSITES,
        (
            "What is the opposite of {x}?",
            "Give me the opposite of {x}.",
            "Which word is the opposite of {x}?",
            "Name the opposite of {x}.",
            "Tell me the opposite of {x}.",
            "What is the contrary of {x}?",
        ),
        ("The opposite of {x} is {answer}.", "It is {answer}."),
    ),
    (
        "plurals",
        facts.PLURALS,
        (
            "What is the plural of {x}?",
            "Give me the plural of {x}.",
            "Which word is the plural of {x}?",
            "One {x}, but two of what?",
            "Tell me the plural of {x}.",
            "How do you write more than one {x}?",
        ),
        ("The plural of {x} is {answer}.", "It is {answer}."),
    ),
    (
        "past_tenses",
        facts.PAST_TENSES,
        (
            "What is the past tense of {x}?",
            "Give me the past tense of {x}.",
            "Today I {x}, but yesterday?",
            "Name the past tense of {x}.",
            "Tell me the past of {x}.",
            "How do you write {x} in the past?",
        ),
        ("The past tense of {x} is {answer}.", "It is {answer}."),
    ),
    (
        "colours",
        facts.COLOURS,
        (
            "What is the colour of {x}?",
            "Which colour does {x} have?",
            "Tell me the colour of {x}.",
            "Name the colour of {x}.",
            "Give me the colour of {x}.",
            "How would you paint {x}?",
        ),
        ("The colour of {x} is {answer}.", "It is {answer}."),
    ),
    (
        "capitals",
        facts.CAPITALS,
        (
            "What is the capital of {x}?",
            "Which city is the capital of {x}?",
            "Name the capital of {x}.",
            "Tell me the capital of {x}.",
            "Give me the capital city of {x}.",
            "From which city is {x} governed?",
        ),
        ("The capital of {x} is {answer}.", "It is {answer}."),
    ),
    (
        "young",
        facts.YOUNG,
        (
            "What is a young {x} called?",
            "Name the young of a {x}.",
            "How do you call a baby {x}?",
            "Tell me the word for a young {x}.",
            "Give me the name of a {x} baby.",
            "Which word means a very young {x}?",
        ),
        ("A young {x} is a {answer}.", "It is a {answer}."),
    ),
    (
        "spanish",
        facts.SPANISH,
        (
            "What is {x} in Spanish?",
            "How do you say {x} in Spanish?",
            "Translate {x} to Spanish.",
            "Give me the Spanish word for {x}.",
            "Tell me the Spanish for {x}.",
            "Which Spanish word means {x}?",
        ),
        ("The Spanish word is {answer}.", "It is {answer}."),
    ),
)
SUM_QUESTIONS = (
    "What is {a} plus {b}?",
    "How much is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "Compute {a} plus {b}.",
    "Tell me {a} plus {b}.",
)
CALENDAR_QUESTIONS = (
    "Which {unit} comes after {x}?",
    "What {unit} follows {x}?",
    "Name the {unit} after {x}.",
    "Tell me the next {unit} after {x}.",
    "Today it is {x}, which {unit} is next?",
    "{x} is over, what {unit} comes now?",
)
LIST_QUESTIONS = (
    "Name {n} {x}.",
    "List {n} {x}.",
    "Give me {n} {x}.",
    "Tell me {n} {x}.",
    "Which {n} {x} do you know?",
    "I need the names of {n} {x}.",
)
GREETING_QUESTIONS = {
    "Hello": ("Say hello to {x}.", "Greet {x}.", "Welcome my friend {x}.", "{x} is here, say hello."),
    "Goodbye": ("Say goodbye to {x}.", "{x} leaves, say goodbye.", "See off my friend {x}.", "Take leave of {x}."),
    "Thanks": ("Say thanks to {x}.", "Thank {x} for the gift.", "Thank my friend {x}.", "{x} helped me, say thanks."),
}
