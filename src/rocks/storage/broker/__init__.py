"""The message broker: its certificates, its users and their rights."""
