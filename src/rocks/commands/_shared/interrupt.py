"""What an operator is advised to run after an interrupt."""

LOOK_AT_LEASES = "rocks list host vm lease lists the machines that are being started or stopped"
