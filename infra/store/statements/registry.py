"""Statements of the model registry: versions, aliases, and the audit of what happened to them."""

from typing import Final

VERSION_COLUMNS: Final = ("name", "version", "artifact", "lineage", "metrics", "verdict", "created_at_us")
AUDIT_COLUMNS: Final = (
    "at_us", "action", "name", "alias", "from_version", "to_version", "actor", "reason", "previous_hash", "hash",
)  # fmt: skip

NEWEST_VERSION: Final = "SELECT max(version) FROM model_versions WHERE name = ?"
# In the order of `VERSION_COLUMNS`.
ADD_VERSION: Final = (
    f"INSERT INTO model_versions ({', '.join(VERSION_COLUMNS)}) VALUES ({', '.join('?' * len(VERSION_COLUMNS))})"
)
SET_METRICS: Final = "UPDATE model_versions SET metrics = ? WHERE name = ? AND version = ?"
SET_VERDICT: Final = "UPDATE model_versions SET verdict = ? WHERE name = ? AND version = ?"
_VERSIONS: Final = f"SELECT {', '.join(VERSION_COLUMNS)} FROM model_versions"
VERSIONS: Final = f"{_VERSIONS} ORDER BY name, version DESC"
VERSIONS_OF: Final = f"{_VERSIONS} WHERE name = ? ORDER BY version DESC"
# (name, version, verdict) of the newest version of each model.
NEWEST_VERDICTS: Final = (
    "SELECT name, version, verdict FROM model_versions v "
    "WHERE version = (SELECT max(version) FROM model_versions WHERE name = v.name) ORDER BY name"
)
# (name, version)
HAS_VERSION: Final = "SELECT 1 FROM model_versions WHERE name = ? AND version = ?"
ARTIFACT_OF: Final = "SELECT artifact FROM model_versions WHERE name = ? AND version = ?"
ARTIFACTS: Final = "SELECT artifact FROM model_versions"
# Every model that carries an alias: (alias).
ALIASED: Final = (
    "SELECT v.name, v.version, v.artifact FROM model_versions v "
    "JOIN model_aliases a ON a.name = v.name AND a.version = v.version WHERE a.alias = ?"
)
ALIASES: Final = "SELECT name, alias, version FROM model_aliases ORDER BY alias, name"
# Where an alias of a model is, and since when: (name, alias).
ALIAS_OF: Final = "SELECT version, set_at_us FROM model_aliases WHERE name = ? AND alias = ?"
REMOVE_ALIAS: Final = "DELETE FROM model_aliases WHERE name = ? AND alias = ?"
# (name, alias, version, set_at_us)
SET_ALIAS: Final = (
    "INSERT INTO model_aliases (name, alias, version, set_at_us) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version, set_at_us = excluded.set_at_us"
)
LAST_HASH: Final = "SELECT hash FROM model_audit ORDER BY id DESC LIMIT 1"
# In the order of `AUDIT_COLUMNS`.
APPEND_AUDIT: Final = f"INSERT INTO model_audit ({', '.join(AUDIT_COLUMNS)}) VALUES ({', '.join('?' * len(AUDIT_COLUMNS))})"
AUDIT: Final = f"SELECT {', '.join(AUDIT_COLUMNS)} FROM model_audit ORDER BY id"
HAS_RELEASE: Final = "SELECT 1 FROM releases WHERE id = ?"
# (id, models, bento, smoke, made_at_us); one that is built again takes the place of itself.
KEEP_RELEASE: Final = (
    "INSERT INTO releases (id, models, bento, smoke, made_at_us) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET bento = excluded.bento, smoke = excluded.smoke, made_at_us = excluded.made_at_us"
)
RELEASES: Final = "SELECT id, models, bento, smoke, made_at_us FROM releases ORDER BY made_at_us DESC, id"
# (name, artifact)
VERSION_OF_ARTIFACT: Final = "SELECT version FROM model_versions WHERE name = ? AND artifact = ?"
