"""Models as whoever serves asks for them, which change only where a test exchanges them."""

from models.model_set import ModelSet


class FixedModels:
    """A `services.serving.model_watch.ChampionSource` of one set."""

    def __init__(self, models: ModelSet) -> None:
        self.now = models

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def current(self) -> ModelSet:
        return self.now

    def problems(self) -> dict[str, str]:
        return {}
