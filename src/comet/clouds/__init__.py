"""`cm vm`, `cm image list` and their like: machines of clouds by Apache Libcloud, Comet among them; batch jobs by SSH.

Nothing here is imported before one of these words is typed, and Libcloud not before a cloud is asked.
"""
