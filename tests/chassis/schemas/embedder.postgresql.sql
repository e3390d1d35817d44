CREATE TABLE datasets (
  uid VARCHAR(32) NOT NULL,
  id VARCHAR(128) NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  embedding_model TEXT NOT NULL,
  dimension INTEGER NOT NULL,
  revision BIGINT NOT NULL,
  next_row BIGINT NOT NULL,
  create_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  update_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  delete_time TIMESTAMP WITHOUT TIME ZONE,
  request_id VARCHAR(128),
  PRIMARY KEY (uid),
  UNIQUE (request_id)
);
CREATE UNIQUE INDEX datasets_id ON datasets (id) WHERE delete_time IS NULL;
CREATE TABLE documents (
  dataset_uid VARCHAR(32) NOT NULL,
  row BIGINT NOT NULL,
  id VARCHAR(128) NOT NULL,
  key TEXT NOT NULL,
  text TEXT NOT NULL,
  text_bytes INTEGER NOT NULL,
  metadata JSON NOT NULL,
  state VARCHAR(16) NOT NULL,
  failure JSON,
  embedding_truncated BOOLEAN NOT NULL,
  revision BIGINT NOT NULL,
  create_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  update_time TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  deleted BOOLEAN NOT NULL,
  shard TEXT,
  position INTEGER,
  PRIMARY KEY (dataset_uid, row)
);
CREATE INDEX documents_id ON documents (dataset_uid, id);
CREATE UNIQUE INDEX documents_key ON documents (dataset_uid, key) WHERE NOT deleted;
CREATE INDEX documents_revision ON documents (dataset_uid, revision, row);
CREATE INDEX documents_state ON documents (dataset_uid, state, row);
CREATE TABLE imports (
  request_id VARCHAR(128) NOT NULL,
  dataset_uid VARCHAR(32) NOT NULL,
  report BYTEA NOT NULL,
  PRIMARY KEY (request_id)
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version (version_num) VALUES ('0001');
