-- +goose Up
-- The gateway's own tables.

-- How far each node's calls are written: moved in the same transaction as the
-- rows, so that a call is written exactly once.
CREATE TABLE IF NOT EXISTS gateway_flush_cursor (
  node_id TEXT PRIMARY KEY,
  last_seq BIGINT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Exact sums in nano-dollars by what a call counts for. Window 0 is all time,
-- others are the start of a budget's window in Unix seconds. offset_nanos counts
-- beside the sum in its window: a spend set by hand, or one from before.
-- shown_window, in the row of window 0, is the window whose spend the spend
-- columns show, 0 for all time.
CREATE TABLE IF NOT EXISTS gateway_spend (
  level TEXT NOT NULL,
  id TEXT NOT NULL,
  window_start BIGINT NOT NULL,
  spend_nanos BIGINT NOT NULL DEFAULT 0,
  offset_nanos BIGINT NOT NULL DEFAULT 0,
  shown_window BIGINT NOT NULL DEFAULT 0,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  PRIMARY KEY (level, id, window_start)
) WITH (fillfactor = 80);

-- How far the replicated state is written, by its index.
CREATE TABLE IF NOT EXISTS gateway_state_cursor (
  name TEXT PRIMARY KEY,
  index BIGINT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- +goose Down
-- What stands here stands nowhere else: nothing is taken away.
SELECT 1;
