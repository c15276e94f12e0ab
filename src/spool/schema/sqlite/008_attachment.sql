-- What an attachment really is, by its content; NULL: it came before that was looked at.

ALTER TABLE attachment ADD COLUMN kind TEXT;
