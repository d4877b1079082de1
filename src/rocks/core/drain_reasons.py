"""Why the hooks of hosts drain a node of Slurm: what hosts write, and the commands and Nucleus read."""

VM_WITHOUT_JOB = "vm-without-job"
"""A machine is on the host, and no job of Nucleus. The health check of the host resumes it when it is free."""

IMAGE_LATE = "image-sync-timeout"
"""An image of the host was not written back to its NAS in time. An operator resumes it."""

OF_HOOKS = (VM_WITHOUT_JOB, IMAGE_LATE, "Prolog error", "Epilog error")
"""These, and Slurm's own when a hook is killed."""
