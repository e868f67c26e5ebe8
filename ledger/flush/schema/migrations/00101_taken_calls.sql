-- +goose Up
-- Calls that another node has booked for this one when it was lost. Should it
-- come back, its own flush passes over them.
ALTER TABLE gateway_flush_cursor ADD COLUMN IF NOT EXISTS taken_calls TEXT[] NOT NULL DEFAULT '{}';
