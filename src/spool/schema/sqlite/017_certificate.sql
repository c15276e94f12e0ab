-- The certificate that a client had shown which was refused, and why it proves nothing where it does not.
ALTER TABLE refusal ADD COLUMN certificate TEXT;
