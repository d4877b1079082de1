-- The tables of every cluster. Names and columns are those on which sites' scripts and other rolls rely.
-- Every statement can be repeated; nothing names the database, so that the file loads into any empty schema.

CREATE TABLE IF NOT EXISTS distributions (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(32) NOT NULL,
  OS_Release VARCHAR(32) DEFAULT NULL,
  Lang VARCHAR(32) DEFAULT NULL,
  UNIQUE KEY Name (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS appliances (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(32) NOT NULL,
  Graph VARCHAR(64) DEFAULT 'default',
  Node VARCHAR(64) DEFAULT '',
  OS ENUM('linux', 'sunos') DEFAULT 'linux',
  UNIQUE KEY Name (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS memberships (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(64) NOT NULL,
  Appliance INT DEFAULT NULL,
  Distribution INT DEFAULT 1,
  Public ENUM('yes', 'no') NOT NULL DEFAULT 'no',
  UNIQUE KEY Name (Name),
  CONSTRAINT memberships_appliance FOREIGN KEY (Appliance) REFERENCES appliances (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS nodes (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(128) NOT NULL,
  Membership INT DEFAULT 2,
  CPUs INT NOT NULL DEFAULT 1,
  Rack INT DEFAULT NULL,
  Rank INT DEFAULT NULL,
  Arch VARCHAR(32) DEFAULT NULL,
  OS ENUM('linux', 'sunos') DEFAULT 'linux',
  RunAction VARCHAR(64) DEFAULT 'os',
  InstallAction VARCHAR(64) DEFAULT 'install',
  UNIQUE KEY Name (Name),
  KEY Rack (Rack, Rank),
  CONSTRAINT nodes_membership FOREIGN KEY (Membership) REFERENCES memberships (ID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS subnets (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(32) NOT NULL,
  dnszone VARCHAR(64) DEFAULT NULL,
  subnet VARCHAR(32) DEFAULT NULL,
  netmask VARCHAR(32) DEFAULT NULL,
  mtu INT DEFAULT 1500,
  servedns BOOLEAN DEFAULT FALSE,
  UNIQUE KEY name (name),
  UNIQUE KEY dnszone (dnszone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Two commands at once must not give out the same address: what may not repeat is unique here (NULL may repeat).
CREATE TABLE IF NOT EXISTS networks (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  MAC VARCHAR(64) DEFAULT NULL,
  IP VARCHAR(32) DEFAULT NULL,
  Name VARCHAR(128) DEFAULT NULL,
  Device VARCHAR(32) DEFAULT NULL,
  Subnet INT DEFAULT NULL,
  Module VARCHAR(128) DEFAULT NULL,
  VlanID INT DEFAULT NULL,
  Options VARCHAR(128) DEFAULT NULL,
  Channel VARCHAR(128) DEFAULT NULL,
  Disable_KVM BOOLEAN NOT NULL DEFAULT 0,
  UNIQUE KEY Device (Node, Device),
  UNIQUE KEY MAC (MAC),
  UNIQUE KEY IP (Subnet, IP),
  KEY Address (IP),
  KEY Name (Name),
  KEY VlanID (VlanID),
  CONSTRAINT networks_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE,
  CONSTRAINT networks_subnet FOREIGN KEY (Subnet) REFERENCES subnets (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS aliases (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  Name VARCHAR(32) NOT NULL,
  UNIQUE KEY Name (Name),
  CONSTRAINT aliases_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS boot (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  Action ENUM('install', 'os', 'run') DEFAULT NULL,
  UNIQUE KEY Node (Node),
  CONSTRAINT boot_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS bootaction (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Action VARCHAR(256) NOT NULL,
  Kernel VARCHAR(256) DEFAULT NULL,
  Ramdisk VARCHAR(256) DEFAULT NULL,
  Args VARCHAR(1024) DEFAULT NULL,
  UNIQUE KEY Action (Action)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Node 0 holds the flags of all nodes that have none of their own, so Node is no foreign key.
CREATE TABLE IF NOT EXISTS bootflags (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL DEFAULT 0,
  Flags VARCHAR(256) DEFAULT NULL,
  UNIQUE KEY Node (Node)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS public_keys (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  Public_Key VARCHAR(4096) DEFAULT NULL,
  Description VARCHAR(4096) DEFAULT NULL,
  CONSTRAINT public_keys_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS partitions (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  Device VARCHAR(128) DEFAULT NULL,
  Mountpoint VARCHAR(128) DEFAULT NULL,
  SectorStart VARCHAR(128) DEFAULT NULL,
  PartitionSize VARCHAR(128) DEFAULT NULL,
  PartitionID VARCHAR(128) DEFAULT NULL,
  FsType VARCHAR(128) DEFAULT NULL,
  PartitionFlags VARCHAR(128) DEFAULT NULL,
  FormatFlags VARCHAR(128) DEFAULT NULL,
  CONSTRAINT partitions_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS rolls (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(128) NOT NULL,
  Version VARCHAR(32) DEFAULT NULL,
  Arch VARCHAR(32) DEFAULT NULL,
  OS ENUM('linux', 'sunos') DEFAULT 'linux',
  Enabled ENUM('yes', 'no') DEFAULT 'yes',
  UNIQUE KEY Name (Name, Version, Arch, OS)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS node_rolls (
  Node INT NOT NULL,
  RollID INT NOT NULL,
  PRIMARY KEY (Node, RollID),
  CONSTRAINT node_rolls_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE,
  CONSTRAINT node_rolls_roll FOREIGN KEY (RollID) REFERENCES rolls (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Routes: one that has a Subnet leads through that network's device, and its Gateway is ''.
CREATE TABLE IF NOT EXISTS global_routes (
  Network VARCHAR(32) NOT NULL,
  Netmask VARCHAR(32) NOT NULL,
  Gateway VARCHAR(32) NOT NULL DEFAULT '',
  Subnet INT DEFAULT NULL,
  PRIMARY KEY (Network, Netmask),
  CONSTRAINT global_routes_subnet FOREIGN KEY (Subnet) REFERENCES subnets (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS os_routes (
  OS ENUM('linux', 'sunos') NOT NULL,
  Network VARCHAR(32) NOT NULL,
  Netmask VARCHAR(32) NOT NULL,
  Gateway VARCHAR(32) NOT NULL DEFAULT '',
  Subnet INT DEFAULT NULL,
  PRIMARY KEY (OS, Network, Netmask),
  CONSTRAINT os_routes_subnet FOREIGN KEY (Subnet) REFERENCES subnets (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS appliance_routes (
  Appliance INT NOT NULL,
  Network VARCHAR(32) NOT NULL,
  Netmask VARCHAR(32) NOT NULL,
  Gateway VARCHAR(32) NOT NULL DEFAULT '',
  Subnet INT DEFAULT NULL,
  PRIMARY KEY (Appliance, Network, Netmask),
  CONSTRAINT appliance_routes_appliance FOREIGN KEY (Appliance) REFERENCES appliances (ID) ON DELETE CASCADE,
  CONSTRAINT appliance_routes_subnet FOREIGN KEY (Subnet) REFERENCES subnets (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS node_routes (
  Node INT NOT NULL,
  Network VARCHAR(32) NOT NULL,
  Netmask VARCHAR(32) NOT NULL,
  Gateway VARCHAR(32) NOT NULL DEFAULT '',
  Subnet INT DEFAULT NULL,
  PRIMARY KEY (Node, Network, Netmask),
  CONSTRAINT node_routes_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE,
  CONSTRAINT node_routes_subnet FOREIGN KEY (Subnet) REFERENCES subnets (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS categories (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(64) NOT NULL,
  Description VARCHAR(512) DEFAULT NULL,
  UNIQUE KEY Name (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- A member of the category `host` is a node's name, which has up to 128 characters.
CREATE TABLE IF NOT EXISTS catindex (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(128) NOT NULL,
  Category INT NOT NULL,
  UNIQUE KEY Name (Name, Category),
  CONSTRAINT catindex_category FOREIGN KEY (Category) REFERENCES categories (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS resolvechain (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Name VARCHAR(64) NOT NULL,
  Category INT NOT NULL,
  Precedence INT NOT NULL DEFAULT 10,
  UNIQUE KEY Name (Name, Category),
  CONSTRAINT resolvechain_category FOREIGN KEY (Category) REFERENCES categories (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS attributes (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Attr VARCHAR(128) NOT NULL,
  Value TEXT,
  Shadow TEXT,
  Category INT NOT NULL,
  Catindex INT NOT NULL,
  UNIQUE KEY Attr (Attr, Category, Catindex),
  KEY Member (Catindex, Category),
  CONSTRAINT attributes_category FOREIGN KEY (Category) REFERENCES categories (ID) ON DELETE CASCADE,
  CONSTRAINT attributes_catindex FOREIGN KEY (Catindex) REFERENCES catindex (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS sec_global_attributes (
  Attr VARCHAR(128) NOT NULL PRIMARY KEY,
  Value TEXT,
  Enc VARCHAR(64) DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS sec_node_attributes (
  Node INT NOT NULL,
  Attr VARCHAR(128) NOT NULL,
  Value TEXT,
  Enc VARCHAR(64) DEFAULT NULL,
  PRIMARY KEY (Node, Attr),
  CONSTRAINT sec_node_attributes_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- InSubnet, OutSubnet: NULL means all networks, so a rule of a removed network goes with it instead of widening.
CREATE TABLE IF NOT EXISTS firewalls (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Rulename VARCHAR(128) NOT NULL,
  Rulesrc ENUM('system', 'custom') NOT NULL DEFAULT 'custom',
  InSubnet INT DEFAULT NULL,
  OutSubnet INT DEFAULT NULL,
  Service VARCHAR(256) DEFAULT NULL,
  Protocol VARCHAR(256) DEFAULT NULL,
  Action VARCHAR(256) DEFAULT NULL,
  Chain VARCHAR(256) DEFAULT NULL,
  Flags VARCHAR(256) DEFAULT NULL,
  Comment VARCHAR(256) DEFAULT NULL,
  Category INT NOT NULL,
  Catindex INT NOT NULL,
  UNIQUE KEY Rulename (Rulename, Category, Catindex),
  CONSTRAINT firewalls_input FOREIGN KEY (InSubnet) REFERENCES subnets (ID) ON DELETE CASCADE,
  CONSTRAINT firewalls_output FOREIGN KEY (OutSubnet) REFERENCES subnets (ID) ON DELETE CASCADE,
  CONSTRAINT firewalls_category FOREIGN KEY (Category) REFERENCES categories (ID) ON DELETE CASCADE,
  CONSTRAINT firewalls_catindex FOREIGN KEY (Catindex) REFERENCES catindex (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
