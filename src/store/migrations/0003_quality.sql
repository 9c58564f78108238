-- The quality that was learned of a source.
ALTER TABLE sources ADD COLUMN fair_quality BIGINT;
