-- Whether a sign-in by a password has made the token: one of so many, of which the one that is unused for longest ends.

ALTER TABLE token ADD COLUMN IF NOT EXISTS is_session BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE token SET is_session = TRUE WHERE note IN ('login', 'signed in on the page') AND expires < created + INTERVAL 25 HOUR;
