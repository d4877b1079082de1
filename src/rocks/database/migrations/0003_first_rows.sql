-- What every cluster begins with. A site's own rows (networks, the frontend, its routes) come with the frontend.

INSERT INTO distributions (ID, Name) VALUES (1, 'rocks-dist');

INSERT INTO appliances (ID, Name, Node) VALUES
  (1, 'frontend', 'server'),
  (2, 'compute', 'compute'),
  (3, 'login', 'login'),
  (4, 'nas', 'nas'),
  (5, 'network', ''),
  (6, 'power', '');

-- 2 is the membership that `nodes` gives to a host by default.
INSERT INTO memberships (ID, Name, Appliance, Distribution, Public) VALUES
  (1, 'Frontend', 1, 1, 'no'),
  (2, 'Compute', 2, 1, 'yes'),
  (3, 'Login', 3, 1, 'yes'),
  (4, 'NAS Appliance', 4, 1, 'yes'),
  (5, 'Ethernet Switch', 5, 1, 'yes'),
  (6, 'Power Distribution Unit', 6, 1, 'yes');

INSERT INTO categories (ID, Name, Description) VALUES
  (1, 'global', 'every host'),
  (2, 'os', 'hosts with the same operating system'),
  (3, 'appliance', 'hosts of the same appliance'),
  (4, 'rack', 'hosts in the same rack'),
  (5, 'host', 'one host');

INSERT INTO resolvechain (Name, Category, Precedence) VALUES
  ('default', 1, 10),
  ('default', 2, 20),
  ('default', 3, 30),
  ('default', 4, 40),
  ('default', 5, 50);

INSERT INTO catindex (Name, Category) VALUES ('global', 1), ('linux', 2), ('sunos', 2);

INSERT INTO catindex (Name, Category) SELECT Name, 3 FROM appliances;

INSERT INTO attributes (Attr, Value, Category, Catindex)
SELECT w.Attr, w.Value, i.Category, i.ID
FROM (
  SELECT 'linux' AS Member, 'HttpRoot' AS Attr, '/var/www/html' AS Value
  UNION ALL SELECT 'linux', 'HttpConf', '/etc/httpd/conf'
  UNION ALL SELECT 'linux', 'HttpConfigDirExt', '/etc/httpd/conf.d'
  UNION ALL SELECT 'linux', 'RootDir', '/root'
  UNION ALL SELECT 'sunos', 'HttpRoot', '/var/apache2/2.2/htdocs'
  UNION ALL SELECT 'sunos', 'HttpConf', '/etc/apache2/2.2'
  UNION ALL SELECT 'sunos', 'HttpConfigDirExt', '/etc/apache2/2.2/conf.d'
  UNION ALL SELECT 'sunos', 'RootDir', '/'
) w
JOIN catindex i ON i.Name = w.Member AND i.Category = 2;

INSERT INTO attributes (Attr, Value, Category, Catindex)
SELECT w.Attr, w.Value, i.Category, i.ID
FROM (
  SELECT 'frontend' AS Member, 'managed' AS Attr, 'false' AS Value
  UNION ALL SELECT 'compute', 'managed', 'true'
  UNION ALL SELECT 'nas', 'managed', 'true'
  UNION ALL SELECT 'network', 'managed', 'false'
  UNION ALL SELECT 'power', 'managed', 'false'
  UNION ALL SELECT 'frontend', 'primary_net', 'public'
) w
JOIN catindex i ON i.Name = w.Member AND i.Category = 3;

-- An appliance with a root node file can be installed.
INSERT INTO attributes (Attr, Value, Category, Catindex)
SELECT 'kickstartable', IF(a.Node = '', 'no', 'yes'), i.Category, i.ID
FROM appliances a
JOIN catindex i ON i.Name = a.Name AND i.Category = 3;

INSERT INTO attributes (Attr, Value, Category, Catindex)
SELECT 'dhcp_filename', 'pxelinux.0', i.Category, i.ID
FROM appliances a
JOIN catindex i ON i.Name = a.Name AND i.Category = 3
WHERE a.Node <> '';

INSERT INTO bootaction (Action, Kernel, Ramdisk, Args) VALUES
  ('os', 'localboot 0', NULL, NULL),
  ('install', 'vmlinuz', 'initrd.img', 'ks kssendmac'),
  ('install notracker', 'vmlinuz', 'initrd.img', 'ks kssendmac notracker');
