-- Views and the procedure of every cluster. They run with the rights of who asks, and are replaced as a whole.

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vnet AS
SELECT
  n.Name AS nodename,
  m.Name AS membership,
  a.Name AS appliance,
  n.Rack AS rack,
  n.Rank AS rank,
  s.name AS subnet,
  i.IP AS ip,
  i.Device AS device,
  i.Module AS module,
  i.Name AS hostname,
  s.dnszone AS domainname,
  s.netmask AS netmask,
  s.mtu AS mtu
FROM networks i
JOIN nodes n ON n.ID = i.Node
JOIN subnets s ON s.ID = i.Subnet
LEFT JOIN memberships m ON m.ID = n.Membership
LEFT JOIN appliances a ON a.ID = m.Appliance;

-- To which members of the categories a host belongs. No host is ever a member of the category `rack`.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW hostselections AS
SELECT n.Name AS Host, i.Category AS Category, i.ID AS Catindex
FROM nodes n
JOIN categories c ON c.Name = 'global'
JOIN catindex i ON i.Category = c.ID AND i.Name = 'global'
UNION ALL
SELECT n.Name, i.Category, i.ID
FROM nodes n
JOIN categories c ON c.Name = 'os'
JOIN catindex i ON i.Category = c.ID AND i.Name = n.OS
UNION ALL
SELECT n.Name, i.Category, i.ID
FROM nodes n
JOIN memberships m ON m.ID = n.Membership
JOIN appliances a ON a.ID = m.Appliance
JOIN categories c ON c.Name = 'appliance'
JOIN catindex i ON i.Category = c.ID AND i.Name = a.Name
UNION ALL
SELECT n.Name, i.Category, i.ID
FROM nodes n
JOIN categories c ON c.Name = 'host'
JOIN catindex i ON i.Category = c.ID AND i.Name = n.Name;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vcatindex AS
SELECT i.ID AS ID, i.Name AS Name, c.Name AS Category
FROM catindex i
JOIN categories c ON c.ID = i.Category;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vresolvechain AS
SELECT r.ID AS ID, r.Name AS Name, c.Name AS Category, r.Precedence AS Precedence
FROM resolvechain r
JOIN categories c ON c.ID = r.Category;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vattributes AS
SELECT a.ID AS ID, a.Attr AS Attr, a.Value AS Value, a.Shadow AS Shadow, c.Name AS Category, i.Name AS Catindex
FROM attributes a
JOIN categories c ON c.ID = a.Category
JOIN catindex i ON i.ID = a.Catindex;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vfirewalls AS
SELECT
  f.ID AS ID,
  f.Rulename AS Rulename,
  f.Rulesrc AS Rulesrc,
  f.InSubnet AS InSubnet,
  f.OutSubnet AS OutSubnet,
  f.Service AS Service,
  f.Protocol AS Protocol,
  f.Action AS Action,
  f.Chain AS Chain,
  f.Flags AS Flags,
  f.Comment AS Comment,
  c.Name AS Category,
  i.Name AS Catindex
FROM firewalls f
JOIN categories c ON c.ID = f.Category
JOIN catindex i ON i.ID = f.Catindex;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW vhostselections AS
SELECT h.Host AS Host, c.Name AS Category, i.Name AS Catindex
FROM hostselections h
JOIN categories c ON c.ID = h.Category
JOIN catindex i ON i.ID = h.Catindex;

-- Of all rules of one name that apply to the host, the one whose category stands highest in the chain.
DELIMITER //
CREATE OR REPLACE PROCEDURE resolvefirewalls(
  IN host VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,
  IN chain VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
)
READS SQL DATA
SQL SECURITY INVOKER
BEGIN
  SELECT
    w.ID, w.Rulename, w.Rulesrc, w.InSubnet, w.OutSubnet, w.Service, w.Protocol, w.Action, w.Chain, w.Flags,
    w.Comment, w.Category, w.Catindex
  FROM (
    SELECT f.*, ROW_NUMBER() OVER (PARTITION BY f.Rulename ORDER BY r.Precedence DESC, f.ID) AS Place
    FROM firewalls f
    JOIN hostselections h ON h.Category = f.Category AND h.Catindex = f.Catindex
    JOIN resolvechain r ON r.Category = f.Category
    WHERE h.Host = host AND r.Name = chain
  ) w
  WHERE w.Place = 1
  ORDER BY w.Rulename;
END //
DELIMITER ;
