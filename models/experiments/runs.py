"""Run of the experiment between dynamic and static weighting: it deals visitors by a split, is stopped, or has shipped.

Each run is an experiment of its own: its name and with it the deal are others, so a new split does not mix with what was seen
under the one before. What is answered outside of a running one carries a name of its own, too, and counts as no exposure.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from models.experiments.assignment import DYNAMIC_VS_STATIC, Experiment, assign

RUNNING, STOPPED, SHIPPED = "running", "stopped", "shipped"


@dataclass(frozen=True)
class Run:
    """Run of the experiment.

    Attributes
    ----------
    number
        Counts up from 1.
    share
        Of the visitors, dealt the treatment; above 0, below 1.
    winner
        What all visitors get, once shipped.

    Raises
    ------
    ValueError
        If state and winner do not fit together, or the winner is no variant.

    Examples
    --------
    >>> Run().experiment == DYNAMIC_VS_STATIC, Run(2, 0.9).experiment.name
    (True, 'dynamic_vs_static.2')
    >>> shipped = Run(2, 0.9, SHIPPED, "static")
    >>> shipped.variant_of("u-1"), shipped.name
    ('static', 'dynamic_vs_static.2.shipped')
    """

    number: int = 1
    share: float = 0.5
    state: str = RUNNING
    winner: str | None = None

    def __post_init__(self) -> None:
        if self.state not in (RUNNING, STOPPED, SHIPPED) or (self.state == SHIPPED) != (self.winner is not None):
            raise ValueError(f"a run is running, stopped, or shipped with a winner; got {self.state} and {self.winner}")
        if self.winner is not None and self.winner not in DYNAMIC_VS_STATIC.variants:
            raise ValueError(f"the winner must be one of {', '.join(DYNAMIC_VS_STATIC.variants)}, got {self.winner}")
        if not 0 < self.share < 1:
            raise ValueError(f"the share must be above 0 and below 1, got {self.share}")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that the run is while it runs."""
        name = DYNAMIC_VS_STATIC.name if self.number == 1 else f"{DYNAMIC_VS_STATIC.name}.{self.number}"
        return Experiment(name, DYNAMIC_VS_STATIC.salt, DYNAMIC_VS_STATIC.variants, (self.share, 1 - self.share))

    @cached_property
    def name(self) -> str:
        """Name under which answers go on record now."""
        return self.experiment.name if self.state == RUNNING else f"{self.experiment.name}.{self.state}"

    def variant_of(self, user_id: str) -> str:
        """Variant of a visitor now: dealt, or what won; the control's once it is stopped."""
        if self.state == RUNNING:
            return assign(self.experiment, user_id)
        return self.winner or self.experiment.control


FIRST: Final = Run()
NO_EXPOSURE: Final = (f".{STOPPED}", f".{SHIPPED}")  # ends of names under which nothing is compared
