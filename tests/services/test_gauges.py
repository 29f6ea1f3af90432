"""What a monitoring system learns of worker and retraining."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from infra.registry import champions
from infra.store.engines import open_store
from services.gauges import ABOUT, PREFIX, Gauges


def read(home: Path) -> dict[str, dict[str, float]]:
    families = text_string_to_metric_families(Gauges(home).text().decode())
    return {
        family.name.removeprefix(PREFIX): {next(iter(s.labels.values()), ""): s.value for s in family.samples}
        for family in families
    }


def test_gauges_tell_how_far_worker_and_models_are(crowned: Path) -> None:
    store = open_store(crowned)
    store.write(lambda transaction: store.tail("signals").move(transaction, 3, 2_000_000))
    found = read(crowned)
    assert found["champion_version"] == champions(crowned)
    assert found["worker_position"]["signals"] == 3
    assert found["worker_moved_timestamp_seconds"]["signals"] == 2.0
    assert found["trained_timestamp_seconds"].keys() >= champions(crowned).keys()
    assert found.keys() == ABOUT.keys()


def test_a_home_without_anything_has_gauges_without_a_label_only(tmp_path: Path) -> None:
    assert read(tmp_path) == {"log_position": {"": 0}, "deliveries_pending": {"": 0}, "quarantine_waiting": {"": 0}}
