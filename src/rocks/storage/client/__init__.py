"""The frontend's requests to the image daemons of NASes and hosts, by the message broker.

`broker_settings`  how the frontend reaches the broker
`StorageClient`    one connection for any number of requests
`asking`           the requests, and the types of their answers
`listing`          answers as rows for people and tools
"""

from rocks.storage.client.asking import Query, StorageClient, Watcher, broker_settings

__all__ = ["StorageClient", "Query", "Watcher", "broker_settings"]
