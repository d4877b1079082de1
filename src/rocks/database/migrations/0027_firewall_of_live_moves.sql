-- The port of a live migration's memory and disks: a default firewall rule more. Those that 0014 has defined stay.

CREATE OR REPLACE SQL SECURITY INVOKER VIEW defaultfirewalls AS
SELECT
  CONVERT('A10-ALL-LOCAL' USING utf8mb4) COLLATE utf8mb4_general_ci AS Rulename,
  CONVERT('all' USING utf8mb4) COLLATE utf8mb4_general_ci AS Service,
  CONVERT('all' USING utf8mb4) COLLATE utf8mb4_general_ci AS Protocol,
  CONVERT('ACCEPT' USING utf8mb4) COLLATE utf8mb4_general_ci AS Action,
  CONVERT('INPUT' USING utf8mb4) COLLATE utf8mb4_general_ci AS Chain,
  CONVERT('-i lo' USING utf8mb4) COLLATE utf8mb4_general_ci AS Flags,
  CONVERT('programs of the host itself' USING utf8mb4) COLLATE utf8mb4_general_ci AS Comment,
  CONVERT('global' USING utf8mb4) COLLATE utf8mb4_general_ci AS Category,
  CONVERT('global' USING utf8mb4) COLLATE utf8mb4_general_ci AS Member,
  CONVERT('private' USING utf8mb4) COLLATE utf8mb4_general_ci AS Network,
  1 AS EachNetwork
UNION ALL SELECT 'A15-RELATED', 'all', 'all', 'ACCEPT', 'INPUT', '-m state --state RELATED,ESTABLISHED',
  'answers', 'global', 'global', 'private', 1
UNION ALL SELECT 'A20-PING', 'all', 'icmp', 'ACCEPT', 'INPUT', '', '', 'global', 'global', 'private', 1
UNION ALL SELECT 'A20-SSH', '22', 'tcp', 'ACCEPT', 'INPUT', '-m state --state NEW', '', 'global', 'global', 'private', 1
UNION ALL SELECT 'A25-NO-MYSQL', '3306', 'tcp', 'REJECT', 'INPUT', '',
  'the cluster database has a socket only', 'global', 'global', 'private', 1
UNION ALL SELECT 'A30-ALL-PRIVATE', 'all', 'all', 'ACCEPT', 'INPUT', '',
  'without it, only the services below', 'global', 'global', 'private', 0
UNION ALL SELECT 'A40-BROKER', '5671', 'tcp', 'ACCEPT', 'INPUT', '', 'message broker, TLS',
  'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-DHCP', '67', 'udp', 'ACCEPT', 'INPUT', '', 'boot service', 'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-DNS-TCP', '53', 'tcp', 'ACCEPT', 'INPUT', '', '', 'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-DNS-UDP', '53', 'udp', 'ACCEPT', 'INPUT', '', '', 'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-HTTP', '80', 'tcp', 'ACCEPT', 'INPUT', '', 'boot service, first stage',
  'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-HTTPS', '443', 'tcp', 'ACCEPT', 'INPUT', '', 'installations, distribution',
  'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-TFTP', '69', 'udp', 'ACCEPT', 'INPUT', '', 'boot service', 'appliance', 'frontend', 'private', 0
UNION ALL SELECT 'A40-IMAGES', '7443', 'tcp', 'ACCEPT', 'INPUT', '', 'image transfers', 'appliance', 'nas', 'private', 0
UNION ALL SELECT 'A40-ISCSI', '3260', 'tcp', 'ACCEPT', 'INPUT', '', 'disks of virtual machines',
  'appliance', 'nas', 'private', 0
UNION ALL SELECT 'A40-LIVE-MOVES', '49152:49215', 'tcp', 'ACCEPT', 'INPUT', '', 'memory and disks of machines that move',
  'appliance', 'vm-container', 'private', 0
UNION ALL SELECT 'R90-ALL', 'all', 'all', 'REJECT', 'INPUT', '', 'everything else', 'global', 'global', 'private', 1;

INSERT IGNORE INTO firewalls
  (Rulename, Rulesrc, InSubnet, Service, Protocol, Action, Chain, Flags, Comment, Category, Catindex)
SELECT d.Rulename, 'system', i.ID, d.Service, d.Protocol, d.Action, d.Chain, d.Flags, d.Comment, c.ID, m.ID
FROM defaultfirewalls d
JOIN subnets i ON i.name = d.Network
JOIN categories c ON c.Name = d.Category
JOIN catindex m ON m.Category = c.ID AND m.Name = d.Member
WHERE d.Rulename = 'A40-LIVE-MOVES';
