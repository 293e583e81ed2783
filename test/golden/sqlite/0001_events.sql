-- 1: events

CREATE TABLE effect_decider_migrations (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE effect_decider_events (
  position INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version BETWEEN 1 AND CASE WHEN position < 0 THEN 2147483648 ELSE 2147483647 END),
  recorded_at INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  tags TEXT,
  metadata TEXT NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (stream, version)
) STRICT;

CREATE TABLE effect_decider_tags (
  tag TEXT NOT NULL,
  position INTEGER NOT NULL,
  type TEXT NOT NULL,
  PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER effect_decider_tags_insert AFTER INSERT ON effect_decider_events WHEN new.tags IS NOT NULL BEGIN
  INSERT INTO effect_decider_tags (tag, position, type) SELECT value, new.position, new.type FROM json_each(new.tags);
END;

CREATE TABLE effect_decider_idempotency (
  key TEXT NOT NULL PRIMARY KEY,
  recorded_at INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  outcome TEXT NOT NULL
) STRICT;

CREATE INDEX effect_decider_idempotency_recorded_at ON effect_decider_idempotency (recorded_at);

CREATE TABLE effect_decider_snapshots (
  stream TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  saved_at INTEGER NOT NULL,
  checksum TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (stream, key)
) STRICT;

CREATE TABLE effect_decider_consumers (
  consumer TEXT NOT NULL PRIMARY KEY,
  position INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  holder TEXT,
  held_until INTEGER,
  is_paused INTEGER NOT NULL,
  failure TEXT,
  rate REAL NOT NULL
) STRICT;

CREATE TABLE effect_decider_parked (
  consumer TEXT NOT NULL,
  position INTEGER NOT NULL,
  key TEXT NOT NULL,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL,
  type TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  is_due INTEGER NOT NULL,
  PRIMARY KEY (consumer, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX effect_decider_parked_key ON effect_decider_parked (consumer, key, position);

CREATE TABLE effect_decider_documents (
  collection TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE effect_decider_deadlines (
  process TEXT NOT NULL,
  instance TEXT NOT NULL,
  key TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  wake_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  PRIMARY KEY (process, instance, key, due_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX effect_decider_deadlines_wake_at ON effect_decider_deadlines (process, wake_at);

CREATE TABLE effect_decider_projections (
  name TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  is_inline INTEGER NOT NULL
) STRICT;

CREATE TABLE effect_decider_running (id INTEGER PRIMARY KEY, projections TEXT NOT NULL) STRICT;

INSERT INTO effect_decider_running (id, projections) VALUES (1, '[]');
