"""What a user's function or server gives for a response: a number, nothing, or a number with objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeGuard

from rlhf.base.errors import UserError
from rlhf.rewards.schema import NO_REWARD
from rlhf.rewards.scorer import Conversation, Score

REWARD, OBJECTIVES = "reward", "objectives"
SHOWN_CHARACTERS = 200


class ScoreReader:
    """Reads the values of one function or server. Their objectives must have the same names everywhere.

    Args:
        source: who gave the values, for errors.
        is_number: whether a value is a number that is finite as float32.
        nothing: what stands for no score.
    """

    def __init__(self, source: str, is_number: Callable[[object], bool], nothing: str) -> None:
        self.source, self.is_number, self.nothing = source, is_number, nothing
        self._names: tuple[str, ...] | None = None  # of the first score; empty if it has no objectives

    @property
    def facts(self) -> dict[str, list[str]]:
        """For the provenance: the names of the objectives, in the order of `Score.objectives`, if there are any."""
        return {OBJECTIVES: list(self._names)} if self._names else {}

    def read(self, value: object, conversation: Conversation, where: str = "") -> Score:
        """The score of a conversation.

        Args:
            value: a number, nothing, `{"reward": ..., "objectives": {name: number}}`, or the two as a pair.
            where: which value it is, for errors.

        Raises:
            UserError: it is something else, or its objectives are not those of the scores before; shows the texts.
        """
        number, objectives = self._parts(value, conversation, where)
        if number is None:
            return Score(None, NO_REWARD)
        if not self._is_real(number):
            why = f"which is neither a finite float32 number nor {self.nothing}"
            raise self._error(value, where, why, conversation)
        if self._names is None:
            self._names = tuple(objectives)
        if set(objectives) != set(self._names):
            known = ", ".join(self._names) or "none"
            why = f"whose objectives are not those of the scores before ({known})"
            raise self._error(value, where, why, conversation)
        found = []
        for name in self._names:
            one = objectives[name]
            if not self._is_real(one):
                raise self._error(value, where, f"whose objective {name!r} is no finite float32 number", conversation)
            found.append(float(one))
        return Score(float(number), None, found or None)

    def _parts(self, value: object, conversation: Conversation, where: str) -> tuple[object, Mapping[str, object]]:
        """The reward, and the objectives by name: none where it is a number alone."""
        objectives: object = None
        if isinstance(value, Mapping):
            if not {REWARD} <= value.keys() <= {REWARD, OBJECTIVES}:
                raise self._error(value, where, f"whose keys are not `{REWARD}` and `{OBJECTIVES}`", conversation)
            number, objectives = value[REWARD], value.get(OBJECTIVES)
        elif isinstance(value, tuple | list) and len(value) == 2:
            number, objectives = value
        else:
            return value, {}
        if objectives is None:
            return number, {}
        if not isinstance(objectives, Mapping) or not all(isinstance(name, str) for name in objectives):
            raise self._error(value, where, "whose objectives are no mapping of names to numbers", conversation)
        return number, objectives

    def _is_real(self, value: object) -> TypeGuard[float]:
        return self.is_number(value)

    def _error(self, value: object, where: str, why: str, conversation: Conversation) -> UserError:
        prompt, response = conversation.prompt[:SHOWN_CHARACTERS], conversation.response[:SHOWN_CHARACTERS]
        return UserError(
            f"{self.source} returned {value!r:.200}{where}, {why}. Allowed: a number, {self.nothing} (no score), or "
            f'{{"{REWARD}": number, "{OBJECTIVES}": {{name: number}}}}. Prompt: {prompt!r}. Response: {response!r}'
        )
