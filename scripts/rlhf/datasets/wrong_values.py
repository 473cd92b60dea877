"""Values of a dataset that cannot be used: all are counted, and the first ones shown."""

from dataclasses import dataclass, field

from rlhf.base.errors import UserError

SHOWN_ROWS = 5


@dataclass
class WrongValues:
    """What was found so far."""

    found: list[str] = field(default_factory=list)

    def add(self, row: int, column: str, value: object, wanted: str) -> None:
        """Keep a value for the message.

        Args:
            wanted: what the column must hold.
        """
        self.found.append(f"row {row}, column {column!r}: {value!r:.40} is not {wanted}")

    def refuse(self, where: str, missing: str) -> None:
        """Stop if there are any.

        Args:
            where: the dataset.
            missing: what may be null in it.

        Raises:
            UserError: names the first ones.
        """
        if self.found:
            shown = "\n  ".join(self.found[:SHOWN_ROWS])
            raise UserError(
                f"{where}: {len(self.found)} values cannot be used:\n  {shown}\n"
                f"Fix these rows; use null for a missing {missing}."
            )
