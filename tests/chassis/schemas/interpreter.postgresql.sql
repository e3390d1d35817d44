CREATE TABLE active_labels (
  run_uid VARCHAR(32) NOT NULL,
  feature INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (run_uid, feature)
);
CREATE INDEX active_labels_changed ON active_labels (run_uid, changed_at);
CREATE TABLE interpretations (
  run_uid VARCHAR(32) NOT NULL,
  run TEXT NOT NULL,
  source JSON NOT NULL,
  attempt VARCHAR(32) NOT NULL,
  statistics_revision BIGINT NOT NULL,
  statistics_time TIMESTAMP WITHOUT TIME ZONE,
  label_revision BIGINT NOT NULL,
  families JSON,
  families_time TIMESTAMP WITHOUT TIME ZONE,
  delete_time TIMESTAMP WITHOUT TIME ZONE,
  PRIMARY KEY (run_uid)
);
CREATE INDEX interpretations_run ON interpretations (run);
CREATE TABLE labels (
  run_uid VARCHAR(32) NOT NULL,
  feature INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  text TEXT NOT NULL,
  description TEXT NOT NULL,
  source VARCHAR(16) NOT NULL,
  model TEXT NOT NULL,
  author TEXT NOT NULL,
  keywords JSON NOT NULL,
  options JSON,
  positive_rows JSON NOT NULL,
  negative_rows JSON NOT NULL,
  job TEXT NOT NULL,
  carried_from TEXT DEFAULT '' NOT NULL,
  create_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  PRIMARY KEY (run_uid, feature, revision)
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version (version_num) VALUES ('0002');
