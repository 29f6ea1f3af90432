"""Models that never change, as whoever serves asks for them."""

from models.model_set import ModelSet


class FixedModels:
    """A `services.serving.model_watch.ChampionSource` of one set."""

    def __init__(self, models: ModelSet) -> None:
        self._models = models

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def current(self) -> ModelSet:
        return self._models

    def problems(self) -> dict[str, str]:
        return {}
