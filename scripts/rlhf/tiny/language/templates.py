"""Sentence templates for the instructions and answers of the tiny world."""

from collections.abc import Mapping

from rlhf.tiny.language import facts

FRAMES = ("{}", "Quick question: {}", "Hello! {}")
TABLE_FAMILIES: tuple[tuple[str, Mapping[str, str], tuple[str, ...], tuple[str, ...]], ...] = (
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
        "kinds",
        facts.KINDS,
        (
            "What kind of thing is {x}?",
            "Which kind does {x} belong to?",
            "Tell me what {x} is.",
            "Sort {x} into a kind.",
            "Name the kind of {x}.",
            "What would you call {x}?",
        ),
        ("The word {x} names a kind of {answer}.", "It is a kind of {answer}."),
    ),
    (
        "continents",
        facts.CONTINENTS,
        (
            "On which continent is {x}?",
            "Where in the world is {x}?",
            "Name the continent of {x}.",
            "Tell me the continent of {x}.",
            "Which continent does {x} belong to?",
            "I travel to {x}, which continent is that?",
        ),
        ("The country {x} is in {answer}.", "It is in {answer}."),
    ),
    (
        "legs",
        facts.LEGS,
        (
            "How many legs does a {x} have?",
            "Count the legs of a {x}.",
            "Tell me the number of legs of a {x}.",
            "On how many legs does a {x} walk?",
            "What number of legs has a {x}?",
            "Give me the number of legs of a {x}.",
        ),
        ("The number of legs of a {x} is {answer}.", "The number is {answer}."),
    ),
    (
        "materials",
        facts.MATERIALS,
        (
            "What is a {x} made of?",
            "Tell me what a {x} is made of.",
            "Name the material of a {x}.",
            "From what do you make a {x}?",
            "Which material is used for a {x}?",
            "Give me the material of a {x}.",
        ),
        ("A {x} is made of {answer}.", "It is made of {answer}."),
    ),
    (
        "workplaces",
        facts.WORKPLACES,
        (
            "Where does a {x} work?",
            "Tell me where a {x} works.",
            "Name the place of work of a {x}.",
            "In which place do you find a {x}?",
            "Where would I meet a {x}?",
            "Give me the workplace of a {x}.",
        ),
        ("A {x} works in a {answer}.", "It is a {answer}."),
    ),
    (
        "languages",
        facts.LANGUAGES,
        (
            "Which language is {x}?",
            "From which language is the word {x}?",
            "Tell me the language of {x}.",
            "Name the language of the word {x}.",
            "In what language do people say {x}?",
            "Give me the language of {x}.",
        ),
        ("The word {x} is {answer}.", "It is {answer}."),
    ),
    (
        "word_classes",
        facts.WORD_CLASSES,
        (
            "Which part of speech is {x}?",
            "Is {x} a noun, a verb or an adjective?",
            "Tell me the part of speech of {x}.",
            "Name the word class of {x}.",
            "What class of word is {x}?",
            "Give me the word class of {x}.",
        ),
        ("The word {x} is a word of the class {answer}.", "Its class is {answer}."),
    ),
    (
        "seasons",
        facts.SEASONS,
        (
            "In which season is {x}?",
            "Which season does {x} belong to?",
            "Tell me the season of {x}.",
            "Name the season of {x}.",
            "What season is it in {x}?",
            "Give me the season of {x}.",
        ),
        ("The month of {x} is in {answer}.", "It is in {answer}."),
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
DAY_QUESTIONS = (
    "Which day comes after {x}?",
    "What day follows {x}?",
    "Name the day after {x}.",
    "Tell me the next day after {x}.",
    "Today is {x}, which day is next?",
    "{x} is over, what day comes now?",
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
