"""The daemon of a NAS: the authority over its images. It decides by the model, records, and only then acts."""
