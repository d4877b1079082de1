-- nginx receives uploads as files. An image that came in parts and was not whole is no operation's.

DELETE FROM image WHERE state = 'uploading' AND NOT EXISTS (
  SELECT 1 FROM operation o WHERE o.kind = 'add_image' AND o.state IN ('queued', 'running')
    AND JSON_VALUE(o.arguments, '$.image') = image.id
);

DROP TABLE IF EXISTS upload;
