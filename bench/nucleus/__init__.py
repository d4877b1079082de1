"""The figures of Nucleus and `comet`, with a site whose commands are played: R10 (REST), R22, R23, R30 to R32."""
