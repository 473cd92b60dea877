"""Wrong values of the section `publish`."""

from wrong_changes import Case

PUBLISHING: list[Case] = [
    ({"publish": True}, ["publish: must be a section", "True", "namespace"]),
    ({"publish.upload": True}, ["publish: `upload` needs a `namespace`"]),
    ({"publish.upload": "yes"}, ["publish.upload: must be ", "'yes'"]),
    ({"publish.private": None}, ["publish.private: must be ", "None"]),
    ({"publish.namespace": "a/b"}, ["publish.namespace: ", "'a/b'"]),
    ({"publish.policies": []}, ["publish.policies: ", "at least 1", "[]"]),
    ({"publish.policies": ["dpo-1"]}, ["publish.policies.0: nothing trains 'dpo-1'", "rebel-1, rebel-2, simpo-1"]),
    ({"publish.token": "hf_x"}, ["publish.token: there is no such key", "Allowed here: namespace"]),
    (
        {"publish": {"upload": True, "namespace": "my--org"}},
        ["publish.namespace: the hub allows no repository 'my--org/micro'", "no `--`"],
    ),
]
