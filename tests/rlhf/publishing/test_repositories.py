"""Names of repositories are checked as the hub's own client checks them."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from rlhf.publishing.repositories import LONGEST_NAME, NAME, check_publishing, published_policies, repositories
from rlhf.publishing.settings import PublishSettings

TRAINED = ["rebel-1", "rebel-2", "dpo-1"]
PART = st.text("ab1_.-", min_size=1, max_size=8)


@given(PART, PART)
def test_a_name_that_is_allowed_is_one_of_the_hub(namespace: str, name: str) -> None:
    if NAME.fullmatch(f"{namespace}/{name}"):
        validate_repo_id(f"{namespace}/{name}")


@pytest.mark.parametrize("name", ["a/b", "my-org/llama3-8b.v2-rebel_a-1", "a_b/9"])
def test_usual_names_are_allowed(name: str) -> None:
    assert NAME.fullmatch(name)
    validate_repo_id(name)


@pytest.mark.parametrize("name", ["a/b--c", "a/b..c", "-a/b", "a/b-", "a/.b", "a", "a/b/c"])
def test_other_names_are_not(name: str) -> None:
    assert not NAME.fullmatch(name)
    if "/" in name:
        with pytest.raises(HFValidationError):
            validate_repo_id(name)


def test_each_policy_has_a_repository() -> None:
    assert repositories(PublishSettings(), "mine", TRAINED) == {}
    assert repositories(PublishSettings(namespace="org"), "mine", ["dpo-1"]) == {
        "dataset": "org/mine",
        "models/dpo-1": "org/mine-dpo-1",
    }
    assert published_policies(PublishSettings(policies=["dpo-1", "rebel-1"]), TRAINED) == ["rebel-1", "dpo-1"]


def test_what_cannot_be_published_is_named() -> None:
    check_publishing(PublishSettings(namespace="org"), "a--b", TRAINED)  # nothing is uploaded
    with pytest.raises(ValueError, match=r"publish\.policies\.1: nothing trains 'rebel-3'; allowed: rebel-1, rebel-2"):
        check_publishing(PublishSettings(policies=["dpo-1", "rebel-3"]), "mine", TRAINED)
    for name in ("a--b", "a.", LONGEST_NAME * "a"):
        with pytest.raises(ValueError, match=r"publish\.namespace: the hub allows no repository 'org/"):
            check_publishing(PublishSettings(namespace="org", upload=True), name, TRAINED)
    with pytest.raises(ValueError, match="`upload` needs a `namespace`"):
        PublishSettings(upload=True)
