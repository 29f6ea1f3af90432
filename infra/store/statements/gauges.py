"""Statements of gauges: how far the worker and the models are, as a monitoring system asks every few seconds."""

from typing import Final

# Rows of (gauge, label, value); instants in microseconds.
GAUGES: Final = (
    "SELECT 'log_position', '', coalesce(max(seq), 0) FROM events "
    "UNION ALL SELECT 'log_received_timestamp_seconds', '', max(received_at_us) FROM events "
    "WHERE seq = (SELECT max(seq) FROM events) "
    "UNION ALL SELECT 'delivery_oldest_timestamp_seconds', '', min(created_at_us) FROM deliveries WHERE state = 'pending' "
    "UNION ALL SELECT 'worker_position', name, seq FROM cursors "
    "UNION ALL SELECT 'worker_moved_timestamp_seconds', name, moved_at_us FROM cursors "
    "UNION ALL SELECT 'deliveries_pending', '', count(*) FROM deliveries WHERE state = 'pending' "
    "UNION ALL SELECT 'champion_version', name, version FROM model_aliases WHERE alias = 'champion' "
    "UNION ALL SELECT 'champion_timestamp_seconds', name, set_at_us FROM model_aliases WHERE alias = 'champion' "
    "UNION ALL SELECT 'trained_timestamp_seconds', name, max(created_at_us) FROM model_versions GROUP BY name"
)
