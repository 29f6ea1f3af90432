-- What a key may do beside its scopes becomes columns of the key.

ALTER TABLE api_keys ADD COLUMN origins TEXT NOT NULL DEFAULT '[]'; -- JSON array of pages that a browser key may be used from

ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER; -- NULL is the setting

UPDATE api_keys SET
    origins = (SELECT o.origins FROM key_options o WHERE o.key_hash = api_keys.key_hash),
    requests_per_minute = (SELECT o.requests_per_minute FROM key_options o WHERE o.key_hash = api_keys.key_hash)
WHERE key_hash IN (SELECT key_hash FROM key_options);

DROP TABLE key_options;
