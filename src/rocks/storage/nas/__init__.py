"""The daemon of a NAS: the authority over its images. It decides by the table in `image`, records, and then acts."""
