"""How the frontend asks NASes and hosts about images; the daemons answer by the message broker.

`broker_settings`  the frontend's way to the broker
`StorageClient`    one connection for any number of questions
`questions`        what can be asked, and what an answer is
`listing`          answers as people and tools read them
"""

from rocks.imgstorage.client.asking import StorageClient, Watcher
from rocks.imgstorage.client.questions import Query
from rocks.imgstorage.client.settings import broker_settings

__all__ = ["StorageClient", "Query", "Watcher", "broker_settings"]
