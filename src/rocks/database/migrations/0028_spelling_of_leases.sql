-- A lease gets the spelling of its machine's name, in lower case or not, with everything that names it.

ALTER TABLE vm_lease_disks DROP FOREIGN KEY IF EXISTS vm_lease_disks_lease,
  ADD CONSTRAINT vm_lease_disks_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;

ALTER TABLE ib_key_uses DROP FOREIGN KEY IF EXISTS ib_key_uses_lease,
  ADD CONSTRAINT ib_key_uses_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;

ALTER TABLE sriov_leases DROP FOREIGN KEY IF EXISTS sriov_leases_lease,
  ADD CONSTRAINT sriov_leases_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;

ALTER TABLE vm_core_leases DROP FOREIGN KEY IF EXISTS vm_core_leases_lease,
  ADD CONSTRAINT vm_core_leases_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;

ALTER TABLE vm_page_leases DROP FOREIGN KEY IF EXISTS vm_page_leases_lease,
  ADD CONSTRAINT vm_page_leases_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;

ALTER TABLE vm_device_leases DROP FOREIGN KEY IF EXISTS vm_device_leases_lease,
  ADD CONSTRAINT vm_device_leases_spelling FOREIGN KEY IF NOT EXISTS (Name) REFERENCES vm_leases (Name) ON UPDATE CASCADE;
