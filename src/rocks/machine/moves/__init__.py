"""Machines move to other hosts, stopped or while they run; hosts are emptied."""
