CREATE TABLE metrics (
  run_uid VARCHAR(32) NOT NULL,
  step BIGINT NOT NULL,
  values JSON NOT NULL,
  PRIMARY KEY (run_uid, step)
);
CREATE TABLE runs (
  uid VARCHAR(32) NOT NULL,
  id VARCHAR(128) NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  dataset TEXT NOT NULL,
  dataset_uid VARCHAR(32) NOT NULL,
  source JSON NOT NULL,
  config JSON NOT NULL,
  attempt TEXT NOT NULL,
  shards JSON NOT NULL,
  revision BIGINT NOT NULL,
  job TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  device TEXT NOT NULL,
  create_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  update_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  train_time TIMESTAMP WITHOUT TIME ZONE,
  delete_time TIMESTAMP WITHOUT TIME ZONE,
  request_id VARCHAR(128),
  tags JSON DEFAULT '[]' NOT NULL,
  evaluation JSON,
  imported_from TEXT DEFAULT '' NOT NULL,
  latent_count BIGINT DEFAULT '0' NOT NULL,
  PRIMARY KEY (uid),
  UNIQUE (request_id)
);
CREATE UNIQUE INDEX runs_id ON runs (id) WHERE delete_time IS NULL;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version (version_num) VALUES ('0002');
