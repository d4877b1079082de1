-- Leases that a host holds, for an operator who looks for machines that are in the way: also those of machines that the
-- database does not know any more (Known = 0), and fences that a host has not confirmed yet (State = 'fence').
CREATE OR REPLACE SQL SECURITY INVOKER VIEW vm_held_leases AS
SELECT
  l.Name AS Name,
  l.Host AS Host,
  CONVERT(l.State USING utf8mb4) AS State,
  l.Token AS Token,
  EXISTS (SELECT 1 FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = l.Name) AS Known
FROM vm_leases l
WHERE l.State <> 'released'
UNION ALL
SELECT
  f.Name,
  f.Host,
  'fence',
  f.Token,
  EXISTS (SELECT 1 FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = f.Name)
FROM vm_fences f;
