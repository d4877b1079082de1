"""How physical hosts are reached and asked: by SSH or on this machine, one after another or many at once."""
