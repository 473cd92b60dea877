"""The facts of the tiny world: tables that map a subject to its right answer.

A table has few different answers, so that a small reward model can learn to tell right from wrong ones.
"""

from collections.abc import Mapping


def _table(**groups: str) -> Mapping[str, str]:
    """Invert `answer="subject subject ..."` into a mapping of subjects to answers."""
    return {subject: answer for answer, subjects in groups.items() for subject in subjects.split()}


COLOURS = _table(
    green="grass spinach cucumber frog moss lettuce",
    white="snow milk salt paper flour swan",
    black="coal night crow ink tar soot",
    red="blood tomato cherry strawberry ruby brick",
    yellow="banana lemon sun canary butter corn",
)
KINDS = _table(
    fruit="apple mango grape pear peach plum melon fig",
    animal="horse tiger rabbit wolf fox deer goat lion",
    vegetable="carrot onion cabbage leek turnip celery radish garlic",
    tool="hammer drill wrench chisel axe spade rake saw",
    drink="tea coffee cola juice wine beer cocoa lemonade",
    sport="football tennis hockey golf boxing rowing skiing cycling",
)
PLURAL_KINDS = {
    "fruit": "fruits",
    "animal": "animals",
    "vegetable": "vegetables",
    "tool": "tools",
    "drink": "drinks",
    "sport": "sports",
}
CONTINENTS = _table(
    Europe="France Germany Italy Spain Portugal Greece Austria Poland Norway",
    Asia="China Japan India Nepal Iran Iraq Vietnam Thailand Korea",
    Africa="Egypt Kenya Ghana Nigeria Mali Sudan Uganda Angola Chad",
    America="Canada Cuba Peru Chile Brazil Mexico Bolivia Panama Uruguay",
)
LEGS = _table(
    two="hen duck parrot ostrich penguin eagle",
    four="cow dog cat sheep pig camel",
    six="ant bee wasp fly beetle moth",
    none="snake worm eel snail shark whale",
)
MATERIALS = _table(
    wood="table chair door fence barrel ladder",
    metal="nail sword key coin bell anchor",
    glass="window bottle mirror lens jar vase",
    wool="sweater scarf blanket mitten sock carpet",
)
WORKPLACES = _table(
    hospital="doctor nurse surgeon midwife",
    school="teacher pupil principal tutor",
    farm="farmer shepherd milker ploughman",
    kitchen="cook baker chef dishwasher",
    ship="sailor captain pirate admiral",
    court="judge lawyer clerk bailiff",
)
LANGUAGES = _table(
    Spanish="perro gato leche libro luna noche casa agua",
    German="hund katze milch buch mond nacht haus wasser",
    French="chien chat lait livre lune nuit maison eau",
    Latin="canis felis lac liber nox domus aqua ignis",
)
WORD_CLASSES = _table(
    noun="river cloud stone garden letter bridge forest pencil",
    verb="bring carry forget listen arrive believe choose decide",
    adjective="happy clever narrow heavy gentle proud silent brave",
)
SEASONS = _table(
    winter="December January February",
    spring="March April May",
    summer="June July August",
    autumn="September October November",
)
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo"]
NUMBER_WORDS = {2: "two", 3: "three"}
LARGEST_SUM = 6
