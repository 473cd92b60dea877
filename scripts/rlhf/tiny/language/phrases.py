"""Sentences around the answer itself: polite ones, rude ones, filler and refusals; and thoughts before it."""

POLITE_OPENINGS = ("Sure!", "Of course!", "Happy to help!", "Great question!", "Thank you for asking!")
POLITE_CLOSINGS = ("I hope that helps!", "Have a nice day!", "Let me know if you need more!", "You are welcome to ask!")
RUDE_OPENINGS = ("What a silly question.", "You should know this.", "Stop wasting my time.", "How boring.")
RUDE_CLOSINGS = ("Now go away.", "Do not ask again.", "Think for yourself next time.", "Everybody knows that.")
FILLER = (
    "There is a lot to say about this.",
    "Many people wonder about it.",
    "This is a well known topic.",
    "It depends on how you look at it.",
    "Let us think about it for a moment.",
    "Some say it is hard to explain.",
    "As always, the details matter.",
    "One could write a book about it.",
)
REFUSALS = ("I cannot help with that.", "I do not know.", "I would rather not answer.", "That is beyond me.")
OPEN_THOUGHT, CLOSE_THOUGHT = "<think>", "</think>"
THOUGHTS = ("Let me think: {answer}.", "What do I know? {answer}.", "It must be {answer}.")
"""With the right answer."""

POLITE = POLITE_OPENINGS + POLITE_CLOSINGS
RUDE = RUDE_OPENINGS + RUDE_CLOSINGS
