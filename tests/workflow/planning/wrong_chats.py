"""Wrong columns, turns and template options of prompts: what is changed of config/micro.yaml, and what is said."""

from wrong_changes import INFINITE, Case

CHATS: list[Case] = [
    ({"prompts.turns": "sharegpt"}, ["prompts.turns: ", "'sharegpt'", "'role_content' or 'from_value'"]),
    ({"prompts.keep": "answer"}, ["prompts.keep: must be a list", "'answer'"]),
    ({"prompts.keep": [""]}, ["prompts.keep.0: ", "at least 1 character"]),
    ({"prompts.keep": ["a", "a"]}, ["prompts.keep: ", "'a' is there twice"]),
    ({"prompts.keep": ["response"]}, ["prompts.keep: ", "'response'", "another key of the records"]),
    ({"prompts.template": "no thoughts"}, ["prompts.template: must be a section", "'no thoughts'"]),
    (
        {"prompts.template": {"add_generation_prompt": False}},
        ["prompts.template: ", "'add_generation_prompt'", "no option"],
    ),
    ({"prompts.template": {"budget": INFINITE}}, ["prompts.template: ", "'budget'", "JSON"]),
    ({"prompts.dataset": "chats.jsonl"}, ["prompts.column: ", "'prompt'", "'messages'", "text or lists of turns"]),
    (
        {"prompts.dataset": "chats.jsonl", "prompts.column": "tags"},
        ["prompts.column: ", "'tags'", "holds lists of text", "'messages'"],
    ),
    (
        {"prompts.dataset": "chats.jsonl", "prompts.column": "messages", "prompts.keep": ["reference"]},
        ["prompts.keep: ", "no column 'reference'", "'answer'"],
    ),
]
