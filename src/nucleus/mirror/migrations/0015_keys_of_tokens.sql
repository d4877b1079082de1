-- The token with which a key for signatures was obtained: the key ends with it. Without one it was obtained by a password.

ALTER TABLE signature_key ADD COLUMN IF NOT EXISTS token_id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL;
