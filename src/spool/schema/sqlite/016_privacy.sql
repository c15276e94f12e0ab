-- Who has read the log. Other rows are not in it, and pay for it no more than a comparison.
CREATE INDEX event_reading ON event (sequence) WHERE kind = 'log read';
