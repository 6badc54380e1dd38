"""What an operator can set about a rental's life: the ``[rentals]`` table."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, Strict

Seconds = Annotated[int, Strict(), Field(ge=1, le=7 * 86_400)]
Hours = Annotated[float, Strict(), Field(gt=0, le=10_000)]


@dataclass(frozen=True)
class Life:
    """How long a rental may take to start, and be idle."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    #: Seconds for a rental to start; after that it is given up, uncharged.
    start_seconds: Seconds = 300
    #: The same for one whose image is still being pulled.
    pull_seconds: Seconds = 1800
    #: Hours without use after which a rental's user is warned, and its pod is looked into.
    idle_warning_hours: Hours = 12.0
    #: Hours without use after which a pod that is idle by every measure is released.
    idle_release_hours: Hours = 24.0
    #: Seconds between two looks into a pod, and how long one look measures.
    idle_look_every_seconds: Seconds = 300
    idle_look_seconds: Annotated[int, Strict(), Field(ge=1, le=60)] = 5

    def __post_init__(self) -> None:
        """Raise ValueError for what contradicts itself."""
        if self.idle_release_hours <= self.idle_warning_hours:
            raise ValueError("idle_release_hours must be more than idle_warning_hours")

    @property
    def idle_warning_ms(self) -> int:
        """`idle_warning_hours` in milliseconds."""
        return round(self.idle_warning_hours * 3_600_000)

    @property
    def idle_release_ms(self) -> int:
        """`idle_release_hours` in milliseconds."""
        return round(self.idle_release_hours * 3_600_000)
