"""Consoles of nodes in a browser or a terminal: from a WebSocket to what `rocks open host console` relays."""
