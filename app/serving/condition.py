"""What is wrong with what is stored, as far as this process knows: told in ``/health/ready``."""

import logging

logger = logging.getLogger("orchard")


class Condition:
    """Sentences about damage and failures, one by subject; each is logged when it is new."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, subject: str, sentence: str | None) -> None:
        """Say what is wrong with a subject; None: nothing is, or no longer."""
        if sentence is None:
            self._told.pop(subject, None)
        elif self._told.get(subject) != sentence:
            self._told[subject] = sentence
            logger.error(sentence)

    @property
    def details(self) -> list[str]:
        """All that is wrong, in the order in which it was found."""
        return list(self._told.values())
